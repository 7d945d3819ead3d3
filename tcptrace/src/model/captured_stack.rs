//! A copy of what was on the user stack of a call. Values only.

use tcptrace_ebpf::python::{PythonFrame, PythonFrames};

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

/// The stack of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CapturedStack {
    pub socket: KernelSocket,
    /// When the call was made (CLOCK_MONOTONIC, nanoseconds).
    pub ktime_ns: u64,
    /// The caller, by its number in /proc.
    pub pid: u32,
    pub registers: Registers,
    /// From the stack pointer upwards.
    pub bytes: Vec<u8>,
    pub python: CapturedPython,
}

/// The frames of Python of one call. Whatever they say is a claim of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapturedPython {
    pub head: PythonFrames,
    /// Innermost first.
    pub frames: Vec<PythonFrame>,
}

impl CapturedStack {
    /// The word at an address of the stack.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        self.bytes_at(address).map(u64::from_ne_bytes)
    }

    /// The word of a program of 32 bits.
    pub(crate) fn half_word(&self, address: u64) -> Option<u64> {
        self.bytes_at(address).map(u32::from_ne_bytes).map(u64::from)
    }

    fn bytes_at<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let offset = usize::try_from(address.checked_sub(self.registers.sp)?).ok()?;
        self.bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}
