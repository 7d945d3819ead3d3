//! Commands that need root: through sudo when the user is somebody else. Never stores or asks for a password itself.

use anyhow::{Result, bail};
use std::ffi::OsStr;
use std::process::Command;

/// True when this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `program`, to be run as root.
pub fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    let program = program.as_ref();
    if is_root() {
        return Ok(Command::new(program));
    }
    if !has_program("sudo") {
        bail!(
            "{} needs root, and there is no sudo here: run the same command in a root shell (su -)",
            program.display()
        );
    }
    let mut sudo = Command::new("sudo");
    sudo.arg(program);
    Ok(sudo)
}

/// True when `name` is found in PATH.
pub fn has_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(name).is_file()))
}
