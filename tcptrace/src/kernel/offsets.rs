//! Looks up, in this kernel's BTF, the fields that the programs read.

use tcptrace_ebpf::config::{ABSENT, KernelField, KernelOffsets};
use thiserror::Error;

use super::btf::{Btf, Malformed};

/// What could not be learnt about this kernel's structures.
#[derive(Debug, Error)]
pub enum OffsetsError {
    /// The BTF does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field without which the programs cannot work.
    #[error("this kernel's BTF has no field `{0}`")]
    Missing(&'static str),
}

/// The offsets of all fields.
///
/// # Errors
/// When a field that every supported kernel has is not there.
pub fn find(btf: &Btf<'_>) -> Result<KernelOffsets, OffsetsError> {
    let mut missing = None;
    let offset_of = btf.offsets(KernelOffsets::FIELDS.iter().map(|field| field.structure));
    let offsets = KernelOffsets::from_fn(|field: &KernelField| {
        let offset = offset_of(field.structure, field.path);
        if offset.is_none() && field.is_needed && missing.is_none() {
            missing = field.path.last();
        }
        offset.unwrap_or(ABSENT)
    });
    missing.map_or(Ok(offsets), |name| Err(OffsetsError::Missing(name)))
}
