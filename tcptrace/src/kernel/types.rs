//! What the programs and aya need to know of this kernel's types, from its BTF. Loads nothing.

use aya::Btf;
use tcptrace_ebpf::config::{KernelField, KernelOffsets};

use super::{
    btf,
    error::LoadError,
    offsets::{self, OffsetsError},
    vmlinux::Vmlinux,
};

/// The kernel's types that programs attach by.
const HOOKS: [&str; 3] = ["btf_trace_inet_sock_set_state", "bpf_iter_task_file", "bpf_iter_tcp"];

/// What this kernel's BTF says.
#[derive(Debug)]
pub(super) struct KernelTypes {
    /// For aya: ids of the types in [`HOOKS`].
    pub btf: Btf,
    /// For the programs: offsets of fields.
    pub offsets: KernelOffsets,
    /// Optional fields that this kernel does not have.
    pub absent: Vec<&'static KernelField>,
}

impl KernelTypes {
    /// Reads the kernel's BTF, once for both uses.
    ///
    /// # Errors
    /// When the kernel shows no BTF, or one that lacks a field the programs need.
    pub(crate) fn read() -> Result<Self, LoadError> {
        let data = Vmlinux::open().map_err(|error| LoadError::NoBtf(error.to_string()))?;
        let types = btf::Btf::parse(&data).map_err(OffsetsError::from)?;
        let (offsets, absent) = offsets::find(&types)?;
        let btf = Btf::parse(&types.stand_in(&HOOKS), aya::Endianness::default())
            .map_err(|error| LoadError::refused("describe its types", &error))?;
        Ok(Self { btf, offsets, absent })
    }
}
