//! Why the kernel side does not run: each message names what is missing and what to do about it. Decides
//! nothing.

use std::{io, path::Path};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use thiserror::Error;

use super::{filter::TooManyRules, format::UnexpectedFormat, offsets::OffsetsError};
use crate::host::{privilege::NotPrivileged, sysfs, tracefs::TracefsError};

/// Why the kernel side does not run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// This process may not load programs.
    #[error(transparent)]
    NotPrivileged(#[from] NotPrivileged),
    /// There is no BTF.
    #[error(
        "no BTF of this kernel ({path}: {reason}); it takes --btf FILE with that of exactly this kernel, or a kernel built with \
         CONFIG_DEBUG_INFO_BTF"
    )]
    NoBtf {
        /// Where it should be.
        path: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// The BTF is malformed, or lacks a field that the programs need.
    #[error("cannot use the BTF in {path}: {error}; {}", error.remedy())]
    StrangeBtf {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        error: OffsetsError,
    },
    /// There is no tracefs, and it could not be mounted.
    #[error("{0}")]
    NoTracefs(String),
    /// Without tracefs nothing stands in for typed programs.
    #[error(
        "{0}; typed programs (Linux 5.12 with BTF) need no tracefs, and neither do `now`, `clear` and one look of `time-wait`"
    )]
    ClassicWithoutTracefs(String),
    /// The kernel has no such tracepoint.
    #[error("this kernel has no tracepoint {0}")]
    NoTracepoint(&'static str),
    /// It may have it, and nobody can read what a record of it looks like.
    #[error("cannot read the tracepoint's format {path}: {reason}")]
    UnreadFormat {
        /// Where it is.
        path: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// Nobody can tell how many CPUs have counters of their own.
    #[error("what is lost could not be counted, because {path} cannot be read ({reason}); {}", sysfs::MOUNT)]
    NoCpuList {
        /// Where the kernel lists them.
        path: &'static str,
        /// Why it cannot be read.
        reason: String,
    },
    /// `--deep` was asked for, and cannot be had.
    #[error("--deep cannot name who read the end of file: {0}; leave out --deep")]
    NoDeep(String),
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

    /// What stands in the way where the kernel says that it is not permitted.
    pub(super) const NOT_PERMITTED: &'static str =
        "; run as root (CAP_BPF and CAP_PERFMON), outside a container that forbids bpf(2)";

    /// What stands in the way where that is said of perf events, which classic tracepoints and buffers for each CPU are.
    pub(super) const NO_PERF_EVENTS: &'static str =
        "; it takes CAP_PERFMON, or CAP_SYS_ADMIN where kernel.perf_event_paranoid is 3 or more";

    /// Whether the message says what to do about it.
    pub(super) fn names_remedy(&self) -> bool {
        match self {
            Self::Refused { remedy, .. } => !remedy.is_empty(),
            Self::UnreadFormat { .. } => false,
            Self::NotPrivileged(_)
            | Self::NoBtf { .. }
            | Self::StrangeBtf { .. }
            | Self::NoTracefs(_)
            | Self::ClassicWithoutTracefs(_)
            | Self::NoTracepoint(_)
            | Self::NoCpuList { .. }
            | Self::NoDeep(_)
            | Self::StrangeFormat(_)
            | Self::TooManyRules(_) => true,
        }
    }

    /// Whether a map was not permitted.
    pub(super) fn forbids_map(&self) -> bool {
        matches!(self, Self::Refused { reason, remedy, .. } if reason.contains(MAP_REFUSED) && *remedy == Self::NOT_PERMITTED)
    }

    /// There is no BTF in this file.
    pub(super) fn no_btf(path: &Path, error: &io::Error) -> Self {
        let reason = if path.starts_with("/sys") && sysfs::is_missing() {
            format!("sysfs is not mounted: {}", sysfs::MOUNT)
        } else {
            error.to_string()
        };
        Self::NoBtf { path: path.display().to_string(), reason }
    }

    /// Wraps an error of aya with its causes, and adds the remedy where permission is missing.
    pub(crate) fn refused(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut reason = match error.downcast_ref() {
            Some(ProgramError::LoadError { io_error, verifier_log }) => {
                log::trace!("the kernel refused to {what}: {verifier_log}");
                refused_program(io_error, &verifier_log.to_string())
            }
            _ => in_words(error),
        };
        let mut cause = error.source();
        let mut is_permission = false;
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                is_permission |= error.kind() == io::ErrorKind::PermissionDenied;
            }
            let text = in_words(error);
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = error.source();
        }
        let remedy = if NO_PROBE_READS.iter().any(|words| reason.contains(words)) {
            Self::LOCKED_DOWN
        } else if is_permission && reason.contains(PERF_EVENT_REFUSED) {
            Self::NO_PERF_EVENTS
        } else if is_permission {
            Self::NOT_PERMITTED
        } else {
            ""
        };
        Self::Refused { what, reason, remedy }
    }
}

