//! A stack with names, and the line of it to look at. Names nothing itself.

/// A stack with names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// `function (file:line)`, innermost first.
    pub frames: Vec<String>,
    /// The innermost frame that is not of the language's run-time or the C library (nor, if there are others, of an
    /// interpreter): the line to look at.
    pub site: Option<String>,
    /// The stack ends early: the code has no frame pointers to follow.
    pub is_cut: bool,
}

impl Stack {
    /// The line to look at; where there is none, the innermost frame.
    pub fn line(&self) -> Option<&str> {
        self.site.as_ref().or(self.frames.first()).map(String::as_str)
    }
}
