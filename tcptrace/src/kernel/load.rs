//! Loads the BPF objects with what the host's types and tracepoint layouts say. Attaches nothing.

use std::{fmt, fs};

use aya::{Btf, Ebpf, EbpfLoader};
use tcptrace_ebpf::config::{Config, FormatOffsets, KernelOffsets, ReceiveOffsets};
use zerocopy::IntoBytes as _;

use super::{
    btf::{self, VMLINUX},
    error::LoadError,
    format, offsets,
    tracer::TracerOptions,
};
use crate::host::tracefs;

/// How transitions are traced.
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

/// The kernel's types that programs attach by.
const HOOKS: [&str; 2] = ["btf_trace_inet_sock_set_state", "bpf_iter_task_file"];

/// What the programs need to know of this kernel's types.
pub(super) struct HostTypes {
    /// For aya: ids of the kernel's types.
    pub btf: Btf,
    /// For our programs: offsets of fields.
    pub offsets: KernelOffsets,
}

impl HostTypes {
    /// Reads the kernel's BTF, once for both uses.
    pub fn read() -> Result<Self, LoadError> {
        let data = fs::read(VMLINUX).map_err(LoadError::NoBtf)?;
        let types = btf::Btf::parse(&data).map_err(offsets::OffsetsError::from)?;
        let offsets = offsets::find(&types)?;
        let btf = Btf::parse(&types.stand_in(&HOOKS), aya::Endianness::default())
            .map_err(|error| LoadError::refused("describe its types", &error))?;
        Ok(Self { btf, offsets })
    }
}

/// Sockets whose first read of the end of file is kept. The kernel allocates entries on demand.
const MAX_EOF_READS: u32 = 262_144;

/// Distinct stacks that the kernel side keeps: 1 KiB each, and only while it tracks calls.
const MAX_STACKS: u32 = 8192;

/// The layout of a tracepoint's record, from its `format` file. `needed` names the tracepoint and what it
/// is for.
fn layout<T>(
    file: &str,
    parse: impl Fn(&str) -> Result<T, format::UnexpectedFormat>,
    needed: &'static str,
) -> Result<T, LoadError> {
    let path = tracefs::root()?.join(file);
    let unreadable = |source| LoadError::NoTracepoint { path: path.display().to_string(), needed, source };
    Ok(parse(&fs::read_to_string(&path).map_err(unreadable)?)?)
}

/// Loads the object of `backend`. The kernel verifies no program yet.
pub(super) fn object(
    backend: Backend,
    types: Option<&HostTypes>,
    options: &TracerOptions,
) -> Result<Ebpf, LoadError> {
    let format = match backend {
        Backend::Btf => FormatOffsets::UNUSED,
        Backend::Tracepoint => {
            let needed = "sock:inet_sock_set_state (Linux 4.16, CONFIG_TRACEPOINTS)";
            layout(format::TRANSITION_FILE, format::transition, needed)?
        }
    };
    let receive = match (options.calls.eof_reads, types) {
        (false, _) => ReceiveOffsets::UNUSED,
        (true, None) => return Err(LoadError::DeepWithoutBtf),
        (true, Some(_)) => {
            layout(format::RECEIVE_FILE, format::receive, "sock:sock_recv_length (Linux 6.3) for --deep")?
        }
    };
    let kernel = types.map_or(KernelOffsets::UNKNOWN, |types| types.offsets);
    let config = Config { kernel, format, receive, ..options.config()? };
    let bytes: &[u8] = match backend {
        Backend::Btf => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-btf")),
        Backend::Tracepoint => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-tracepoint")),
    };
    let mut loader = EbpfLoader::new();
    loader
        .btf(types.map(|types| &types.btf))
        .override_global("CONFIG", config.as_bytes(), true)
        .map_max_entries("EVENTS", options.ring_bytes);
    if options.calls.eof_reads {
        loader.map_max_entries("EOF_READS", MAX_EOF_READS);
    }
    if options.calls.any() {
        loader.map_max_entries("STACKS", MAX_STACKS);
    }
    if backend == Backend::Tracepoint {
        loader.map_max_entries("SOCKETS", options.max_sockets);
    }
    loader.load(bytes).map_err(|error| LoadError::refused("take the BPF object", &error))
}

/// Loads the object of the iterators over descriptor tables. The kernel verifies no program yet.
pub(super) fn holders(types: &HostTypes) -> Result<Ebpf, LoadError> {
    let config = Config { kernel: types.offsets, ..Config::NOTHING };
    EbpfLoader::new()
        .btf(Some(&types.btf))
        .override_global("CONFIG", config.as_bytes(), true)
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-holders")))
        .map_err(|error| LoadError::refused("take the BPF object", &error))
}
