//! Where the functions of a stack were when each called the next. Values only.

use std::sync::Arc;

/// The points of a stack, innermost first.
pub(crate) type Points = Arc<[Point]>;

/// Where a function was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    /// An address of machine code: that of the system call, or one that a call returns to.
    Address(u64),
    /// A line of code that was interpreted, or compiled at run time.
    Script(Arc<ScriptLine>),
    /// The last one of a stack that is whole, by the unwind information of all its functions: nobody called the one before.
    End,
}

/// A line of code as a virtual machine says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptLine {
    pub language: ScriptLanguage,
    /// Its full name, as its language writes it: `Server.handle`, `com.example.Ledger.open`.
    pub function: String,
    /// The path, or the name, of its file.
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// A language whose virtual machine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptLanguage {
    Java,
    Python,
}

impl Point {
    /// The address before which the call is, and 0 where none is known.
    pub(super) fn call(&self) -> u64 {
        match self {
            // A return address points behind the call.
            Self::Address(address) => address.saturating_sub(1),
            Self::Script(_) | Self::End => 0,
        }
    }
}

/// The points at addresses.
pub(crate) fn addresses(addresses: &[u64]) -> Vec<Point> {
    addresses.iter().copied().map(Point::Address).collect()
}
