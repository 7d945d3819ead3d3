//! A network namespace of the test's own, with a loopback interface that is up.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Goes when the last process in it and this have gone.
pub struct Netns(File);

impl Netns {
    pub fn new() -> Self {
        let make = || {
            // SAFETY: of what threads share, only the network namespace is left.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
            bring_up_loopback();
            File::open("/proc/thread-self/ns/net").expect("the namespace of a thread")
        };
        // A thread of its own, because there is no way back.
        Self(std::thread::spawn(make).join().expect("the thread that makes a namespace"))
    }

    pub fn inode(&self) -> u64 {
        self.0.metadata().expect("an open file").ino()
    }

    /// Runs something in the namespace, on a thread of its own.
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let enter_and_work = || {
            let file = std::os::fd::AsFd::as_fd(&self.0);
            rustix::thread::move_into_link_name_space(file, Some(LinkNameSpaceType::Network))
                .expect("the namespace can be entered");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_work).join().expect("the thread in the namespace"))
    }

    /// Sets something under /proc/sys/net/ipv4 of the namespace.
    pub fn set(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/ipv4/{name}");
        self.inside(|| std::fs::write(&path, value)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The command will run in the namespace.
    pub fn enter(&self, command: &mut Command) {
        let file = self.0.try_clone().expect("a descriptor");
        let enter = move || {
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&file),
                Some(LinkNameSpaceType::Network),
            )?;
            Ok(())
        };
        // SAFETY: the closure makes one system call and does not allocate.
        unsafe { command.pre_exec(enter) };
    }
}

fn bring_up_loopback() {
    let any = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    let answer = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    assert_eq!(answer, 0, "the loopback interface: {}", std::io::Error::last_os_error());
}
