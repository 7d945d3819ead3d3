//! A copy of what was on the user stack of a call. Values only.

use tcptrace_ebpf::{
    interpreter::{ScriptFrame, ScriptFrames},
    record::STACK_CHUNK,
};

use super::socket::KernelSocket;

/// The registers from which the callers are found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    /// The program counter, behind the system call.
    pub pc: u64,
    pub sp: u64,
    /// The frame pointer, where the code keeps one.
    pub fp: u64,
    /// The link register; 0 where there is none.
    pub lr: u64,
}

/// What was copied of a stack: it may have holes, where pages were not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackBytes {
    /// The address of the first byte, which is that of the stack pointer or below.
    pub start: u64,
    pub bytes: Vec<u8>,
    /// Which chunks ([`STACK_CHUNK`]) are there, the first in bit 0.
    pub chunks: u32,
}

impl StackBytes {
    /// `N` bytes at an address; `None` where one of them was not copied.
    fn at<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let first = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let end = first.checked_add(N)?;
        let is_there = |offset: usize| {
            u32::try_from(offset / STACK_CHUNK)
                .is_ok_and(|nth| self.chunks.checked_shr(nth).unwrap_or(0) & 1 == 1)
        };
        let bytes = self.bytes.get(first..end)?;
        if is_there(first) && is_there(end.saturating_sub(1)) { bytes.try_into().ok() } else { None }
    }
}

/// The stack of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CapturedStack {
    pub socket: KernelSocket,
    /// When the call was made (CLOCK_MONOTONIC, nanoseconds).
    pub ktime_ns: u64,
    /// The caller, by its number in /proc.
    pub pid: u32,
    pub registers: Registers,
    /// Where the main thread's stack of the program ended that made the call; 0 when not known.
    pub stack_end: u64,
    pub bytes: StackBytes,
    pub script: CapturedFrames,
}

/// The frames of an interpreter of one call. Whatever they say is a claim of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapturedFrames {
    pub head: ScriptFrames,
    /// Innermost first.
    pub frames: Vec<ScriptFrame>,
}

impl CapturedStack {
    /// The word at an address of the stack.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        self.bytes.at(address).map(u64::from_ne_bytes)
    }

    /// The word of a program of 32 bits.
    pub(crate) fn half_word(&self, address: u64) -> Option<u64> {
        self.bytes.at(address).map(u32::from_ne_bytes).map(u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_copied_is_no_zero() {
        let bytes = StackBytes { start: 0x1000, bytes: vec![7; 3 * STACK_CHUNK], chunks: 0b101 };
        let word = |offset: usize| bytes.at::<8>(0x1000 + offset as u64).map(u64::from_ne_bytes);
        let there = Some(u64::from_ne_bytes([7; 8]));
        assert_eq!(word(0), there);
        assert_eq!(word(STACK_CHUNK - 8), there);
        assert_eq!(word(STACK_CHUNK - 4), None, "half of it is in the hole");
        assert_eq!(word(STACK_CHUNK), None);
        assert_eq!(word(2 * STACK_CHUNK), there);
        assert_eq!(word(3 * STACK_CHUNK - 4), None, "beyond the end");
        assert_eq!(bytes.at::<8>(0xfff), None);
    }
}
