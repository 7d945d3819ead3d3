//! Where the functions of a stack were when each called the next. Values only.

use std::sync::Arc;

use crate::model::found_by::{CallersBy, NamedBy};

/// The points of a stack, innermost first.
pub(crate) type Points = Arc<[Point]>;

/// Where a function was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    /// An address of machine code: that of the system call, or one that a call returns to, and what led there from the one
    /// before.
    Address { address: u64, by: Option<CallersBy> },
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
    /// The package that its file is of, where what was installed says more than the path.
    pub package: Option<Arc<str>>,
}

/// A language whose virtual machine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptLanguage {
    Java,
    Python,
    Php,
    Ruby,
}

impl Point {
    /// The address before which the call is, and 0 where none is known.
    pub(super) fn call(&self) -> u64 {
        match self {
            // A return address points behind the call.
            Self::Address { address, .. } => address.saturating_sub(1),
            Self::Script(_) | Self::End => 0,
        }
    }

    /// Whether both are the same place, whatever led there.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address { address, .. }, Self::Address { address: of_other, .. }) => address == of_other,
            _ => self == other,
        }
    }

    /// What led to it; `None` of the call itself.
    pub(super) fn found_by(&self) -> Option<CallersBy> {
        match self {
            Self::Address { by, .. } => *by,
            Self::Script(line) => Some(match line.language {
                ScriptLanguage::Java => CallersBy::Hotspot,
                ScriptLanguage::Python => CallersBy::Python,
                ScriptLanguage::Php => CallersBy::Php,
                ScriptLanguage::Ruby => CallersBy::Ruby,
            }),
            Self::End => None,
        }
    }
}

impl ScriptLanguage {
    /// What its lines have their names from.
    pub(super) fn names(self) -> NamedBy {
        match self {
            Self::Java => NamedBy::Hotspot,
            Self::Python => NamedBy::Python,
            Self::Php => NamedBy::Php,
            Self::Ruby => NamedBy::Ruby,
        }
    }
}

/// The points of a call at the first of these addresses, which frame pointers lead from to the others.
pub(crate) fn addresses(addresses: &[u64]) -> Vec<Point> {
    let by = |nth| (nth > 0).then_some(CallersBy::FramePointers);
    addresses
        .iter()
        .enumerate()
        .map(|(nth, address)| Point::Address { address: *address, by: by(nth) })
        .collect()
}
