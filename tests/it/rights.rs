//! What a session may still do once it has attached: no more than its options need, in every thread; and it finds what it
//! did before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::thread::CapabilitySet;
use serde_json::Value;

use crate::support::confined::Confined;
use crate::support::kernel_is_at_least;
use crate::support::leaky::Leaky;
use crate::support::process::Process;
use crate::support::tracer::Tracer;

live_tests! {
    a_session_has_what_it_needs_in_every_thread_and_names_the_line_of_code,
    a_session_that_traces_alone_has_less_and_is_not_root,
    what_reads_recordings_is_not_root_and_opens_no_other_files,
    with_sandbox_off_nothing_is_given_up,
    a_command_has_the_rights_that_the_session_was_started_with,
    a_strict_session_gives_its_commands_no_more_than_it_has,
    a_directory_of_another_user_takes_new_files_all_the_same,
    where_rights_cannot_be_given_up_it_goes_on_and_says_so,
}

const LOOKS: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::DAC_READ_SEARCH);
const LINES: CapabilitySet = LOOKS.union(CapabilitySet::CHECKPOINT_RESTORE).union(CapabilitySet::SYS_NICE);

/// What the status of a process or thread says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights {
    permitted: CapabilitySet,
    /// Real, effective or saved.
    root: bool,
    no_new_privs: bool,
    seccomp: bool,
}

impl Rights {
    fn of(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}\n{status}")).trim()
        };
        let set = |name| CapabilitySet::from_bits_retain(u64::from_str_radix(field(name), 16).unwrap());
        Self {
            permitted: set("CapPrm:").union(set("CapEff:")),
            root: field("Uid:").split_whitespace().take(3).any(|user| user == "0"),
            no_new_privs: field("NoNewPrivs:") == "1",
            seccomp: field("Seccomp:") == "2",
        }
    }
}

/// The rights of every thread, by its name, but of the one that writes to standard error, which has none from its start, and
/// of one that loads an object at this moment, which may open no files.
fn threads(pid: i32) -> BTreeMap<String, Rights> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).ok();
    let name = |status: &str| status.lines().next().unwrap().trim_start_matches("Name:\t").to_owned();
    let mut threads: BTreeMap<String, Rights> =
        threads.flatten().filter_map(status).map(|status| (name(&status), Rights::of(&status))).collect();
    let none = Rights { permitted: CapabilitySet::empty(), root: false, no_new_privs: true, seccomp: true };
    assert_eq!(threads.remove("stderr"), Some(none), "among {threads:?}");
    threads.remove("loader");
    threads
}

fn started(arguments: &[&str]) -> (Tracer, i32) {
    let mut pid = 0;
    let tracer = Tracer::start_by(arguments, |command| {
        let started = Process::start(command);
        pid = started.0.pid();
        started
    });
    (tracer, pid)
}

fn a_session_has_what_it_needs_in_every_thread_and_names_the_line_of_code() {
    let mut arguments = vec!["leaks", "--older-than", "1s", "-v"];
    arguments.extend(kernel_is_at_least((6, 3)).then_some("--deep"));
    let (tracer, pid) = started(&arguments);
    let leaky = Leaky::start("accepted_kept", &[]);
    let leaks = tracer.wait_for_each("leak", &leaky.truths);
    let (opened, owner) = (&leaks[0]["opened_by"], &leaks[0]["owners"][0]);
    assert!(opened["site"].as_str().is_some_and(|site| site.contains("leaky::")), "{opened}");
    assert_eq!(owner["pid"], leaky.truth().holders[0].pid, "{owner}");
    let threads = threads(pid);
    for name in ["inspector", "stacks", "script-finder", "writer"] {
        assert!(threads.contains_key(name), "{name} is not among {:?}", threads.keys());
    }
    for (name, rights) in &threads {
        let left = Rights { permitted: LINES, root: true, no_new_privs: true, seccomp: true };
        assert_eq!(*rights, left, "{name}");
    }
    let session = tracer.stop();
    assert!(session.messages.contains("rights that are left: "), "{}", session.messages);
}

fn a_session_that_traces_alone_has_less_and_is_not_root() {
    let (tracer, pid) = started(&["trace"]);
    for (name, rights) in threads(pid) {
        let left = Rights { permitted: LOOKS, root: false, no_new_privs: true, seccomp: true };
        assert_eq!(rights, left, "{name}");
    }
    tracer.stop().summary();
}

fn what_reads_recordings_is_not_root_and_opens_no_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, page) = (folder.path().join("kept.jsonl"), folder.path().join("page.html"));
    let kept_by = std::process::Command::new(crate::support::TCPTRACE)
        .args(["trace", "-q", "--duration", "100ms", "-o"])
        .arg(&kept)
        .status();
    assert!(kept_by.is_ok_and(|status| status.success()));
    let (process, _output) = Process::start(
        std::process::Command::new(crate::support::TCPTRACE)
            .args(["report", "-v", "--follow", "--sandbox", "strict", "--format", "html", "-o"])
            .args([&page, &kept]),
    );
    // It was written as root, by what was not root any more.
    wait_for(&page);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&page).unwrap()), 0);
    let files = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::FOWNER);
    for (name, rights) in threads(process.pid()) {
        let left = Rights { permitted: files, root: false, no_new_privs: true, seccomp: true };
        assert_eq!(rights, left, "{name}");
    }
    let said = "no files are opened but beside those that were named";
    crate::support::until(said, || process.messages().contains(said));
    process.signal(rustix::process::Signal::INT);
}

