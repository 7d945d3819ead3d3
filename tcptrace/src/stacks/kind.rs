//! Whose code a frame is. Decides nothing.

use crate::model::no_site::NoSiteBecause;

/// Whose code it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The language's runtime, the C library, or a wrapper of a system call.
    Runtime,
    /// An interpreter or virtual machine: the code that it runs has names of its own.
    Interpreter(NoSiteBecause),
    /// A library, by its name.
    Library(String),
    /// The application.
    Own,
}
