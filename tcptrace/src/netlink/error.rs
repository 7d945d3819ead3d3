//! Errors of sock_diag, by what the operator can do about them.

use std::{io, path::PathBuf};

use rustix::io::Errno;

use crate::model::coverage::{LookError, Operation};

/// Why sock_diag gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel has no handler for the request: the inet_diag module, or the protocol's, is not loaded and
    /// did not load on demand.
    #[error(
        "{operation}: this kernel has no inet_diag for {protocol} loaded; \
         try `modprobe --all inet_diag {module}`"
    )]
    NotSupported {
        operation: &'static str,
        protocol: &'static str,
        /// The module with the handler.
        module: &'static str,
    },
    /// The kernel was built without SOCK_DESTROY.
    #[error("this kernel cannot end sockets by SOCK_DESTROY: it was built without CONFIG_INET_DIAG_DESTROY")]
    NoDestroy,
    /// The caller lacks a capability.
    #[error("{operation}: permission denied; run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN")]
    Permission { operation: &'static str },
    /// The network namespace could not be entered.
    #[error("entering network namespace {inode} (found as {path}): {}", what_is_wrong(source))]
    Namespace { inode: u32, path: PathBuf, source: io::Error },
    /// The kernel did not answer in time.
    #[error("{operation}: the kernel did not answer within {seconds} s; try again")]
    Timeout {
        operation: &'static str,
        /// The timeout.
        seconds: u64,
    },
    /// The kernel's answer could not be decoded.
    #[error("{operation}: undecodable answer on NETLINK_SOCK_DIAG: {what}; please report it with `uname -r`")]
    Undecodable {
        operation: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Any other answer of the system.
    #[error("{operation} on NETLINK_SOCK_DIAG: {source}")]
    System { operation: &'static str, source: io::Error },
}

impl Error {
    /// The error for a failed `operation`.
    pub(super) fn from_system(operation: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { operation },
            _ => Self::System { operation, source },
        }
    }

    /// What was refused, and the number of the refusal; `None` when the namespace is gone.
    #[must_use]
    pub(crate) fn to_look_error(&self) -> Option<LookError> {
        let errno = |source: &io::Error| source.raw_os_error().unwrap_or_default();
        let (operation, errno) = match self {
            Self::Namespace { source, .. } if source.kind() == io::ErrorKind::NotFound => return None,
            Self::Namespace { source, .. } => (Operation::EnterNamespace, errno(source)),
            Self::NotSupported { .. } => (Operation::ListSockets, Errno::NOENT.raw_os_error()),
            Self::NoDestroy => (Operation::ListSockets, Errno::OPNOTSUPP.raw_os_error()),
            Self::Permission { .. } => (Operation::ListSockets, Errno::PERM.raw_os_error()),
            Self::Timeout { .. } => (Operation::ListSockets, Errno::TIMEDOUT.raw_os_error()),
            Self::Undecodable { .. } => (Operation::ListSockets, Errno::BADMSG.raw_os_error()),
            Self::System { source, .. } => (Operation::ListSockets, errno(source)),
        };
        Some(LookError { operation, errno })
    }

    /// Whether a kernel module, or another kernel, would help.
    #[must_use]
    pub(crate) fn is_not_supported(&self) -> bool {
        matches!(self, Self::NotSupported { .. })
    }
}

/// Why a namespace cannot be entered, and what helps.
fn what_is_wrong(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "it has gone".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("{source}; run as root of the host, or with CAP_SYS_ADMIN there")
        }
        _ => source.to_string(),
    }
}
