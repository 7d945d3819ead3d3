//! Finds functions that are on no stack, because they jumped to the next one: of `return connect(…)` compilers make a jump. The call
//! before a return address says which function was called. Where the call at hand is in another function than that one, it
//! was the function called that went on. Where that could only jump to one other function, and that to the next, all of them did.

use std::{collections::hash_map::Entry, fs::File, ops::Range, os::unix::fs::FileExt as _, rc::Rc};

use iced_x86::{Decoder, DecoderOptions, FlowControl, OpKind};
use rustc_hash::FxHashMap;

use super::{
    elf::{BoundedFile, Elf, Segment, bias},
    functions::Functions,
    mapped_code::MappedCode,
    mappings::{FileIdentity, Mapping},
    point::Point,
};
use crate::model::found_by::CallersBy;

/// Where the linker puts jumps to functions of other files. A call of one of these is a call of that function.
const JUMPS: [&str; 4] = [".plt", ".plt.sec", ".plt.got", ".iplt"];

/// Functions in a row, and bytes of one, that are followed.
const MOST_FUNCTIONS: usize = 8;
const MOST_BYTES: u64 = 16 << 10;

/// Functions of all files that are remembered; beyond, all are forgotten.
const MOST_REMEMBERED: usize = 1 << 20;

/// What is remembered of files.
#[derive(Default)]
pub(super) struct KnownFunctions {
    files: FxHashMap<FileIdentity, Option<Rc<Described>>>,
    functions: usize,
}

/// What a file says of its functions, at the addresses that it says.
struct Described {
    functions: Functions,
    /// Jumps of the linker.
    jumps: Vec<Range<u64>>,
    segments: Vec<Segment>,
}

/// The points of a stack with those functions in between. Looks into the files of the callers.
pub(super) fn filled(points: &[Point], code: &MappedCode, known: &mut KnownFunctions) -> Vec<Point> {
    let mut files = Files { code, opened: FxHashMap::default(), known };
    let mut filled = Vec::with_capacity(points.len() + 1);
    for (nth, point) in points.iter().enumerate() {
        filled.push(point.clone());
        if let (Point::Address { .. }, Some(Point::Address { address, by: Some(by) })) =
            (point, points.get(nth + 1))
            && is_exact(*by)
        {
            // As behind a call at their first instructions; the one that was called is the outermost.
            let jumped = files.between(point.call(), *address).unwrap_or_default().into_iter().rev();
            filled.extend(jumped.map(|start| Point::Address {
                address: start.saturating_add(1),
                by: Some(CallersBy::TailCall),
            }));
        }
    }
    filled
}

/// Whether a caller is the one that the function at hand returns to, and not one further out.
fn is_exact(by: CallersBy) -> bool {
    matches!(by, CallersBy::UnwindInformation | CallersBy::Instructions)
}

/// The files of callers.
struct Files<'a> {
    code: &'a MappedCode,
    /// By where they are mapped.
    opened: FxHashMap<u64, Option<Opened>>,
    known: &'a mut KnownFunctions,
}

/// A file that a process has mapped.
struct Opened {
    file: File,
    described: Rc<Described>,
    /// What the process adds to the addresses that the file says.
    bias: u64,
}

impl Files<'_> {
    /// The functions between a call and the one that the function at hand returns to, the outermost first.
    fn between(&mut self, inner: u64, return_address: u64) -> Option<Vec<u64>> {
        let call = return_address.checked_sub(CALL_BYTES as u64)?;
        let mapping =
            self.code.mapping(call).filter(|mapping| mapping.addresses.contains(&return_address))?;
        let is_in_one_file = self.code.binary(mapping) == self.code.binary(self.code.mapping(inner)?);
        let file = match self.opened.entry(mapping.addresses.start) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Opened::of(self.code, mapping, self.known)),
        };
        let file = file.as_ref()?;
        let mut bytes = [0; CALL_BYTES];
        file.file.read_exact_at(&mut bytes, mapping.offset_of(call)?).ok()?;
        let called = target(call, bytes).filter(|called| mapping.addresses.contains(called))?;
        let stated = called.wrapping_sub(file.bias);
        // Without a description of both nobody knows whether they are one function.
        let Described { functions, jumps, .. } = &*file.described;
        let goal = functions.at(inner.wrapping_sub(file.bias)).map(|function| function.start);
        let is_jump = jumps.iter().any(|jumps| jumps.contains(&stated));
        let is_other = !is_in_one_file || (functions.from(stated).is_some() && goal != Some(stated));
        if is_jump || !is_other {
            return None;
        }
        let goal = goal.filter(|_| is_in_one_file);
        let next = |function: &u64| file.only_jump(mapping, *function).filter(|next| Some(*next) != goal);
        let functions = std::iter::successors(Some(stated), next).take(MOST_FUNCTIONS);
        Some(functions.map(|function| function.wrapping_add(file.bias)).collect())
    }
}

