//! Copies another process's descriptor, and verifies by cookie that it is the intended socket. Shuts nothing down.

use std::{
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    path::Path,
};

use rustix::{
    io::Errno,
    net::sockopt::socket_cookie,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

use crate::model::{
    clearing::Refusal,
    owner::{Evidence, Owner},
    pid,
};

/// Checks that descriptors of other processes can be copied (Linux 5.6, no seccomp filter in the way), by
/// copying one of this process; else says why not.
pub(crate) fn probe(proc: &Path) -> Result<(), String> {
    let shown = std::fs::read_link(proc.join("self")).ok();
    if shown.is_some_and(|shown| shown.as_os_str() != &*getpid().as_raw_nonzero().to_string()) {
        return Err(format!(
            "shutdown(2) takes a process by its number in this pid namespace, and {} shows another one's: run it in \
             the pid namespace of that /proc",
            proc.display()
        ));
    }
    let copied = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|pidfd| pidfd_getfd(&pidfd, pidfd.as_raw_fd(), PidfdGetfdFlags::empty()));
    copied.map(|_| ()).map_err(|errno| {
        format!("shutdown(2) needs pidfd_getfd(2) (Linux 5.6, not kept out by a seccomp filter): {errno}")
    })
}

/// Copies a descriptor of the socket with this cookie from the first holder that still has one.
///
/// # Errors
pub(crate) fn take(owners: &[Owner], cookie: u64) -> Result<OwnedFd, Refusal> {
    let mut refusal = Refusal::NoDescriptor;
    for owner in owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
        for fd in &owner.fds {
            match copy(owner.process.pid, *fd) {
                // The process may have reused the descriptor since it was listed.
                Ok(copy) if socket_cookie(&copy) == Ok(cookie) => return Ok(copy),
                Ok(_) | Err(Errno::SRCH | Errno::BADF) => {}
                Err(errno) => refusal = refused(owner, errno),
            }
        }
    }
    Err(refusal)
}

fn copy(pid: pid::Pid, fd: u32) -> rustix::io::Result<OwnedFd> {
    let pid =
        pid.visible().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty())
}

fn refused(owner: &Owner, errno: Errno) -> Refusal {
    let remedy = if errno == Errno::PERM { "; it takes CAP_SYS_PTRACE" } else { "" };
    Refusal::System(format!("copying a descriptor of process {}: {errno}{remedy}", owner.process.pid))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd as _, sync::Arc};

    use super::*;
    use crate::model::process::ProcessIdentity;

    fn own(fds: Vec<u32>) -> Vec<Owner> {
        let process = Arc::new(ProcessIdentity::from_name(pid::Pid::new(std::process::id()), "self"));
        vec![Owner { process, fds, inherited: None, evidence: Evidence::FdTable }]
    }

    #[test]
    fn only_a_descriptor_of_that_very_socket_is_taken() {
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let fds = sockets.each_ref().map(|socket| socket.as_raw_fd().cast_unsigned());
        let cookies = sockets.each_ref().map(|socket| socket_cookie(socket).unwrap());
        let taken = take(&own(fds.to_vec()), cookies[1]).unwrap();
        assert_eq!(socket_cookie(taken.as_fd()), Ok(cookies[1]));
        assert_eq!(take(&own(vec![fds[0]]), cookies[1]).unwrap_err(), Refusal::NoDescriptor);
        // No socket, no descriptor, no process.
        assert_eq!(take(&own(vec![2, 1_000_000, u32::MAX]), cookies[1]).unwrap_err(), Refusal::NoDescriptor);
        let mut nobody = own(vec![0]);
        nobody[0].process = Arc::new(ProcessIdentity::from_name(pid::Pid::new(u32::MAX), "nobody"));
        assert_eq!(take(&nobody, cookies[1]).unwrap_err(), Refusal::NoDescriptor);
    }
}
