//! What this process may do and see on the host, as checks. Facts come from `host/` and `process/`; the rules are pure.

use std::io;

use rustix::thread::CapabilitySet;

use super::check::{Check, State, Topic};
use crate::{
    host::{
        bpf_settings::BpfSettings,
        open_files, own_netns, pid_namespace,
        privilege::{self, Privileges},
        process_view::ProcessView,
        user_namespace,
        world::World,
    },
    kernel::{KernelFact, Outcome},
    model::{
        coverage::Hidden,
        units::{Elapsed, plural},
    },
    process::container::running::{RunningContainers, running_containers},
};

/// How capabilities are had.
const AS_ROOT: &str = "run as root, or give it: setcap(8), AmbientCapabilities= of systemd.exec(5)";

/// Everything about the host but its kernel. `facts` are what the kernel was found to do, `reads_proc` whether descriptor
/// tables are read from /proc for want of its iterator, `maps_are_limited` whether it refused maps for their size, and
/// `open_files` whether there were descriptors enough to trace with before anything was looked at.
pub(super) fn checks(
    world: &World,
    privileges: &Privileges,
    facts: &[KernelFact],
    reads_proc: bool,
    maps_are_limited: bool,
    open_files: &io::Result<()>,
) -> Vec<Check> {
    let settings = BpfSettings::read(&world.proc);
    let view = ProcessView::read(&world.proc);
    let namespace = user_namespace::is_inner(&world.proc);
    let is_inner = namespace == Some(true);
    let mut checks = capabilities(privileges, is_inner, reads_proc);
    checks.extend(user_namespace(namespace));
    if !is_inner && privilege::has(CapabilitySet::SYS_ADMIN) && view.proc != Some(Hidden::NoProc) {
        checks.extend(network_namespaces(own_netns::enter(&world.proc)));
    }
    let seen = processes(view, &pid_namespace::own_numbers(&world.proc));
    checks.push(if is_inner { outside_of_reach(seen) } else { seen });
    checks.push(time_namespace(world.clocks.shift_ns()));
    checks.extend(perf_events(&settings, outcome(facts, "classic_tracepoint")));
    checks.extend(bpf_calls(&settings, privileges.missing.is_empty() && !is_inner));
    checks.extend(ptrace(&settings, privileges));
    checks.extend(jit(&settings));
    checks.push(memlock(&settings, outcome(facts, "ring_buffer"), maps_are_limited));
    checks.push(descriptors(open_files));
    checks.push(containers(&running_containers(world), view.proc.is_none()));
    checks
}

fn outcome<'a>(facts: &'a [KernelFact], id: &str) -> Option<&'a Outcome> {
    facts.iter().find(|fact| fact.id == id).map(|fact| &fact.outcome)
}

/// What it takes to read the descriptor tables of other users' processes in /proc.
const FOR_TABLES: [&str; 2] = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];

/// `reads_proc` as in [`checks`].
fn capabilities(privileges: &Privileges, is_inner: bool, reads_proc: bool) -> Vec<Check> {
    let Privileges { missing, losses, lines } = privileges;
    let check = |need: &&'static privilege::Need| {
        let missing = |lost: &str| {
            Check::missing(Topic::Host, "capability", need.name, "not in effect", (lost, AS_ROOT))
        };
        if reads_proc && FOR_TABLES.contains(&need.name) {
            let lost = "who holds a socket is not known where that is another user's process, because descriptor tables are \
                        read from /proc";
            missing(&format!("{lost}; {}", need.lost)).needed()
        } else {
            missing(need.lost)
        }
    };
    let needed = missing.iter().map(check).map(Check::needed);
    let mut checks: Vec<Check> = needed.chain(losses.iter().chain(lines).map(check)).collect();
    if checks.is_empty() {
        let detail = if is_inner { "all, in this user namespace alone" } else { "all that are used" };
        checks.push(Check::ok(Topic::Host, "capability", "capabilities", detail));
    }
    checks
}

fn user_namespace(is_inner: Option<bool>) -> Option<Check> {
    let (id, name) = ("user_namespace", "user namespace");
    if !is_inner? {
        return Some(Check::ok(Topic::Host, id, name, "of the host"));
    }
    let check = Check::missing(
        Topic::Host,
        id,
        name,
        "this process is in a user namespace of its own",
        (
            "nothing is traced, and who is outside of it cannot be named: its capabilities count for nothing there",
            "run it as root of the host, outside of the container",
        ),
    );
    Some(check.needed())
}

/// Whether network namespaces cannot be entered, though the right to is there; `None` where they can.
fn network_namespaces(entered: io::Result<()>) -> Option<Check> {
    let why = entered.err()?;
    let (lost, remedy) =
        ("sockets in other network namespaces cannot be listed", "no seccomp filter against setns(2)");
    let detail = format!("they cannot be entered: {why}");
    Some(Check::missing(Topic::Host, "network_namespaces", "network namespaces", detail, (lost, remedy)))
}