fn with_sandbox_off_nothing_is_given_up() {
    let own = Rights::of(&fs::read_to_string("/proc/self/status").unwrap());
    let (tracer, pid) = started(&["leaks", "--sandbox", "off"]);
    for (name, rights) in threads(pid) {
        assert_eq!(rights.permitted, own.permitted, "{name}");
        assert_eq!(rights.no_new_privs, own.no_new_privs, "{name}");
    }
    tracer.stop();
}

/// The rights of a command that `leaks` runs, and of the session itself.
fn rights_of_command(sandbox: &str) -> (Rights, BTreeMap<String, Rights>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("status");
    let written = folder.path().join("written");
    let command = format!("cat /proc/self/status > {0} && mv {0} {1}", file.display(), written.display());
    let arguments = ["leaks", "--older-than", "1s", "--sandbox", sandbox, "--exec", &command];
    let (tracer, pid) = started(&arguments);
    let leaky = Leaky::start("accepted_kept", &[]);
    tracer.wait_for_each("leak", &leaky.truths);
    let status = wait_for(&written);
    let threads = threads(pid);
    tracer.stop();
    (Rights::of(&status), threads)
}

fn wait_for(file: &Path) -> String {
    let until = std::time::Instant::now() + crate::support::limit();
    loop {
        match fs::read_to_string(file) {
            Ok(text) => return text,
            Err(error) => assert!(std::time::Instant::now() < until, "{}: {error}", file.display()),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn a_command_has_the_rights_that_the_session_was_started_with() {
    let own = Rights::of(&fs::read_to_string("/proc/self/status").unwrap());
    let (command, threads) = rights_of_command("on");
    assert_eq!((command.permitted, command.no_new_privs), (own.permitted, own.no_new_privs));
    for (name, rights) in threads {
        assert_eq!(rights.permitted, LINES.union(CapabilitySet::KILL), "{name}");
    }
}

fn a_strict_session_gives_its_commands_no_more_than_it_has() {
    let (command, threads) = rights_of_command("strict");
    let left = LINES.union(CapabilitySet::KILL);
    assert!(left.contains(command.permitted), "{command:?}");
    assert!(command.no_new_privs && command.seccomp, "{command:?}");
    for (name, rights) in threads {
        assert_eq!(
            rights,
            Rights { permitted: left, root: true, no_new_privs: true, seccomp: true },
            "{name}"
        );
    }
}

fn a_directory_of_another_user_takes_new_files_all_the_same() {
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let file = folder.path().join("session.jsonl");
    let path = file.to_str().unwrap();
    let (mut process, _output) = Process::start(
        std::process::Command::new(crate::support::TCPTRACE).args(["trace", "-o", path, "--state", "LISTEN"]),
    );
    let header = || {
        let until = std::time::Instant::now() + crate::support::limit();
        loop {
            let text = wait_for(&file);
            if let Some(line) = text.lines().next() {
                break serde_json::from_str::<Value>(line).unwrap();
            }
            assert!(std::time::Instant::now() < until, "no header in {path}: {}", process.messages());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    // A session that has only just made its file does not listen to signals yet.
    assert_eq!(header()["type"], "header");
    fs::rename(&file, folder.path().join("old.jsonl")).unwrap();
    process.signal(rustix::process::Signal::HUP);
    // The one that was opened anew.
    assert_eq!(header()["type"], "header");
    process.signal(rustix::process::Signal::INT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
}

fn where_rights_cannot_be_given_up_it_goes_on_and_says_so() {
    const SAYS: &str = "goes on with the rights that it was started with: cannot give up capabilities";
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = leaky.truth().lport.to_string();
    let now = ["now", "--format", "jsonl", "--lport", &port];
    let ran = Confined::NoCapset.run(&now);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    assert!(ran.messages.contains(SAYS), "{}", ran.messages);
    let is_named = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["type"] == "leak" && record["owners"][0]["pid"] == leaky.truth().holders[0].pid
    };
    assert!(ran.output.lines().any(is_named), "{}", ran.output);
    Confined::NoCapset
        .run(&[&now[..], &["--sandbox", "strict"]].concat())
        .refuses(3, &["capabilities", "--sandbox on"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.jsonl");
    // That would leave root.
    let trace = ["trace", "--duration", "100ms", "-o", file.to_str().unwrap()];
    let ran = Confined::NoCapset.run(&trace);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    assert!(ran.messages.contains(SAYS), "{}", ran.messages);
    let last = fs::read_to_string(&file).unwrap().lines().last().map(str::to_owned);
    assert!(last.as_ref().is_some_and(|line| line.contains("\"summary\"")), "{last:?}");
}
