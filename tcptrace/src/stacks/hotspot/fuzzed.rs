//! For the fuzz targets: a walk along a stack in a memory of no process.

use std::fs::File;

use super::{
    archives::Archives,
    description::SYMBOLS,
    frames::Step,
    vm::{Exports, HotSpot},
};
use crate::stacks::{memory::ProcessMemory, point::ScriptLine, registers::FrameRegisters};

/// The lines of each frame of Java that a stack leads to, at most `max` frames, from these registers (`pc`, `sp`, `fp`). In
/// the memory each byte stands at its address; what libjvm.so exports is at `symbols`, a word each.
#[must_use]
pub fn walk(
    memory: File,
    symbols: u64,
    [pc, sp, fp]: [u64; 3],
    stack: &dyn Fn(u64) -> Option<u64>,
    max: usize,
) -> Vec<Vec<ScriptLine>> {
    let symbols = SYMBOLS.into_iter().zip((symbols..).step_by(8)).collect();
    let (memory, exports) = (ProcessMemory::planted(memory), Exports::of(symbols));
    let mut hotspot = HotSpot::new(memory, exports, Archives::default());
    let Some(mut java) = hotspot.look() else { return Vec::new() };
    let (mut at, mut frames) = (Some(FrameRegisters { pc, sp, fp }), Vec::new());
    while let Some(registers) = at.filter(|_| frames.len() < max) {
        let Step::Frame { lines, caller } = java.step(registers, stack) else { break };
        frames.push(lines);
        at = caller;
    }
    frames
}