fn processes(view: ProcessView, numbers: &[u32]) -> Check {
    let (id, name) = ("processes", "processes of the host");
    let levels = match numbers {
        [] | [_] => String::new(),
        [outer, .., own] => format!("; pid {outer} there is {own} in this pid namespace"),
    };
    match view.proc {
        None => Check::ok(Topic::Host, id, name, format!("all of them{levels}")),
        Some(hidden) => {
            let why = match hidden {
                Hidden::NoProc => "there is no /proc of this pid namespace",
                Hidden::HidePid => "/proc hides those of others (hidepid)",
                Hidden::OtherPidNamespaces => "this process is in a pid namespace of its own",
            };
            let lost = "who holds a socket cannot be named where that is another process";
            Check::missing(Topic::Host, id, name, format!("{why}{levels}"), (lost, shown_by(hidden))).needed()
        }
    }
}

/// What is said of processes that are seen from a user namespace.
fn outside_of_reach(seen: Check) -> Check {
    if seen.state != State::Ok {
        return seen;
    }
    let detail = "all are shown; those outside of this user namespace cannot be looked into";
    Check { detail: Some(detail.to_owned()), ..seen }
}

/// What shows the processes that are hidden.
pub(super) fn shown_by(hidden: Hidden) -> &'static str {
    match hidden {
        Hidden::NoProc => "mount -t proc proc /proc",
        Hidden::HidePid => "CAP_SYS_PTRACE, or mount -o remount,hidepid=0 /proc",
        Hidden::OtherPidNamespaces => {
            "docker run --pid=host, hostPID: true, or nsenter --target 1 --pid --mount"
        }
    }
}

fn time_namespace(shift_ns: i64) -> Check {
    let detail = match shift_ns {
        0 => "of the host".to_owned(),
        shift => {
            let direction = if shift > 0 { "ahead of" } else { "behind" };
            format!("{} {direction} the host, which is taken off", Elapsed(shift.unsigned_abs()))
        }
    };
    Check::ok(Topic::Host, "time_namespace", "time namespace", detail)
}

/// Whether classic tracepoints are kept out by a setting; `None` where the kernel has no such setting.
fn perf_events(settings: &BpfSettings, classic: Option<&Outcome>) -> Option<Check> {
    let level = settings.perf_event_paranoid?;
    let (id, name) = ("perf_event_paranoid", "kernel.perf_event_paranoid");
    Some(match classic {
        Some(Outcome::Refused(_)) if level > 2 => Check::missing(
            Topic::Host,
            id,
            name,
            format!("{level}: classic tracepoints take CAP_SYS_ADMIN, and CAP_PERFMON is not enough"),
            (
                "who accepted a socket, lines of Python, PHP and Ruby, and the way that stands in for the typed tracepoint",
                "run as root, give it CAP_SYS_ADMIN, or sysctl kernel.perf_event_paranoid=2",
            ),
        ),
        _ => Check::ok(Topic::Host, id, name, level.to_string()),
    })
}

fn bpf_calls(settings: &BpfSettings, is_permitted: bool) -> Option<Check> {
    let value = settings.unprivileged_bpf_disabled?;
    let detail = match value {
        0 => "0",
        _ if is_permitted => "bpf(2) takes CAP_BPF, which is there",
        _ => "bpf(2) takes CAP_BPF",
    };
    Some(Check::ok(Topic::Host, "unprivileged_bpf_disabled", "kernel.unprivileged_bpf_disabled", detail))
}

fn ptrace(settings: &BpfSettings, privileges: &Privileges) -> Option<Check> {
    /// `YAMA_SCOPE_NO_ATTACH` of security/yama/yama_lsm.c: no capability helps.
    const NO_ATTACH: i64 = 3;
    let scope = settings.ptrace_scope?;
    let (id, name) = ("ptrace_scope", "kernel.yama.ptrace_scope");
    let lost =
        "lines of Java, Python, PHP and Ruby, last words that lie unread, and `clear --method shutdown`";
    Some(match scope {
        NO_ATTACH => Check::missing(
            Topic::Host,
            id,
            name,
            "3: nobody may read the memory of another process, or copy its descriptors",
            (lost, "another value at the next boot: it cannot be taken back before"),
        ),
        1 | 2 if privileges.losses.iter().any(|need| need.name == "CAP_SYS_PTRACE") => Check::missing(
            Topic::Host,
            id,
            name,
            format!("{scope}: to read the memory of another process takes CAP_SYS_PTRACE"),
            (lost, AS_ROOT),
        ),
        _ => Check::ok(Topic::Host, id, name, scope.to_string()),
    })
}

