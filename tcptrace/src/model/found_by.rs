//! How the line of a call was found: what led to its callers, and what names the line. Values only.

use serde::{Deserialize, Serialize};

use super::numbered::numbered;

numbered! {
    /// What tells who called a function.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum CallersBy {
        /// What compilers write for exceptions and debuggers: exact.
        UnwindInformation = 1,
        /// The chain of frame pointers: a function that keeps none hides its caller.
        FramePointers = 2,
        /// HotSpot's description of its own code.
        Hotspot = 3,
        /// The frames that the interpreter of Python keeps.
        Python = 4,
        /// What the function's own instructions do to the stack before it returns.
        Instructions = 5,
        /// The call that a caller made: it is of another function than the one it led to, which that one jumped to.
        TailCall = 6,
        /// The frames that the interpreter of PHP keeps.
        Php = 7,
        /// The frames that the interpreter of Ruby keeps.
        Ruby = 8,
    }
}

numbered! {
    /// What a line has its name from.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum NamedBy {
        /// Debug information: function, file and line.
        LineTable = 1,
        /// Symbols: the function alone.
        Symbols = 2,
        /// The table that Go builds into its programs.
        GoLineTable = 3,
        /// The map that a compiler wrote at run time.
        PerfMap = 4,
        /// HotSpot's description of its methods.
        Hotspot = 5,
        /// The code objects of Python.
        Python = 6,
        /// The exported function before the place: it is most likely another one.
        NearestExport = 7,
        /// The op arrays of PHP.
        Php = 8,
        /// The instruction sequences of Ruby.
        Ruby = 9,
    }
}

/// How the line of a call was found; without a line, what is known instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FoundBy {
    /// From the call to the line, in the order in which they came into use; to the end of the stack where it has none. Empty
    /// where the call itself is the line.
    pub callers: Vec<CallersBy>,
    /// `None` where nothing has a name.
    pub name: Option<NamedBy>,
}

impl FoundBy {
    /// Whether a caller may have been passed over. Go keeps frame pointers in all its functions.
    #[must_use]
    pub(crate) fn may_skip_callers(&self) -> bool {
        self.callers.contains(&CallersBy::FramePointers) && self.name != Some(NamedBy::GoLineTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_pointers_may_pass_over_a_caller_but_not_in_go() {
        let found = |callers: &[CallersBy], name| FoundBy { callers: callers.to_vec(), name };
        assert!(found(&[CallersBy::FramePointers], Some(NamedBy::Symbols)).may_skip_callers());
        assert!(!found(&[CallersBy::FramePointers], Some(NamedBy::GoLineTable)).may_skip_callers());
        assert!(!found(&[CallersBy::UnwindInformation], None).may_skip_callers());
    }
}
