//! A line of Go code. Interprets nothing of it.

/// A line of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub function: String,
    /// The path of the file, as the compiler was given it, and the line.
    pub place: Option<(String, u32)>,
    /// The function belongs to the module that the program is built from.
    pub is_of_main_module: bool,
}

impl Line {
    pub(in crate::stacks) fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|(path, _)| path.as_str())
    }
}
