//! Callers of functions of a process that have no unwind information, by its own code in its memory, which is only read. Keeps
//! what it found out of each function; bounded.

use std::os::fd::OwnedFd;

use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, statat};

use super::instructions::{CallerRule, FramePointer, HasReturn, Slot, Width, caller_rule, ends_call};
use crate::stacks::{
    memory::{Memory as _, ProcessMemory},
    registers::FrameRegisters,
};

/// Functions whose rules are kept; beyond, all are forgotten.
const MOST_RULES: usize = 4_096;

/// Functions that are looked at for one stack.
const MOST_LOOKS: u32 = 8;

/// No page of Linux is smaller.
const PAGE: u64 = 4096;

/// The code of a process.
pub(super) struct OwnCode {
    directory: OwnedFd,
    width: Width,
    /// By where a function goes on; `None` where its code tells no caller.
    rules: FxHashMap<u64, Option<CallerRule>>,
}

impl OwnCode {
    /// Of the process that this directory of /proc belongs to.
    pub(super) fn of(directory: OwnedFd, width: Width) -> Self {
        Self { directory, width, rules: FxHashMap::default() }
    }

    /// Whether the process has not ended.
    pub(super) fn is_there(&self) -> bool {
        statat(&self.directory, "stat", AtFlags::empty()).is_ok()
    }

    /// One look at it, for one stack.
    pub(super) fn look(&mut self) -> OwnCodeLook<'_> {
        OwnCodeLook { code: self, memory: None, left: MOST_LOOKS }
    }
}

/// A look at the code of a process for one stack.
pub(super) struct OwnCodeLook<'a> {
    code: &'a mut OwnCode,
    /// Opened on demand.
    memory: Option<ProcessMemory>,
    left: u32,
}

impl OwnCodeLook<'_> {
    pub(super) fn width(&self) -> Width {
        self.code.width
    }

    /// The caller of the function that goes on at `at.pc`. `word` reads the stack, `is_code` says where code is.
    pub(super) fn caller(
        &mut self,
        at: FrameRegisters,
        word: impl Fn(u64) -> Option<u64>,
        is_code: impl Fn(u64) -> bool,
    ) -> Option<FrameRegisters> {
        if self.memory.is_none() {
            self.memory = ProcessMemory::open(&self.code.directory).ok();
        }
        let memory = self.memory.as_ref()?;
        let read = |slot: Slot| word(slot.of(at.sp, at.fp)?);
        let caller = |rule: &CallerRule| {
            let pc = read(rule.address).filter(|pc| is_code(*pc))?;
            let sp = rule.address.of(at.sp, at.fp)?.checked_add_signed(rule.taken)?;
            let before = memory.read(pc.checked_sub(8)?)?;
            let fp = match rule.frame_pointer {
                FramePointer::Same => Some(at.fp),
                FramePointer::At(slot) => read(slot),
                FramePointer::NotKnown => None,
            };
            (sp > at.sp && ends_call(before)).then_some(FrameRegisters { pc, sp, fp: fp.unwrap_or(0) })
        };
        if let Some(known) = self.code.rules.get(&at.pc) {
            return known.as_ref().and_then(caller);
        }
        self.left = self.left.checked_sub(1)?;
        let found = caller_rule(
            self.code.width,
            at.pc,
            |address, buffer| fill(memory, address, buffer),
            |rule| caller(rule).is_some(),
        );
        let (rules, rule) = (&mut self.code.rules, found.ok());
        if rules.len() >= MOST_RULES {
            rules.clear();
        }
        // Where a return leads to no caller, another copy of the stack may have more.
        if found != Err(HasReturn(true)) {
            rules.insert(at.pc, rule);
        }
        rule.as_ref().and_then(caller)
    }
}

/// Reads code: all of the buffer, or up to the end of the page.
fn fill(memory: &ProcessMemory, address: u64, buffer: &mut [u8]) -> usize {
    if memory.fill(address, buffer).is_some() {
        return buffer.len();
    }
    let of_page = usize::try_from(PAGE - address % PAGE).unwrap_or(0).min(buffer.len());
    let part = buffer.get_mut(..of_page).unwrap_or_default();
    memory.fill(address, part).map_or(0, |()| of_page)
}
