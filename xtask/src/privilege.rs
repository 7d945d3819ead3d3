//! Commands that need root, through sudo where the user is not root. Never asks for a password or stores one.

use anyhow::{Result, bail};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// True when this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The command that runs `program` as root.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
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
pub(crate) fn has_program(name: &str) -> bool {
    find_program(name).is_some()
}

/// Where in PATH `name` is found.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}
