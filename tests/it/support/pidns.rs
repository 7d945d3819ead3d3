//! A pid namespace of the test's own.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdout, Command};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::process::Process;
use super::until;

/// Everything in it ends when this is dropped. It has to be dropped last: the kernel ends the first process of a pid
/// namespace only when those who started the others have waited for them.
pub(crate) struct PidNamespace {
    namespace: File,
    _first: Process,
}

/// Which processes a child in the namespace has in its /proc.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proc {
    /// Those of its own pid namespace, as in a container.
    Own,
    /// Those of the host, as after `unshare --pid --fork`.
    OfTheHost,
}

impl PidNamespace {
    pub(crate) fn new() -> Self {
        let (first, _) = Process::start_by(&mut Command::new("cat"), |command| {
            // SAFETY: of what threads share, nothing is left.
            unsafe { unshare_unsafe(UnshareFlags::NEWPID) }?;
            let child = command.spawn();
            come_back();
            child
        });
        let namespace = File::open(format!("/proc/{}/ns/pid", first.pid())).expect("a namespace");
        Self { namespace, _first: first }
    }

    /// Starts a child in the namespace. Its [`Process::pid`] is its number on the host.
    pub(crate) fn start(&self, command: &mut Command, proc: Proc) -> (Process, ChildStdout) {
        if proc == Proc::Own {
            // SAFETY: the closure makes system calls and does not allocate.
            unsafe { command.pre_exec(mount_proc) };
        }
        Process::start_by(command, |command| {
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
            let child = command.spawn();
            come_back();
            child
        })
    }

    /// Has the next process that is made in the namespace get this number there.
    pub(crate) fn give_next(&self, number: i32) {
        let write = format!("echo {} > /proc/sys/kernel/ns_last_pid", number - 1);
        let (mut writer, _) = self.start(Command::new("sh").args(["-c", &write]), Proc::OfTheHost);
        assert!(writer.wait().success(), "{}", writer.messages());
    }

    /// The number on the host of the process that has this one in the namespace.
    pub(crate) fn on_host(&self, inside: i32) -> i32 {
        let here = |entry: std::fs::DirEntry| {
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            let numbers: Vec<i32> =
                numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let is_here = is_same(&entry.path().join("ns/pid"), &self.namespace)?;
            (is_here && numbers.len() > 1 && numbers.last() == Some(&inside)).then(|| numbers[0])
        };
        let found = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).find_map(here);
        found.unwrap_or_else(|| panic!("no process has the number {inside} in the namespace"))
    }
}

fn is_same(path: &std::path::Path, file: &File) -> Option<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Some(std::fs::metadata(path).ok()?.ino() == file.metadata().ok()?.ino())
}

/// Has the children of this thread be in the pid namespace of the test again. Without it, the thread can start no
/// other thread.
fn come_back() {
    let ours = File::open("/proc/self/ns/pid").expect("the test's own namespace");
    move_into_link_name_space(ours.as_fd(), Some(LinkNameSpaceType::ProcessID)).expect("the way back");
}

/// Gives this process a /proc of its own pid namespace.
fn mount_proc() -> std::io::Result<()> {
    // SAFETY: this is the only thread after a fork.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None)?;
    Ok(())
}

/// The number of the process's only child, which a program like `unshare --fork` has started.
pub(crate) fn only_child(pid: i32) -> i32 {
    let children = || {
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<i32>>()
    };
    until("it has a child", || children().len() == 1);
    children()[0]
}
