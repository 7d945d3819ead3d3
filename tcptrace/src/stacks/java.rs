//! Whose code a line of Java is: the JDK's, a library's, or the application's. Pure.

use super::{hotspot::BOOT, kind::Kind, point::ScriptLine};
use crate::model::no_site::NoSiteBecause::InterpretedJava;

/// The JDK's own packages.
const JDK: [&str; 5] = ["java.", "javax.", "sun.", "jdk.", "com.sun."];

/// Rates a line that the VM told.
pub(super) fn of_line(line: &ScriptLine) -> Kind {
    let is_of_boot_loader = line.file.as_deref().is_some_and(|file| file.starts_with(BOOT));
    if is_of_boot_loader || is_of_jdk(&line.function) {
        return Kind::Interpreter(InterpretedJava);
    }
    Kind::Own
}

/// Whether a method is of the JDK, by its package.
pub(super) fn is_of_jdk(method: &str) -> bool {
    JDK.iter().any(|package| method.starts_with(package))
}