impl KnownFunctions {
    fn of(&mut self, identity: FileIdentity, file: &File) -> Option<Rc<Described>> {
        if let Some(known) = self.files.get(&identity) {
            return known.clone();
        }
        let described = Described::read(file).map(Rc::new);
        let functions = described.as_ref().map_or(1, |described| described.functions.count().max(1));
        if self.functions.saturating_add(functions) > MOST_REMEMBERED {
            *self = Self::default();
        }
        self.functions = self.functions.saturating_add(functions);
        self.files.insert(identity, described.clone());
        described
    }
}

impl Described {
    fn read(file: &File) -> Option<Self> {
        let file = BoundedFile::new(file.try_clone().ok()?);
        // Nobody knows the linker's jumps where the file has no sections.
        let elf = Elf::read(&file).filter(|elf| elf.addresses(".text").is_some())?;
        let jumps = JUMPS.iter().filter_map(|section| elf.addresses(section)).collect();
        Some(Self { functions: Functions::of(&elf), jumps, segments: elf.segments().collect() })
    }
}

impl Opened {
    fn of(code: &MappedCode, mapping: &Mapping, known: &mut KnownFunctions) -> Option<Self> {
        let (identity, file) = code.open(mapping).ok()?;
        let described = known.of(identity, &file)?;
        let bias = bias(&described.segments, &mapping.in_file(), mapping.addresses.start)?;
        Some(Self { file, described, bias })
    }

    /// The function that the one which begins here jumps to, if it jumps to no other place outside of itself.
    fn only_jump(&self, mapping: &Mapping, start: u64) -> Option<u64> {
        let functions = &self.described.functions;
        let function = functions.from(start)?;
        let size = usize::try_from((function.end - start).min(MOST_BYTES)).ok()?;
        let mut bytes = vec![0; size];
        let offset = mapping.offset_of(start.wrapping_add(self.bias))?;
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        only_exit(&bytes, function).filter(|next| functions.from(*next).is_some())
    }
}

/// Where a function with this code jumps to outside of itself; `None` of several places, and where one is not known. Its calls
/// are none of them.
fn only_exit(bytes: &[u8], function: &Range<u64>) -> Option<u64> {
    if cfg!(not(target_arch = "x86_64")) || function.end - function.start != bytes.len() as u64 {
        return None;
    }
    let mut only = None;
    for instruction in &mut Decoder::with_ip(64, bytes, function.start, DecoderOptions::NONE) {
        let is_near = instruction.op0_kind() == OpKind::NearBranch64;
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch if is_near => {}
            FlowControl::UnconditionalBranch
            | FlowControl::ConditionalBranch
            | FlowControl::IndirectBranch => return None,
            _ if instruction.is_invalid() => return None,
            _ => continue,
        }
        let target = instruction.near_branch_target();
        if !function.contains(&target) && *only.get_or_insert(target) != target {
            return None;
        }
    }
    only
}

/// `call rel32` (Intel's manual, volume 2A).
#[cfg(target_arch = "x86_64")]
const CALL_BYTES: usize = 5;
/// `bl` (Arm's manual of the A64 instruction set).
#[cfg(target_arch = "aarch64")]
const CALL_BYTES: usize = 4;

/// The function that a call names; `None` of a call through a pointer.
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

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_function_that_may_jump_to_several_places_has_no_only_exit() {
        let exit = |bytes: &[u8]| only_exit(bytes, &(0x1000..0x1000 + bytes.len() as u64));
        // mov edx, 16; jmp 0x2000
        assert_eq!(exit(&[0xba, 16, 0, 0, 0, 0xe9, 0xf6, 0x0f, 0, 0]), Some(0x2000));
        // call 0x2005; test eax, eax; je over the jump; jmp 0x2000; ret
        let code = [0xe8, 0, 0x10, 0, 0, 0x85, 0xc0, 0x74, 5, 0xe9, 0xf2, 0x0f, 0, 0, 0xc3];
        assert_eq!(exit(&code), Some(0x2000), "its other way returns");
        // test edi, edi; je 0x2000; jmp 0x3000
        let code = [0x85, 0xff, 0x0f, 0x84, 0xf8, 0x0f, 0, 0, 0xe9, 0xf3, 0x1f, 0, 0];
        assert_eq!(exit(&code), None, "one of two");
        assert_eq!(exit(&[0xff, 0xe0]), None, "jmp rax");
        assert_eq!(exit(&[0xff, 0x25, 0, 0, 0, 0]), None, "through the table of addresses");
        assert_eq!(exit(&[0xc3]), None, "it returns");
        assert_eq!(exit(&[0x06]), None, "no code of 64 bits");
        assert_eq!(only_exit(&[0xe9, 0, 0, 0, 0], &(0x1000..0x2000)), None, "it was not read in full");
    }
}
