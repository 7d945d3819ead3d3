//! Looks up, in this kernel's BTF, the fields that the programs read.

use tcptrace_ebpf::config::{ABSENT, KernelField, KernelOffsets};
use thiserror::Error;

use super::btf::{Btf, MalformedBtf};

/// What could not be learnt about this kernel's structures.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum OffsetsError {
    /// The BTF does not parse.
    #[error(transparent)]
    MalformedBtf(#[from] MalformedBtf),
    /// A field without which the programs cannot work.
    #[error("this kernel's BTF has no field `{0}`")]
    Missing(&'static str),
}

impl OffsetsError {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::MalformedBtf(_) => "it is no BTF of a kernel, or damaged",
            Self::Missing(_) => "it is that of another kernel, or this kernel needs a newer tcptrace",
        }
    }
}

/// The offsets of all fields, and the optional fields that this kernel does not have.
///
/// # Errors
/// When a field that every supported kernel has is not there.
pub(crate) fn find(btf: &Btf<'_>) -> Result<(KernelOffsets, Vec<&'static KernelField>), OffsetsError> {
    let mut absent = Vec::new();
    let offsets = KernelOffsets::from_fn(|field| {
        btf.offset(field.structure, field.path).unwrap_or_else(|| {
            if field.is_of_this_machine {
                absent.push(field);
            }
            ABSENT
        })
    });
    match absent.iter().find(|field| field.is_needed) {
        Some(field) => Err(OffsetsError::Missing(field.path.last().copied().unwrap_or_default())),
        None => Ok((offsets, absent)),
    }
}
