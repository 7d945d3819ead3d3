//! Java's own lines, as HotSpot keeps them: which method a frame of the interpreter or of compiled code belongs to, and
//! which line it is at. Goes by the description that the VM exports of itself for debuggers (`gHotSpotVMStructs` and its
//! kin, src/hotspot/share/runtime/vmStructs.cpp of OpenJDK), so that no version has offsets of its own here. What that
//! does not describe has no line. Knows no other VM: OpenJ9 and native images export nothing of the kind.

mod archives;
mod code_cache;
mod compressed;
mod description;
mod frames;
mod fuzzed;
mod launch;
mod layout;
mod methods;
mod nmethod;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
mod vm;

pub use self::fuzzed::walk;
pub(super) use self::{
    archives::Archives,
    frames::Step,
    vm::{Exports, HotSpot, StackLook, is_library},
};
