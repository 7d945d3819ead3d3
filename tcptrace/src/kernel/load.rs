//! Chooses the backend this host can run and loads its object.

use std::{fmt, fs, io};

use aya::{Btf, Ebpf, EbpfLoader};
use tcptrace_ebpf::config::{Config, FormatOffsets, KernelOffsets, ReceiveOffsets};
use thiserror::Error;
use zerocopy::IntoBytes as _;

use super::{
    btf::{self, VMLINUX},
    calls::TrackedCalls,
    format, offsets,
};
use crate::host::tracefs;
use crate::model::connection_filter::KernelFilter;

/// Which way into the kernel is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Backend {
    /// The typed tracepoint, with state in socket-local storage (Linux 5.12 with BTF).
    Btf,
    /// The classic tracepoint, with state in a hash map (Linux 5.8).
    Tracepoint,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Btf => "btf",
            Self::Tracepoint => "tracepoint",
        })
    }
}

/// Why nothing could be loaded. Each says what is missing and what to do about it.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The kernel shows no BTF, and the BTF backend was asked for.
    #[error(
        "this kernel shows no BTF ({VMLINUX}: {0}); use --backend tracepoint, or a kernel built with \
         CONFIG_DEBUG_INFO_BTF"
    )]
    NoBtf(io::Error),
    /// The BTF is there, but not what it should be.
    #[error("cannot use this kernel's BTF: {0}; use --backend tracepoint")]
    StrangeBtf(#[from] offsets::OffsetsError),
    /// Tracefs is not to be had.
    #[error(transparent)]
    NoTracefs(#[from] tracefs::TracefsError),
    /// The tracepoint is not there.
    #[error("cannot read the tracepoint's format {path}: {source}; needed: {needed}")]
    NoTracepoint {
        /// The `format` file.
        path: String,
        /// The tracepoint, which kernels have it, and what it is for.
        needed: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Reads of the end of file were asked for, and the state of a socket cannot be seen.
    #[error("--deep reads a socket's state by this kernel's BTF, which it does not show; leave out --deep")]
    DeepWithoutBtf,
    /// The tracepoint's record looks unlike any known kernel's.
    #[error("{0}; this kernel needs a newer tcptrace")]
    StrangeFormat(#[from] format::UnexpectedFormat),
    /// The kernel did not take the object or a program of it.
    #[error("the kernel refused to {what}: {reason}{remedy}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// What the kernel or the loader said.
        reason: String,
        /// What can be done about it; empty when nothing is known.
        remedy: &'static str,
    },
}

impl LoadError {
    /// Wraps what aya says, with its causes, and the remedy for the one case that is common.
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

/// The object lacks a part it was built with.
pub(super) fn missing() -> LoadError {
    LoadError::refused("find a part of the BPF object", &io::Error::from(io::ErrorKind::NotFound))
}

/// The kernel's types that programs are attached by.
const HOOKS: [&str; 2] = ["btf_trace_inet_sock_set_state", "bpf_iter_task_file"];

/// What this host offers to the programs.
pub(super) struct HostTypes {
    /// For aya: ids of the kernel's types.
    pub btf: Btf,
    /// For our programs: offsets of fields.
    pub offsets: KernelOffsets,
}

impl HostTypes {
    /// Reads the kernel's BTF once for both uses.
    pub fn read() -> Result<Self, LoadError> {
        let data = fs::read(VMLINUX).map_err(LoadError::NoBtf)?;
        let types = btf::Btf::parse(&data).map_err(offsets::OffsetsError::from)?;
        let offsets = offsets::find(&types)?;
        let btf = Btf::parse(&types.stand_in(&HOOKS), aya::Endianness::default())
            .map_err(|error| LoadError::refused("describe its types", &error))?;
        Ok(Self { btf, offsets })
    }
}

/// The sizes and settings an object is loaded with.
pub(super) struct Settings<'a> {
    pub filter: &'a KernelFilter,
    /// Time every state, not just those of the filter.
    pub track_all_states: bool,
    /// Size of the ring buffer in bytes, a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Sockets whose state is kept, where the kernel does not keep it with the socket.
    pub max_sockets: u32,
    /// A reader is woken at most once in this time.
    pub wakeup_interval_ns: u32,
    /// See [`Config::details_after_ns`].
    pub details_after_ns: u64,
    /// Which calls on sockets to remember.
    pub calls: TrackedCalls,
}

/// Beyond a burst, openers of a process are kept once in this time on each CPU, at about a microsecond
/// each: the rest is counted.
const OPENER_INTERVAL_NS: u32 = 10_000_000;

/// Sockets of which the first read of the end of file is kept: memory is taken as it is needed.
const MAX_EOF_READS: u32 = 262_144;

/// Different stacks that the kernel side keeps: 1 KiB each, and only while calls are tracked.
const MAX_STACKS: u32 = 8192;

/// The layout of a tracepoint's record, from its `format` file; `needed` says what lacks without it.
fn layout<T>(
    file: &str,
    parse: impl Fn(&str) -> Result<T, format::UnexpectedFormat>,
    needed: &'static str,
) -> Result<T, LoadError> {
    let path = tracefs::root()?.join(file);
    let unreadable = |source| LoadError::NoTracepoint { path: path.display().to_string(), needed, source };
    Ok(parse(&fs::read_to_string(&path).map_err(unreadable)?)?)
}

/// Loads the object of `backend`; its programs are not verified yet.
pub(super) fn object(
    backend: Backend,
    types: Option<&HostTypes>,
    settings: &Settings<'_>,
) -> Result<Ebpf, LoadError> {
    let format = match backend {
        Backend::Btf => FormatOffsets::UNUSED,
        Backend::Tracepoint => {
            let needed = "sock:inet_sock_set_state (Linux 4.16, CONFIG_TRACEPOINTS)";
            layout(format::TRANSITION_FILE, format::transition, needed)?
        }
    };
    let receive = match (settings.calls.eof_reads, types) {
        (false, _) => ReceiveOffsets::UNUSED,
        (true, None) => return Err(LoadError::DeepWithoutBtf),
        (true, Some(_)) => {
            layout(format::RECEIVE_FILE, format::receive, "sock:sock_recv_length (Linux 6.3) for --deep")?
        }
    };
    let config = Config {
        filter: settings.filter.rules(),
        kernel: types.map_or(KernelOffsets::UNKNOWN, |types| types.offsets),
        format,
        receive,
        track_all_states: u32::from(settings.track_all_states),
        wakeup_interval_ns: settings.wakeup_interval_ns,
        details_after_ns: settings.details_after_ns,
        opener_interval_ns: if settings.calls.openers { OPENER_INTERVAL_NS } else { 0 },
        track_eof_reads: u32::from(settings.calls.eof_reads),
    };
    let bytes: &[u8] = match backend {
        Backend::Btf => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-btf")),
        Backend::Tracepoint => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-tracepoint")),
    };
    let mut loader = EbpfLoader::new();
    loader
        .btf(types.map(|types| &types.btf))
        .override_global("CONFIG", config.as_bytes(), true)
        .map_max_entries("EVENTS", settings.ring_bytes);
    if settings.calls.eof_reads {
        loader.map_max_entries("EOF_READS", MAX_EOF_READS);
    }
    if settings.calls.any() {
        loader.map_max_entries("STACKS", MAX_STACKS);
    }
    if backend == Backend::Tracepoint {
        loader.map_max_entries("SOCKETS", settings.max_sockets);
    }
    loader.load(bytes).map_err(|error| LoadError::refused("take the BPF object", &error))
}

/// Loads the object of the iterators over descriptor tables; its programs are not verified yet.
pub(super) fn holders(types: &HostTypes) -> Result<Ebpf, LoadError> {
    let config = Config {
        filter: KernelFilter::default().rules(),
        kernel: types.offsets,
        format: FormatOffsets::UNUSED,
        receive: ReceiveOffsets::UNUSED,
        track_all_states: 0,
        wakeup_interval_ns: 0,
        details_after_ns: 0,
        opener_interval_ns: 0,
        track_eof_reads: 0,
    };
    EbpfLoader::new()
        .btf(Some(&types.btf))
        .override_global("CONFIG", config.as_bytes(), true)
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-holders")))
        .map_err(|error| LoadError::refused("take the BPF object", &error))
}
