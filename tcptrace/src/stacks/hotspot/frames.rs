//! Walks from a frame of HotSpot's code to its caller: the interpreter's, that of compiled code, and the stubs between
//! them. The stack is a copy, so every word of it may be missing.

use super::{code_cache::Blob, layout::Layout};
use crate::stacks::{memory::Look, point::ScriptLine, registers::FrameRegisters};

/// Words of a frame of the interpreter, from the frame pointer (src/hotspot/cpu/x86/frame_x86.hpp and
/// cpu/aarch64/frame_aarch64.hpp: alike from JDK 11 to 25, but for the bytecode pointer).
const SENDER_SP: i64 = -1;
const METHOD: i64 = -3;
#[cfg(target_arch = "x86_64")]
const BCP: i64 = -8;
/// There is one word more before it: padding, since JDK 20 the end of the stack.
#[cfg(target_arch = "aarch64")]
const BCP: i64 = -9;
/// Of every frame with a pointer.
const LINK: i64 = 0;
const RETURN: i64 = 1;
const CALLER_SP: i64 = 2;

/// Longest distance between a frame and its caller's, in bytes: that of the interpreter has the operands of a method.
const MAX_DISTANCE: u64 = 1 << 20;

/// What was found at an address.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::stacks) enum Step {
    /// It is none of HotSpot's code.
    Elsewhere,
    /// The lines of the methods there, innermost first; none of a stub. `caller` is `None` where the stack leads no further.
    Frame { lines: Vec<ScriptLine>, caller: Option<FrameRegisters> },
}

/// The word of a stack at an address.
type Stack<'a> = &'a dyn Fn(u64) -> Option<u64>;

impl Layout {
    /// Goes to the caller of the frame with these registers.
    pub(super) fn step(&self, look: &Look<'_>, at: FrameRegisters, stack: Stack<'_>) -> Step {
        if !self.code.covers(look, at.pc) {
            return Step::Elsewhere;
        }
        let nothing = Step::Frame { lines: Vec::new(), caller: None };
        let Some(blob) = self.code.blob(look, at.pc) else { return nothing };
        let (lines, caller) = if blob.name == "Interpreter" {
            let Some(line) = self.interpreted(look, at, stack) else { return nothing };
            (vec![line], interpreted_caller(at, stack))
        } else if blob.name.ends_with("nmethod") {
            let Some(lines) = self.compiled(look, &blob, at, stack) else { return nothing };
            (lines, sized_caller(at, blob.frame_size, stack))
        } else if look.u64(self.code.call_stub_return) == Some(at.pc) {
            (Vec::new(), entry_caller(at, stack))
        } else if blob.frame_size > 0 {
            (Vec::new(), sized_caller(at, blob.frame_size, stack))
        } else {
            // Where a virtual thread goes on in the heap, among others (`StubRoutines::cont_returnBarrier`).
            return nothing;
        };
        // Stacks grow downwards, so callers are above.
        let is_above = |caller: &FrameRegisters| {
            caller.sp.checked_sub(at.sp).is_some_and(|distance| (1..=MAX_DISTANCE).contains(&distance))
        };
        Step::Frame { lines, caller: caller.filter(is_above) }
    }

    /// The line of a frame of the interpreter.
    fn interpreted(&self, look: &Look<'_>, at: FrameRegisters, stack: Stack<'_>) -> Option<ScriptLine> {
        let word = |words: i64| stack(at.fp.checked_add_signed(8 * words)?);
        let method = self.methods.method(look, word(METHOD)?)?;
        let bcp = word(BCP)?;
        let bci = method.bci(bcp);
        // A native method has none.
        (bci.is_some() || method.has_no_code()).then(|| method.at(look, self.coding, bci))
    }

    /// The lines of a frame of compiled code.
    fn compiled(
        &self,
        look: &Look<'_>,
        blob: &Blob,
        at: FrameRegisters,
        stack: Stack<'_>,
    ) -> Option<Vec<ScriptLine>> {
        let compiled = self.compiled.as_ref().filter(|_| blob.frame_size > 0)?;
        let address = match compiled.put_aside(look, blob, at.pc) {
            Some(offset) => stack(at.sp.checked_add(offset)?)?,
            None => at.pc,
        };
        compiled.lines(look, &self.methods, self.coding, blob, address)
    }
}

fn interpreted_caller(at: FrameRegisters, stack: Stack<'_>) -> Option<FrameRegisters> {
    let word = |words: i64| stack(at.fp.checked_add_signed(8 * words)?);
    // What is called may have moved the stack pointer of its caller, to make room for its variables.
    Some(FrameRegisters { pc: word(RETURN)?, sp: word(SENDER_SP)?, fp: word(LINK)? })
}

fn entry_caller(at: FrameRegisters, stack: Stack<'_>) -> Option<FrameRegisters> {
    let word = |words: i64| stack(at.fp.checked_add_signed(8 * words)?);
    Some(FrameRegisters { pc: word(RETURN)?, sp: at.fp.checked_add_signed(8 * CALLER_SP)?, fp: word(LINK)? })
}

/// The return address and the frame pointer of the caller are the outermost words of the frame.
fn sized_caller(at: FrameRegisters, size: u64, stack: Stack<'_>) -> Option<FrameRegisters> {
    let sp = at.sp.checked_add(size)?;
    Some(FrameRegisters { pc: stack(sp.checked_sub(8)?)?, sp, fp: stack(sp.checked_sub(16)?)? })
}
