//! A network namespace of the test's own, whose loopback interface is up.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::process::Process;

/// The kernel removes the namespace when this is dropped and the last process has left it.
pub(crate) struct Netns(File);

impl Netns {
    pub(crate) fn new() -> Self {
        let make = || {
            // SAFETY: of what threads share, only the network namespace is left.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
            bring_loopback(true);
            File::open("/proc/thread-self/ns/net").expect("the namespace of a thread")
        };
        // In a thread of its own, because there is no way back.
        Self(std::thread::spawn(make).join().expect("the thread that makes a namespace"))
    }

    pub(crate) fn inode(&self) -> u64 {
        self.0.metadata().expect("an open file").ino()
    }

    /// A path through which the children of this process find it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs `work` in the namespace.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter_and_work = || {
            rustix::thread::move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the namespace can be entered");
            work()
        };
        // In a thread of its own, because there is no way back.
        std::thread::scope(|scope| scope.spawn(enter_and_work).join().expect("the thread in the namespace"))
    }

    /// Whether the kernel has this setting under /proc/sys/net/ipv4.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.within(|| std::path::Path::new("/proc/sys/net/ipv4").join(name).exists())
    }

    /// Changes a setting of the namespace under /proc/sys/net/ipv4.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/ipv4/{name}");
        self.within(|| std::fs::write(&path, value)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A process that lives in the namespace: without one, the tool cannot find it.
    pub(crate) fn inhabitant(&self) -> Process {
        Process::start(self.enter(&mut Command::new("cat"))).0
    }

    /// Runs `ip` with these words in the namespace.
    pub(crate) fn ip(&self, words: &str) {
        let mut command = Command::new("ip");
        let status = self.enter(command.args(words.split(' '))).status().expect("ip runs");
        assert!(status.success(), "ip {words}: {status}");
    }

    /// Has the command run in the namespace.
    pub(crate) fn enter<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let file = self.0.try_clone().expect("a descriptor");
        let enter = move || {
            rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(())
        };
        // SAFETY: the closure makes one system call and does not allocate.
        unsafe { command.pre_exec(enter) }
    }
}

/// Brings the loopback interface of this thread's namespace up or down.
pub(crate) fn bring_loopback(up: bool) {
    let any = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = if up { libc::IFF_UP | libc::IFF_RUNNING } else { 0 };
    request.ifr_ifru.ifru_flags = flags.try_into().unwrap();
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    let answer = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    assert_eq!(answer, 0, "the loopback interface: {}", std::io::Error::last_os_error());
}
