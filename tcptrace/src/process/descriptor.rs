//! Copies another process's descriptor of a socket, and verifies by cookie that it is the intended socket, or asks for the
//! cookie, or for the connection. The process does not notice; the socket lives as long as the copy.

use std::{
    net::SocketAddr,
    os::fd::{OwnedFd, RawFd},
    path::Path,
};

use rustix::{
    fs::OFlags,
    io::Errno,
    net::{SocketAddrAny, getpeername, getsockname, sockopt::socket_cookie},
    process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::{host::live_thread::live_thread, model::pid::Pid};

/// Opens a thread, not its process: Linux 6.9 (`include/uapi/linux/pidfd.h`).
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());

/// Why a descriptor could not be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyError {
    /// The process has ended, or has closed it, or has reused its number for something else.
    Gone,
    System(Errno),
    /// The main thread has ended, and this kernel opens no other.
    NoThread,
}

impl From<Errno> for CopyError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::SRCH | Errno::BADF => Self::Gone,
            errno => Self::System(errno),
        }
    }
}

/// Copies descriptor `fd` of a process, if it is that of the socket with this cookie.
///
/// # Errors
/// When it is not, or when the kernel refuses.
pub(crate) fn copy_socket(pid: Pid, fd: u32, cookie: u64, proc_root: &Path) -> Result<OwnedFd, CopyError> {
    let copy = copy(pid, fd, proc_root)?;
    if socket_cookie(&copy) == Ok(cookie) { Ok(copy) } else { Err(CopyError::Gone) }
}

/// Has the kernel give a cookie to the socket behind descriptor `fd` of a process, if it is one that has none yet.
///
/// # Errors
/// When the descriptor is gone or is no socket, or when the kernel refuses.
pub(crate) fn give_cookie(pid: Pid, fd: u32, proc_root: &Path) -> Result<(), CopyError> {
    socket_cookie(&copy(pid, fd, proc_root)?)?;
    Ok(())
}

/// The connection of the TCP socket behind descriptor `fd` of a process: cookie, local and remote address. The caller has
/// made sure that it is a socket, because to close a copy of something else may not be for nothing.
///
/// # Errors
/// When the descriptor is gone, or is not connected by IP, or when the kernel refuses.
pub(crate) fn connection(
    pid: Pid,
    fd: u32,
    proc_root: &Path,
) -> Result<(u64, SocketAddr, SocketAddr), CopyError> {
    let copy = copy(pid, fd, proc_root)?;
    let plain = |address: SocketAddrAny| {
        let address = SocketAddr::try_from(address)?;
        Ok::<_, Errno>(SocketAddr::new(address.ip().to_canonical(), address.port()))
    };
    let remote = getpeername(&copy)?.ok_or(Errno::NOTCONN)?;
    Ok((socket_cookie(&copy)?, plain(getsockname(&copy)?)?, plain(remote)?))
}

fn copy(pid: Pid, fd: u32, proc_root: &Path) -> Result<OwnedFd, CopyError> {
    let number = pid.visible().ok_or(Errno::SRCH)?;
    let raw =
        |number: u32| i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw).ok_or(Errno::SRCH);
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
