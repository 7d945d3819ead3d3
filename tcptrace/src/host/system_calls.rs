//! Gives up system calls that this process has no use for (seccomp(2)): what cannot be called cannot be abused by whoever
//! gets hold of it through a file or a name. All others stay as they are.

use std::{collections::BTreeMap, env::consts::ARCH};

use rustix::{io::Errno, thread::set_no_new_privs};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use syscalls::Sysno;
use thiserror::Error;

/// The kernel takes no such filter.
#[derive(Debug, Error)]
#[error("cannot give up system calls: {0}")]
pub(crate) struct FilterError(String);

/// What is still called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Other programs are executed.
    pub(crate) executes: bool,
    /// BPF programs are loaded.
    pub(crate) loads: bool,
}

/// Never called here: what changes the machine, its mounts, its clocks, its keys, other processes, or who this one is.
const NEVER: [Sysno; 44] = [
    Sysno::acct,
    Sysno::add_key,
    Sysno::adjtimex,
    Sysno::chroot,
    Sysno::clock_adjtime,
    Sysno::clock_settime,
    Sysno::delete_module,
    Sysno::finit_module,
    Sysno::fsconfig,
    Sysno::fsmount,
    Sysno::fsopen,
    Sysno::fspick,
    Sysno::init_module,
    Sysno::kexec_file_load,
    Sysno::kexec_load,
    Sysno::keyctl,
    Sysno::mount,
    Sysno::mount_setattr,
    Sysno::move_mount,
    Sysno::open_by_handle_at,
    Sysno::open_tree,
    Sysno::personality,
    Sysno::pivot_root,
    Sysno::process_vm_writev,
    Sysno::ptrace,
    Sysno::quotactl,
    Sysno::reboot,
    Sysno::request_key,
    Sysno::setdomainname,
    Sysno::setfsgid,
    Sysno::setfsuid,
    Sysno::setgid,
    Sysno::setgroups,
    Sysno::sethostname,
    Sysno::setregid,
    Sysno::setresgid,
    Sysno::setresuid,
    Sysno::setreuid,
    Sysno::settimeofday,
    Sysno::setuid,
    Sysno::swapoff,
    Sysno::swapon,
    Sysno::umount2,
    Sysno::userfaultfd,
];

/// Not called where no program is executed.
const TO_EXECUTE: [Sysno; 2] = [Sysno::execve, Sysno::execveat];

/// Not called where no BPF program is loaded. `BPF_PROG_LOAD` and `BPF_MAP_CREATE` of include/uapi/linux/bpf.h.
const TO_LOAD: [Sysno; 1] = [Sysno::perf_event_open];
const BPF_MAP_CREATE: u64 = 0;
const BPF_PROG_LOAD: u64 = 5;

/// Sockets that would lead out of this machine: IPv4, IPv6 and packets (`AF_*` of include/linux/socket.h).
const FAMILIES: [u64; 3] = [2, 10, 17];

/// Gives up the rest, in this thread and in those that it starts from now on. Takes no_new_privs or CAP_SYS_ADMIN. A call
/// that was given up answers EPERM.
///
/// # Errors
/// When the kernel takes no filter.
pub(crate) fn keep(uses: Uses) -> Result<(), FilterError> {
    refuse(rules(uses))
}

/// Gives up opening files in this thread and those that it starts. Sets no_new_privs in it, which the filter takes.
///
/// # Errors
/// When the kernel takes no filter.
pub(crate) fn open_no_files() -> Result<(), FilterError> {
    set_no_new_privs(true).map_err(|error| FilterError(error.to_string()))?;
    refuse(Ok([(number(Sysno::openat), Vec::new())].into()))
}

/// Each call with the arguments that it is refused with; without any, always.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refuse(rules: Result<Rules, BackendError>) -> Result<(), FilterError> {
    let error = |error: &dyn std::fmt::Display| FilterError(error.to_string());
    let program = rules.and_then(program).map_err(|why| error(&why))?;
    apply_filter(&program).map_err(|why| error(&why))
}

fn program(rules: Rules) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, ARCH.try_into()?)?.try_into()
}

fn number(call: Sysno) -> i64 {
    i64::from(call.id())
}

fn rules(uses: Uses) -> Result<Rules, BackendError> {
    let with_first = |value| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    };
    let mut rules: Rules = NEVER.into_iter().map(|call| (number(call), Vec::new())).collect();
    let families = FAMILIES.into_iter().map(with_first).collect::<Result<_, _>>()?;
    rules.insert(number(Sysno::socket), families);
    if !uses.executes {
        rules.extend(TO_EXECUTE.map(|call| (number(call), Vec::new())));
    }
    if !uses.loads {
        rules.extend(TO_LOAD.map(|call| (number(call), Vec::new())));
        let bpf = [BPF_MAP_CREATE, BPF_PROG_LOAD].into_iter().map(with_first).collect::<Result<_, _>>()?;
        rules.insert(number(Sysno::bpf), bpf);
    }
    Ok(rules)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{net::TcpListener, process::Command, thread};

    use super::*;

    #[test]
    fn what_was_given_up_is_refused_and_all_else_goes_on() {
        // The filter is this thread's alone, and ends with it.
        let gone = thread::spawn(|| {
            set_no_new_privs(true).unwrap();
            keep(Uses { executes: false, loads: false }).unwrap();
            let executed = Command::new("/bin/true").status().map_err(|error| error.kind());
            let listening = TcpListener::bind("127.0.0.1:0").map(|_| ()).map_err(|error| error.kind());
            let file = std::fs::read("/proc/self/stat").is_ok();
            (executed.map(|_| ()), listening, file)
        });
        let denied = Err(std::io::ErrorKind::PermissionDenied);
        assert_eq!(gone.join().unwrap(), (denied, denied, true));
    }

    #[test]
    fn files_are_refused_to_this_thread_alone() {
        let read = || std::fs::read("/proc/self/stat").map_err(|error| error.kind());
        let gone = thread::spawn(move || open_no_files().map(|()| read()));
        assert_eq!(gone.join().unwrap().unwrap().unwrap_err(), std::io::ErrorKind::PermissionDenied);
        assert!(read().is_ok());
    }

    #[test]
    fn a_command_that_executes_programs_keeps_what_that_takes() {
        let kept = |uses| -> Vec<i64> { rules(uses).unwrap().into_keys().collect() };
        let executes = kept(Uses { executes: true, loads: true });
        assert!(TO_EXECUTE.iter().all(|call| !executes.contains(&i64::from(call.id()))));
        let neither = kept(Uses { executes: false, loads: false });
        assert!(TO_EXECUTE.iter().all(|call| neither.contains(&i64::from(call.id()))));
        assert!(neither.contains(&i64::from(Sysno::bpf.id())));
    }
}
