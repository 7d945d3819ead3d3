//! Loads the BPF objects: creates their maps and fills in their configuration. The kernel verifies and
//! attaches no program here.

use std::{fs, io, path::Path};

use aya::{Ebpf, maps::MapType, sys::is_map_supported};
use tcptrace_ebpf::config::{Config, FormatOffsets, ReceiveOffsets};
use zerocopy::IntoBytes as _;

use super::{
    error::LoadError,
    format::{self, UnexpectedFormat},
    loader,
    options::{Backend, TracerOptions, Transport},
    streams::Streams,
    support::Support,
};
use crate::host::tracefs;

/// Sockets whose opener is kept, and those whose first read of the end of file is. The kernel allocates entries on demand.
const MAX_CALLS: u32 = 262_144;

/// Sockets whose connection is over and whose opener is kept: those that ended least recently give way.
const MAX_OPENERS_OF_OVER: u32 = 16_384;

/// Distinct stacks that the kernel side keeps: 1 KiB each, and only while it tracks calls.
const MAX_STACKS: u32 = 8192;

/// Processes that run an interpreter, a quarter of a KiB each: those that were heard of least recently give way.
const MAX_INTERPRETERS: u32 = 8192;

/// Reads the layout of a tracepoint's record from its `format` file. `tracepoint` says which kernels have it, too.
fn layout<T>(
    root: &Path,
    file: &str,
    parse: impl Fn(&str) -> Result<T, UnexpectedFormat>,
    tracepoint: &'static str,
) -> Result<T, LoadError> {
    let path = root.join(file);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::NoTracepoint(tracepoint),
        _ => LoadError::UnreadFormat { path: path.display().to_string(), reason: error.to_string() },
    })?;
    Ok(parse(&text)?)
}

/// The layout of a transition's record. `None` when it cannot be read.
pub(super) fn transition_layout(support: &mut Support) -> Option<FormatOffsets> {
    let root = support.tracefs.once(|| Ok(tracefs::root()?))?;
    let tracepoint = "sock:inet_sock_set_state (Linux 4.16)";
    let read = || layout(root, format::TRANSITION_FILE, format::transition, tracepoint);
    support.transition_layout.once(read).copied()
}

/// The layout of a receive call's record. `None` when it cannot be read.
pub(super) fn receive_layout(support: &mut Support) -> Option<ReceiveOffsets> {
    let root = support.tracefs.once(|| Ok(tracefs::root()?))?;
    let tracepoint = "sock:sock_recv_length (Linux 6.3)";
    support.receive_layout.once(|| layout(root, format::RECEIVE_FILE, format::receive, tracepoint)).copied()
}

/// Makes a map of one entry.
pub(super) fn small_map() -> Result<(), LoadError> {
    match is_map_supported(MapType::Array) {
        Ok(_) => Ok(()),
        Err(error) => Err(LoadError::refused("make a small map", &error)),
    }
}

/// Loads the object for this way into the kernel and out of it.
pub(super) fn tracer(
    (backend, transport): (Backend, Transport),
    streams: &Streams,
    config: &Config,
    options: &TracerOptions,
) -> Result<Ebpf, LoadError> {
    let bytes: &[u8] = match (backend, transport) {
        (Backend::Btf, Transport::Ring) => {
            aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-btf"))
        }
        (Backend::Btf, Transport::Perf) => {
            aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-btf-perf"))
        }
        (Backend::Tracepoint, Transport::Ring) => {
            aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-tracepoint"))
        }
        (Backend::Tracepoint, Transport::Perf) => {
            aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-tracepoint-perf"))
        }
    };
    let mut loader = loader::without_types();
    loader.override_global("CONFIG", config.as_bytes(), true);
    if transport == Transport::Ring {
        for stream in streams.all() {
            loader.map_max_entries(stream.map, stream.bytes);
        }
    }
    if options.calls.openers {
        loader.map_max_entries("OPENERS", MAX_CALLS).map_max_entries("OPENERS_OF_OVER", MAX_OPENERS_OF_OVER);
    }
    if options.calls.eof_reads {
        loader.map_max_entries("EOF_READS", MAX_CALLS);
    }
    if options.calls.any() {
        loader.map_max_entries("STACKS", MAX_STACKS);
    }
    if config.arrival_ns == 0 {
        loader.map_max_entries("ARRIVALS", 1);
    }
    if config.read_frames != 0 {
        loader.map_max_entries("INTERPRETERS", MAX_INTERPRETERS);
    }
    if backend == Backend::Tracepoint {
        loader.map_max_entries("SOCKETS", options.max_sockets);
    }
    loader.load(bytes).map_err(|error| LoadError::refused("take the BPF object", &error))
}