fn jit(settings: &BpfSettings) -> Option<Check> {
    let (id, name) = ("bpf_jit_enable", "net.core.bpf_jit_enable");
    Some(match settings.bpf_jit_enable? {
        0 => Check::missing(
            Topic::Host,
            id,
            name,
            "0: programs are interpreted",
            ("tracing costs several times as much", "sysctl net.core.bpf_jit_enable=1"),
        ),
        value => Check::ok(Topic::Host, id, name, value.to_string()),
    })
}

/// Maps count against the limit on kernels before Linux 5.11, which shows where large ones are refused.
fn memlock(settings: &BpfSettings, maps: Option<&Outcome>, maps_are_limited: bool) -> Check {
    let limit = match settings.memlock.current {
        Some(bytes) => format!("{} KiB", bytes / 1024),
        None => "no limit".to_owned(),
    };
    let (id, name) = ("memlock", "locked memory (ulimit -l)");
    match maps {
        _ if maps_are_limited => {
            let detail =
                format!("{limit}; this kernel counts maps against it, and refused all but a small one");
            let remedy = "ulimit -l unlimited, LimitMEMLOCK=infinity, CAP_SYS_RESOURCE";
            Check::missing(Topic::Host, id, name, detail, ("nothing is traced", remedy)).needed()
        }
        Some(Outcome::Works(_)) => {
            Check::ok(Topic::Host, id, name, format!("{limit}; there was room for the maps"))
        }
        _ => Check { state: State::NotTried, ..Check::ok(Topic::Host, id, name, limit) },
    }
}

/// Tracing does not begin without room for its descriptors.
fn descriptors(room: &io::Result<()>) -> Check {
    let (id, name) = ("open_files", "open files (ulimit -n)");
    match room {
        Ok(()) => Check::ok(Topic::Host, id, name, "there is room for what tracing takes"),
        Err(error) => {
            let remedy = open_files::remedy(error);
            let lost = "`leaks`, and whatever else traces, does not start";
            Check::missing(Topic::Host, id, name, error.to_string(), (lost, remedy.trim_start_matches("; ")))
                .needed()
        }
    }
}

/// `sees_all` says whether /proc shows every process.
fn containers(running: &RunningContainers, sees_all: bool) -> Check {
    let RunningContainers { found, is_complete } = running;
    let (id, name) = ("containers", "names of containers");
    let named = |process: &&crate::model::process::ProcessIdentity| {
        process.container_name.is_some() || process.pod.is_some()
    };
    let unnamed = found.iter().filter(|process| !named(process)).count();
    let count = plural(found.len() as u64, "container");
    if unnamed > 0 {
        return Check::missing(
            Topic::Host,
            id,
            name,
            format!("on disk there is none for {unnamed} of {count}"),
            (
                "these are told by their id",
                "run it where the root of pid 1 can be read (CAP_SYS_PTRACE, the host's pid namespace); some runtimes \
                 leave no names: docs/limits.md",
            ),
        );
    }
    let detail = match (found.len(), is_complete) {
        (0, true) if !sees_all => "no container runs among the processes that are seen".to_owned(),
        (0, true) => "no container runs here".to_owned(),
        (0, false) => "no container was found, but not every process could be asked".to_owned(),
        (_, true) => format!("{count}, from what the runtimes leave on disk"),
        (_, false) => format!("{count}; not every process could be asked"),
    };
    Check::ok(Topic::Host, id, name, detail)
}

#[cfg(test)]
mod tests {
    use rustix::process::Rlimit;

    use super::*;
    use crate::model::{pid::Pid, process::ProcessIdentity};

    fn settings() -> BpfSettings {
        BpfSettings {
            perf_event_paranoid: Some(4),
            unprivileged_bpf_disabled: Some(2),
            bpf_jit_enable: Some(1),
            ptrace_scope: Some(1),
            memlock: Rlimit { current: Some(8 << 20), maximum: None },
        }
    }

    fn refused(why: &str) -> Outcome {
        Outcome::Refused(why.to_owned())
    }

    #[test]
    fn each_missing_capability_is_a_check_and_those_for_loading_are_needed() {
        let checks =
            capabilities(&Privileges::of(CapabilitySet::PERFMON | CapabilitySet::SYS_PTRACE), false, false);
        let said: Vec<(&str, bool)> =
            checks.iter().map(|check| (check.name.as_str(), check.is_needed)).collect();
        let expected = [
            ("CAP_BPF", true),
            ("CAP_SYS_ADMIN", false),
            ("CAP_DAC_READ_SEARCH", false),
            ("CAP_CHECKPOINT_RESTORE", false),
        ];
        assert_eq!(said, expected);
        let all = capabilities(&Privileges::of(CapabilitySet::all()), false, true);
        assert_eq!(all.iter().map(|check| check.state).collect::<Vec<_>>(), [State::Ok]);
    }

