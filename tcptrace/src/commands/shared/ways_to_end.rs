//! Which ways to end a socket this host has, found by trying them on nothing. Ends none.

use std::{fs, os::fd::AsRawFd as _, path::Path};

use rustix::{
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
    thread::CapabilitySet,
};

use crate::{
    host::{own_netns, privilege},
    netlink::SockDiag,
};

/// Checks that SOCK_DESTROY works; else says why not and what helps.
pub(crate) fn can_destroy() -> Result<(), String> {
    if !privilege::has(CapabilitySet::NET_ADMIN) {
        return Err("SOCK_DESTROY needs CAP_NET_ADMIN; run as root, with all capabilities".to_owned());
    }
    if own_netns::is_for_others() {
        return Err("SOCK_DESTROY needs CAP_NET_ADMIN in the user namespace that this network namespace belongs to, and \
                    this process is in another; run as root of the host, outside of the container"
            .to_owned());
    }
    SockDiag::open_here().and_then(|mut diag| diag.probe_destroy()).map_err(|error| error.to_string())
}

/// Whether descriptors of other users' processes can be copied (`ptrace_may_access` of kernel/ptrace.c).
pub(crate) fn may_copy_of_others() -> bool {
    privilege::has(CapabilitySet::SYS_PTRACE)
}

/// Checks that descriptors of other processes can be copied (Linux 5.6, no seccomp filter in the way), by
/// copying one of this process; else says why not.
pub(crate) fn can_shut_down(proc: &Path) -> Result<(), String> {
    let shown = fs::read_link(proc.join("self")).ok();
    if shown.is_some_and(|shown| shown.as_os_str() != &*getpid().as_raw_nonzero().to_string()) {
        return Err(format!(
            "shutdown(2) takes a process by its number in this pid namespace, and {} shows another one's: run it in \
             the pid namespace of that /proc (nsenter --target 1 --pid)",
            proc.display()
        ));
    }
    let copied = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|pidfd| pidfd_getfd(&pidfd, pidfd.as_raw_fd(), PidfdGetfdFlags::empty()));
    copied.map(|_| ()).map_err(|errno| {
        format!("shutdown(2) needs pidfd_getfd(2) (Linux 5.6, not kept out by a seccomp filter): {errno}")
    })
}
