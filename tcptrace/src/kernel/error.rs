//! Why the kernel side does not run: each message names what is missing and what to do about it. Decides
//! nothing.

use std::io;

use thiserror::Error;

use super::{btf::VMLINUX, filter::TooManyRules, format::UnexpectedFormat, offsets::OffsetsError};
use crate::host::{privilege::NotPrivileged, tracefs::TracefsError};

/// Why the kernel side does not run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// This process may not load programs.
    #[error(transparent)]
    NotPrivileged(#[from] NotPrivileged),
    /// The kernel shows no BTF.
    #[error(
        "this kernel shows no BTF ({VMLINUX}: {0}); use --backend tracepoint, or a kernel built with \
         CONFIG_DEBUG_INFO_BTF"
    )]
    NoBtf(String),
    /// The BTF is malformed, or lacks a field that the programs need.
    #[error("cannot use this kernel's BTF: {0}; use --backend tracepoint")]
    StrangeBtf(#[from] OffsetsError),
    /// There is no tracefs, and it could not be mounted.
    #[error("{0}")]
    NoTracefs(String),
    /// The kernel has no such tracepoint.
    #[error("cannot read the tracepoint's format {path}: {reason}; needed: {needed}")]
    NoTracepoint {
        /// Where its `format` file should be.
        path: String,
        /// The tracepoint, which kernels have it, and what it is for.
        needed: &'static str,
        /// Why that cannot be read.
        reason: String,
    },
    /// `--deep` reads the state of sockets, which takes BTF.
    #[error("--deep reads a socket's state by this kernel's BTF, which it does not show; leave out --deep")]
    DeepWithoutBtf,
    /// The layout of the tracepoint's record is unlike that of any known kernel.
    #[error("{0}; this kernel needs a newer tcptrace")]
    StrangeFormat(#[from] UnexpectedFormat),
    /// The filter has more rules than the programs hold.
    #[error(transparent)]
    TooManyRules(#[from] TooManyRules),
    /// The kernel refused an object or a program of it.
    #[error("the kernel refused to {what}: {reason}{remedy}")]
    Refused {
        /// What it was asked to do.
        what: &'static str,
        /// The kernel's or the loader's error with its causes.
        reason: String,
        /// What to do about it; empty when not known.
        remedy: &'static str,
    },
}

impl From<TracefsError> for LoadError {
    fn from(error: TracefsError) -> Self {
        Self::NoTracefs(error.to_string())
    }
}

impl LoadError {
    /// What stands in the way where the kernel is locked down.
    pub(super) const LOCKED_DOWN: &'static str =
        "; this kernel is locked down (confidentiality), so programs may not read its memory";

    /// Wraps an error of aya with its causes, and adds the remedy where permission is missing.
    pub(crate) fn refused(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        let mut is_permission = false;
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                is_permission |= error.kind() == io::ErrorKind::PermissionDenied;
            }
            let text = error.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = error.source();
        }
        let remedy = if is_permission {
            "; run as root (CAP_BPF and CAP_PERFMON), outside a container that forbids bpf(2)"
        } else {
            ""
        };
        Self::Refused { what, reason, remedy }
    }
}

/// The object lacks a part that it was built with.
pub(super) fn missing() -> LoadError {
    LoadError::refused("find a part of the BPF object", &io::Error::from(io::ErrorKind::NotFound))
}
