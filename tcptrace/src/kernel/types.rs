//! What the programs and aya need to know of this kernel's types, from its BTF. Loads nothing.

use std::path::Path;

use tcptrace_ebpf::config::{KernelField, KernelOffsets};

use super::{
    btf::{self, Wanted},
    error::LoadError,
    hooks::Hooks,
    offsets::{self, OffsetsError},
    vmlinux::Vmlinux,
};

/// What this kernel's BTF says.
#[derive(Debug)]
pub(super) struct KernelTypes {
    /// For aya: what programs attach by.
    pub hooks: Hooks,
    /// For the programs: offsets of fields.
    pub offsets: KernelOffsets,
    /// Optional fields that this kernel does not have.
    pub absent: Vec<&'static KernelField>,
}

/// Checks that this file has what is needed of a kernel's BTF.
///
/// # Errors
/// When it cannot be read, or has no such types.
pub(crate) fn check(path: &Path) -> Result<(), LoadError> {
    KernelTypes::read(path).map(drop)
}

impl KernelTypes {
    /// Reads the kernel's BTF from this file, once for both uses.
    ///
    /// # Errors
    /// When there is no BTF, or one that lacks a field the programs need.
    pub(crate) fn read(path: &Path) -> Result<Self, LoadError> {
        let data = Vmlinux::open(path).map_err(|error| LoadError::no_btf(path, &error))?;
        let strange = |error| LoadError::StrangeBtf { path: path.display().to_string(), error };
        let structures = KernelOffsets::FIELDS.iter().map(|field| Wanted::Structure(field.structure));
        let types = btf::Btf::parse(&data, structures.chain(Hooks::wanted()))
            .map_err(|error| strange(OffsetsError::from(error)))?;
        let (offsets, absent) = offsets::find(&types).map_err(strange)?;
        Ok(Self { hooks: Hooks::find(&types), offsets, absent })
    }
}