/// An error in its own words, but for the name of a map that was refused: the loader makes them in any order.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let map = match error.downcast_ref() {
        Some(EbpfError::MapError(map)) => Some(map),
        _ => error.downcast_ref(),
    };
    match map {
        Some(MapError::CreateError { .. }) => MAP_REFUSED.to_owned(),
        _ => error.to_string(),
    }
}

/// What is said of every map that cannot be made.
const MAP_REFUSED: &str = "failed to create a map";

/// How the loader names the call that makes a perf event.
const PERF_EVENT_REFUSED: &str = "perf_event_open";

/// What the verifier says of every helper that reads memory at any address where the kernel is locked down
/// (`bpf_base_func_proto` of kernel/bpf/helpers.c), up to Linux 6.1 and from 6.12; all kernels have at least one, and who lacks
/// CAP_PERFMON is refused before.
const NO_PROBE_READS: [&str; 2] =
    ["unknown func bpf_probe_read", "program of this type cannot use helper bpf_probe_read"];

/// Why the verifier refused a program, in one line. Its log walks through the program; what it stumbled over comes last,
/// but for statistics.
fn refused_program(error: &io::Error, verifier_log: &str) -> String {
    /// What statistics begin with (`print_verification_stats` of kernel/bpf/verifier.c).
    const STATISTICS: [&str; 4] = ["processed ", "insns processed ", "verification time ", "stack depth "];
    let is_telling =
        |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|beginning| line.starts_with(beginning));
    match verifier_log.lines().map(str::trim).rfind(is_telling) {
        Some(line) => format!("{error}: {line}"),
        None => error.to_string(),
    }
}

/// The object lacks a part that it was built with.
pub(super) fn missing() -> LoadError {
    LoadError::refused("find a part of the BPF object", &io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;
    use aya_obj::VerifierLog;

    use super::*;

    #[test]
    fn a_map_that_was_refused_has_no_name() {
        let error = EbpfError::MapError(MapError::CreateError {
            name: "ADDRESS".to_owned(),
            io_error: io::Error::from_raw_os_error(1),
        });
        let expected =
            "the kernel refused to try: failed to create a map: Operation not permitted (os error 1)";
        let said = LoadError::refused("try", &error).to_string();
        assert_eq!(said, format!("{expected}{}", LoadError::NOT_PERMITTED));
    }

    #[test]
    fn a_perf_event_that_was_refused_takes_another_right() {
        let io_error = io::Error::from_raw_os_error(13);
        let error = SyscallError { call: "perf_event_open_trace_point", io_error };
        let said = LoadError::refused("try", &ProgramError::SyscallError(error)).to_string();
        assert!(said.ends_with(LoadError::NO_PERF_EVENTS), "{said}");
    }

    #[test]
    fn a_kernel_that_is_locked_down_is_known_by_what_its_verifier_says() {
        let said = |log: &str| {
            let io_error = io::Error::from_raw_os_error(22);
            let verifier_log = VerifierLog::new(log.to_owned());
            LoadError::refused("try", &ProgramError::LoadError { io_error, verifier_log }).to_string()
        };
        let linux_6_1 = "12: (85) call bpf_probe_read#4\nunknown func bpf_probe_read#4\nprocessed 9 insns\n";
        assert!(said(linux_6_1).ends_with(LoadError::LOCKED_DOWN));
        let linux_6_12 = "program of this type cannot use helper bpf_probe_read#4\nprocessed 9 insns\n";
        assert!(said(linux_6_12).ends_with(LoadError::LOCKED_DOWN));
        assert!(!said("12: (85) call bpf_probe_read#4\nR2 is unbounded\n").ends_with(LoadError::LOCKED_DOWN));
    }

    #[test]
    fn of_the_verifier_s_log_the_line_is_kept_that_says_why() {
        let error = || io::Error::from_raw_os_error(22);
        let reason = |log: &str| refused_program(&error(), log);
        let linux_5_10 = "arg#0 type is not a struct\nUnrecognized arg#0 type PTR\n\
                          288: (85) call unknown#158\ninvalid func unknown#158\n\
                          processed 580 insns (limit 1000000) max_states_per_insn 3 total_states 26\n\n";
        assert_eq!(reason(linux_5_10), "Invalid argument (os error 22): invalid func unknown#158");
        let with_times = "BPF program is too large. Processed 1000001 insn\nverification time 812345 usec\n\
                          stack depth 176\ninsns processed 1000001\n";
        let too_large = "Invalid argument (os error 22): BPF program is too large. Processed 1000001 insn";
        assert_eq!(reason(with_times), too_large);
        assert_eq!(reason(""), error().to_string());
    }
}
