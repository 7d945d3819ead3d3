//! Copies another process's descriptor, and verifies by cookie that it is the intended socket. Shuts nothing down.

use std::{
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    path::Path,
};

use rustix::{
    fs::OFlags,
    io::Errno,
    net::sockopt::socket_cookie,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

use crate::{
    host::live_thread::live_thread,
    model::{
        clearing::Refusal,
        owner::{Evidence, Owner},
        pid,
    },
};

/// Opens a thread, not its process: Linux 6.9 (`include/uapi/linux/pidfd.h`).
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());

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
pub(crate) fn take(owners: &[Owner], cookie: u64, proc_root: &Path) -> Result<OwnedFd, Refusal> {
    let mut refusal = Refusal::NoDescriptor;
    for owner in owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
        for fd in &owner.fds {
            match copy(owner.process.pid, *fd, proc_root) {
                // The process may have reused the descriptor since it was listed.
                Ok(copy) if socket_cookie(&copy) == Ok(cookie) => return Ok(copy),
                Ok(_) | Err(CopyError::System(Errno::SRCH | Errno::BADF)) => {}
                Err(error) => refusal = refused(owner, error),
            }
        }
    }
    Err(refusal)
}

/// Why a descriptor could not be copied.
#[derive(Clone, Copy)]
enum CopyError {
    System(Errno),
    /// The main thread has ended, and this kernel opens no other.
    NoThread,
}

impl From<Errno> for CopyError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

fn copy(pid: pid::Pid, fd: u32, proc_root: &Path) -> Result<OwnedFd, CopyError> {
    let number = pid.visible().ok_or(Errno::SRCH)?;
    let raw = |number: u32| i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    let copy = |pidfd| pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty());
    match pidfd_open(raw(number)?, PidfdFlags::empty()).and_then(copy) {
        // So says the kernel of a process whose main thread has ended too: the others have the descriptors.
        Err(Errno::BADF | Errno::SRCH) => {
            let thread = live_thread(proc_root, number).ok_or(Errno::BADF)?;
            match pidfd_open(raw(thread)?, PIDFD_THREAD) {
                Ok(pidfd) => Ok(copy(pidfd)?),
                Err(Errno::INVAL) => Err(CopyError::NoThread),
                Err(errno) => Err(errno.into()),
            }
        }
        copied => Ok(copied?),
    }
}

fn refused(owner: &Owner, error: CopyError) -> Refusal {
    let pid = owner.process.pid;
    Refusal::System(match error {
        CopyError::NoThread => format!(
            "the main thread of process {pid} has ended, and descriptors of its others cannot be copied before \
             Linux 6.9: --method destroy does without"
        ),
        CopyError::System(errno) => {
            let remedy = if errno == Errno::PERM { "; it takes CAP_SYS_PTRACE" } else { "" };
            format!("copying a descriptor of process {pid}: {errno}{remedy}")
        }
    })
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
        let proc = Path::new("/proc");
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let fds = sockets.each_ref().map(|socket| socket.as_raw_fd().cast_unsigned());
        let cookies = sockets.each_ref().map(|socket| socket_cookie(socket).unwrap());
        let taken = take(&own(fds.to_vec()), cookies[1], proc).unwrap();
        assert_eq!(socket_cookie(taken.as_fd()), Ok(cookies[1]));
        assert_eq!(take(&own(vec![fds[0]]), cookies[1], proc).unwrap_err(), Refusal::NoDescriptor);
        // No socket, no descriptor, no process.
        assert_eq!(
            take(&own(vec![2, 1_000_000, u32::MAX]), cookies[1], proc).unwrap_err(),
            Refusal::NoDescriptor
        );
        let mut nobody = own(vec![0]);
        nobody[0].process = Arc::new(ProcessIdentity::from_name(pid::Pid::new(u32::MAX), "nobody"));
        assert_eq!(take(&nobody, cookies[1], proc).unwrap_err(), Refusal::NoDescriptor);
    }
}
