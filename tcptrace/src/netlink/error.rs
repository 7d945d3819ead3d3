//! What can go wrong with sock_diag, told apart by what the operator can do about it.

use std::{io, path::PathBuf};

/// Why sock_diag gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel has no handler for the request: the inet_diag module (or the one for this protocol)
    /// is not loaded and could not be loaded by itself.
    #[error(
        "{operation}: this kernel has no inet_diag for {protocol} loaded; \
         try `modprobe --all inet_diag {module}`"
    )]
    NotSupported {
        /// What was being done.
        operation: &'static str,
        /// The protocol that was asked for.
        protocol: &'static str,
        /// The module that has the handler.
        module: &'static str,
    },
    /// The kernel was built without SOCK_DESTROY.
    #[error("this kernel cannot end sockets by SOCK_DESTROY: it was built without CONFIG_INET_DIAG_DESTROY")]
    NoDestroy,
    /// The caller lacks the right.
    #[error("{operation}: permission denied; run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN")]
    Permission {
        /// What was being done.
        operation: &'static str,
    },
    /// The network namespace could not be entered.
    #[error("entering network namespace {inode} (found as {path}): {source}; it may have just gone")]
    Namespace {
        /// The namespace's inode number.
        inode: u32,
        /// Where the namespace was found.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel did not answer in time.
    #[error("{operation}: the kernel did not answer within {seconds} s; try again")]
    Timeout {
        /// What was being done.
        operation: &'static str,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// The kernel answered with bytes that make no sense.
    #[error("{operation}: undecodable answer on NETLINK_SOCK_DIAG: {what}; please report it with `uname -r`")]
    Undecodable {
        /// What was being done.
        operation: &'static str,
        /// What is wrong with the bytes.
        what: String,
    },
    /// Any other refusal of the system.
    #[error("{operation} on NETLINK_SOCK_DIAG: {source}")]
    System {
        /// What was being done.
        operation: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// The error for a refusal of the system while `operation` was being done.
    pub(super) fn from_system(operation: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { operation },
            _ => Self::System { operation, source },
        }
    }

    /// Whether loading a kernel module (or another kernel) is what would help.
    #[must_use]
    pub(crate) fn is_not_supported(&self) -> bool {
        matches!(self, Self::NotSupported { .. })
    }
}
