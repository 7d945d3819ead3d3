//! The registers that lead from a frame to its caller's.

/// Of a frame, or of the caller that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameRegisters {
    /// Where the function goes on: a return address, but for the innermost.
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    /// The frame pointer; 0 where it is not known.
    pub(crate) fp: u64,
}