    #[test]
    fn where_descriptor_tables_are_read_from_proc_what_that_takes_is_needed() {
        let loads = Privileges::of(CapabilitySet::SYS_ADMIN);
        let needed = |reads_proc| {
            let checks = capabilities(&loads, false, reads_proc).into_iter();
            checks.filter(|check| check.is_needed).map(|check| check.name).collect::<Vec<_>>()
        };
        assert_eq!(needed(true), FOR_TABLES);
        assert!(needed(false).is_empty());
    }

    #[test]
    fn a_strict_setting_is_a_lack_only_where_it_was_in_the_way() {
        let works = Outcome::Works(String::new());
        let state = |check: Option<Check>| check.map(|check| check.state);
        assert_eq!(state(perf_events(&settings(), Some(&refused("EACCES")))), Some(State::Missing));
        assert_eq!(state(perf_events(&settings(), Some(&works))), Some(State::Ok));
        let low = BpfSettings { perf_event_paranoid: Some(2), ..settings() };
        assert_eq!(state(perf_events(&low, Some(&refused("no such hook")))), Some(State::Ok));
        let root = Privileges::of(CapabilitySet::all());
        let nobody = Privileges::of(CapabilitySet::BPF);
        assert_eq!(state(ptrace(&settings(), &root)), Some(State::Ok));
        assert_eq!(state(ptrace(&settings(), &nobody)), Some(State::Missing));
        let closed = BpfSettings { ptrace_scope: Some(3), ..settings() };
        assert_eq!(state(ptrace(&closed, &root)), Some(State::Missing));
    }

    #[test]
    fn locked_memory_is_a_lack_where_maps_were_refused_for_it() {
        let state =
            |maps: &Outcome, maps_are_limited| memlock(&settings(), Some(maps), maps_are_limited).state;
        let why = refused("Operation not permitted (os error 1)");
        assert_eq!(state(&why, true), State::Missing);
        assert_eq!(state(&why, false), State::NotTried, "for want of a right");
        assert_eq!(state(&Outcome::Works(String::new()), false), State::Ok);
        assert_eq!(state(&Outcome::Untried, false), State::NotTried);
    }

    #[test]
    fn a_limit_of_open_files_that_keeps_leaks_from_starting_fails_the_main_job() {
        let full = descriptors(&Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())));
        assert_eq!((full.state, full.is_needed), (State::Missing, true));
        assert!(full.remedy.is_some_and(|remedy| remedy.contains("`ulimit -n 1024`")));
        assert_eq!(descriptors(&Ok(())).state, State::Ok);
    }

    #[test]
    fn a_user_namespace_of_its_own_is_needed_to_be_left() {
        assert!(user_namespace(Some(true)).is_some_and(|check| check.is_needed));
        assert_eq!(user_namespace(Some(false)).map(|check| check.state), Some(State::Ok));
    }

    #[test]
    fn a_pid_namespace_of_its_own_is_needed_to_be_left() {
        let hidden = Some(Hidden::OtherPidNamespaces);
        let check = processes(ProcessView { proc: hidden, iterator: hidden }, &[41, 7]);
        assert!(check.is_needed && check.state == State::Missing);
        assert!(
            check.detail.is_some_and(|detail| detail.ends_with("pid 41 there is 7 in this pid namespace"))
        );
        assert_eq!(processes(ProcessView::default(), &[41]).state, State::Ok);
    }

    #[test]
    fn containers_without_a_name_are_counted() {
        let container = |name: Option<&str>| ProcessIdentity {
            container: Some("4f2a".to_owned()),
            container_name: name.map(str::to_owned),
            ..ProcessIdentity::from_name(Pid::new(7), "shop")
        };
        let running = |found| RunningContainers { found, is_complete: true };
        assert_eq!(containers(&running(vec![]), true).detail.as_deref(), Some("no container runs here"));
        assert_ne!(containers(&running(vec![]), false).detail.as_deref(), Some("no container runs here"));
        assert_eq!(containers(&running(vec![container(Some("shop"))]), true).state, State::Ok);
        let check = containers(&running(vec![container(Some("shop")), container(None)]), true);
        assert_eq!(check.detail.as_deref(), Some("on disk there is none for 1 of 2 containers"));
    }

    #[test]
    fn the_shift_of_a_time_namespace_is_told() {
        assert_eq!(time_namespace(0).detail.as_deref(), Some("of the host"));
        let detail = time_namespace(-90_000_000_000).detail;
        assert!(detail.is_some_and(|detail| detail.contains("behind the host")));
    }
}
