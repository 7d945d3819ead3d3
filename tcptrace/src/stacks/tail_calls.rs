//! Functions that are on no stack, because they jumped to the next one: of `return connect(…)` compilers make a jump. The call
//! before a return address says which function was called. Where the call at hand is in another file than that one, it
//! was the function called that went on.

use super::{
    elf::{BoundedFile, Elf},
    mapped_code::MappedCode,
    mappings::Mapping,
    modules::stated,
    point::Point,
};
use crate::model::found_by::CallersBy;

/// Where the linker puts jumps to functions of other files. A call of one of these is a call of that function.
const JUMPS: [&str; 4] = [".plt", ".plt.sec", ".plt.got", ".iplt"];

/// The points of a stack with those functions in between. Looks into the files of the callers.
pub(super) fn filled(points: &[Point], code: &MappedCode) -> Vec<Point> {
    let mut filled = Vec::with_capacity(points.len() + 1);
    for (nth, point) in points.iter().enumerate() {
        filled.push(point.clone());
        if let (Point::Address { .. }, Some(Point::Address { address, by: Some(by) })) =
            (point, points.get(nth + 1))
            && is_exact(*by)
            && let (Some(caller), Some(inner)) = (code.mapping(*address), code.mapping(point.call()))
            // Before a file is read: most callers are in the file of the function that they call.
            && code.binary(inner) != code.binary(caller)
            && let Some(called) = called(*address, code)
            && caller.addresses.contains(&called)
            && is_function(called, caller, code)
        {
            // As behind a call at its first instruction.
            filled.push(Point::Address { address: called + 1, by: Some(CallersBy::TailCall) });
        }
    }
    filled
}

/// Whether a caller is the one that the function at hand returns to, and not one further out.
fn is_exact(by: CallersBy) -> bool {
    matches!(by, CallersBy::UnwindInformation | CallersBy::Instructions)
}

/// The function that the call before a return address names; `None` of a call through a pointer.
fn called(return_address: u64, code: &MappedCode) -> Option<u64> {
    use std::os::unix::fs::FileExt as _;
    let call = return_address.checked_sub(CALL_BYTES as u64)?;
    let mapping = code.mapping(call)?;
    let (_, file) = code.open(mapping).ok()?;
    let mut bytes = [0; CALL_BYTES];
    file.read_exact_at(&mut bytes, mapping.offset_of(call)?).ok()?;
    target(call, bytes)
}

/// `call rel32` (Intel's manual, volume 2A).
#[cfg(target_arch = "x86_64")]
const CALL_BYTES: usize = 5;
/// `bl` (Arm's manual of the A64 instruction set).
#[cfg(target_arch = "aarch64")]
const CALL_BYTES: usize = 4;

#[cfg(target_arch = "x86_64")]
fn target(call: u64, bytes: [u8; 5]) -> Option<u64> {
    let [0xe8, distance @ ..] = bytes else { return None };
    Some(call.wrapping_add(CALL_BYTES as u64).wrapping_add_signed(i32::from_le_bytes(distance).into()))
}

#[cfg(target_arch = "aarch64")]
fn target(call: u64, bytes: [u8; 4]) -> Option<u64> {
    let word = u32::from_le_bytes(bytes);
    // 26 bits, signed, in words of four bytes.
    let distance = (word << 6).cast_signed() >> 6;
    (word >> 26 == 0b10_0101).then(|| call.wrapping_add_signed(i64::from(distance) * 4))
}

/// Whether an address is no jump of the linker's; not known where the file has no sections.
fn is_function(address: u64, mapping: &Mapping, code: &MappedCode) -> bool {
    let Ok((_, file)) = code.open(mapping) else { return false };
    let file = BoundedFile::new(file);
    let Some(elf) = Elf::read(&file).filter(|elf| elf.addresses(".text").is_some()) else { return false };
    let is_jump = |stated| {
        JUMPS.iter().filter_map(|section| elf.addresses(section)).any(|jumps| jumps.contains(&stated))
    };
    stated(&elf, mapping, address).is_some_and(|stated| !is_jump(stated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_direct_call_names_its_function() {
        assert_eq!(target(0x1000, [0xe8, 0x10, 0, 0, 0]), Some(0x1015));
        assert_eq!(target(0x1000, [0xe8, 0xfb, 0xff, 0xff, 0xff]), Some(0x1000));
        assert_eq!(target(0x1000, [0xff, 0x15, 0, 0, 0]), None, "through a pointer");
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn a_direct_call_names_its_function() {
        assert_eq!(target(0x1000, 0x9400_0004_u32.to_le_bytes()), Some(0x1010));
        assert_eq!(target(0x1000, 0x97ff_ffff_u32.to_le_bytes()), Some(0xffc));
        assert_eq!(target(0x1000, 0xd63f_0000_u32.to_le_bytes()), None, "through a register");
    }
}
