//! Takes a copy of a holder's descriptor, or says why there is none. Shuts nothing down.

use std::{os::fd::OwnedFd, path::Path};

use rustix::io::Errno;

use crate::{
    model::{
        clearing::Refusal,
        owner::{Evidence, Owner},
    },
    process::descriptor::{CopyError, copy_socket},
};

/// Copies a descriptor of the socket with this cookie from the first holder that still has one.
///
/// # Errors
pub(crate) fn take(owners: &[Owner], cookie: u64, proc_root: &Path) -> Result<OwnedFd, Refusal> {
    let mut refusal = Refusal::NoDescriptor;
    for owner in owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
        for fd in &owner.fds {
            match copy_socket(owner.process.pid, *fd, cookie, proc_root) {
                Ok(copy) => return Ok(copy),
                Err(CopyError::Gone) => {}
                Err(error) => refusal = refused(owner, error),
            }
        }
    }
    Err(refusal)
}

fn refused(owner: &Owner, error: CopyError) -> Refusal {
    let pid = owner.process.pid;
    Refusal::System(match error {
        CopyError::NoThread => format!(
            "the main thread of process {pid} has ended, and descriptors of its others cannot be copied before \
             Linux 6.9: --method destroy does without"
        ),
        CopyError::Gone => return Refusal::NoDescriptor,
        CopyError::System(errno) => {
            let remedy = if errno == Errno::PERM { "; it takes CAP_SYS_PTRACE" } else { "" };
            format!("copying a descriptor of process {pid}: {errno}{remedy}")
        }
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{
        net::TcpListener,
        os::fd::{AsFd as _, AsRawFd as _},
        sync::Arc,
    };

    use rustix::net::sockopt::socket_cookie;

    use super::*;
    use crate::model::{pid::Pid, process::ProcessIdentity};

    fn own(fds: Vec<u32>) -> Vec<Owner> {
        let process = Arc::new(ProcessIdentity::from_name(Pid::new(std::process::id()), "self"));
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
        nobody[0].process = Arc::new(ProcessIdentity::from_name(Pid::new(u32::MAX), "nobody"));
        assert_eq!(take(&nobody, cookies[1], proc).unwrap_err(), Refusal::NoDescriptor);
    }
}
