//! The network namespace of this process, asked of a socket: which it is where there is no /proc to tell it, and whether this
//! process may change it or enter it.

use std::{
    ffi::c_void,
    fs::File,
    os::{
        fd::{AsFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    ptr,
};

use rustix::{
    io,
    ioctl::{Ioctl, IoctlOutput, Opcode, ioctl},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// `SIOCGSKNS` of include/uapi/linux/sockios.h: a descriptor of the network namespace of a socket.
struct NamespaceOfSocket;

// SAFETY: the request takes no argument, changes no memory, and answers with a new descriptor.
unsafe impl Ioctl for NamespaceOfSocket {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        0x894C
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> io::Result<OwnedFd> {
        // SAFETY: the kernel has made this descriptor for us (`open_related_ns` of fs/nsfs.c).
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

/// Its inode number; `None` where /proc tells it, and without CAP_NET_ADMIN in it.
pub(super) fn without_proc(proc_root: &Path) -> Option<u32> {
    if proc_root.join("thread-self/ns/net").exists() { None } else { by_socket() }
}

/// Whether its user namespace denies CAP_NET_ADMIN in it: the kernel asks for that before it answers (`sock_ioctl` of
/// net/socket.c).
pub(crate) fn is_for_others() -> bool {
    ask().is_err_and(|errno| errno == io::Errno::PERM)
}

/// Enters it anew, which changes nothing: for whether this process may enter network namespaces at all.
///
/// # Errors
/// What the kernel says where it may not, or /proc does not show it.
pub(crate) fn enter(proc_root: &Path) -> std::io::Result<()> {
    let own = File::open(proc_root.join("thread-self/ns/net"))?;
    Ok(move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn by_socket() -> Option<u32> {
    u32::try_from(File::from(ask().ok()?).metadata().ok()?.ino()).ok()
}

fn ask() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the request is what this file says it is.
    unsafe { ioctl(&socket, NamespaceOfSocket) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn a_socket_tells_the_same_namespace_as_proc() {
        assert!(!is_for_others());
        let own = std::fs::metadata("/proc/thread-self/ns/net").map(|file| file.ino()).ok();
        assert_eq!(by_socket().map(u64::from), own);
        assert_eq!(without_proc(Path::new("/proc")), None, "nothing to ask for");
        assert_eq!(without_proc(Path::new("/nowhere")).map(u64::from), own);
    }
}
