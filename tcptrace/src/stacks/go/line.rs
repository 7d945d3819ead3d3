//! A line of Go code. Interprets nothing of it.

/// A line of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub function: String,
    /// The path of the file, as the compiler was given it, and the line.
    pub place: Option<(String, u32)>,
    pub part: Part,
}

/// What part of a program a function is of, as far as the program says how it was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The module, or the project, that the program is built from.
    Main,
    /// Another than that.
    Other,
    NotKnown,
}

impl Line {
    pub(in crate::stacks) fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|(path, _)| path.as_str())
    }
}
