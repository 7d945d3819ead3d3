//! Gives up what this process is allowed to do beyond what it still needs. Decides nothing: `commands` knows what that is.
//!
//! Capabilities belong to threads (capabilities(7)): what is given up before other threads start is given up in those too,
//! and [`verify`] looks at every one.

use std::{fmt, fs, io, path::Path};

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use thiserror::Error;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Of this process.
    pub(crate) capabilities: CapabilitySet,
    /// Whether programs that it runs get what it was started with: root has what is in the bounding set when it executes a
    /// program.
    pub(crate) for_children: bool,
    /// Whether it may be root's.
    pub(crate) root: bool,
}

/// The system refused to take rights away, as a filter of system calls has it do.
#[derive(Debug, Error)]
#[error("cannot give up {what}: {source}")]
pub(crate) struct RightsError {
    /// What was to be given up.
    what: &'static str,
    source: io::Error,
}

/// A thread has more than was meant to be kept.
#[derive(Debug, Error)]
#[error("thread {thread} still has {left} after all else was given up; --sandbox off goes on with it")]
pub(crate) struct RightsLeft {
    thread: String,
    /// What it should not have.
    left: String,
}

/// Gives up the rest, in this thread and in those that it starts from now on. Returns what is left, which is no more than
/// there was.
///
/// # Errors
/// When the system refuses.
pub(crate) fn keep(rights: Rights) -> Result<Rights, RightsError> {
    let refused = |what| move |source: rustix::io::Errno| RightsError { what, source: source.into() };
    let before = capabilities(None).map_err(refused("capabilities"))?;
    let kept = before.permitted.intersection(rights.capabilities);
    if !rights.for_children {
        // Before CAP_SETPCAP goes. Without it, a program that is executed has no more than no_new_privs lets it.
        for capability in CapabilitySet::all().difference(kept).iter() {
            let _ = remove_capability_from_bounding_set(capability);
        }
        set_no_new_privs(true).map_err(refused("new privileges"))?;
    }
    // A kernel before 4.3 has no such set.
    let _ = clear_ambient_capability_set();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(refused("capabilities"))?;
    Ok(Rights { capabilities: kept, ..rights })
}

/// Checks that no thread of this process has more than is kept.
///
/// # Errors
/// When one has, by its number; and when that cannot be read while /proc is there.
pub(crate) fn verify(proc: &Path, rights: Rights) -> Result<(), RightsLeft> {
    // Without /proc nothing can be looked at.
    let Ok(threads) = fs::read_dir(proc.join("self/task")) else { return Ok(()) };
    for thread in threads.flatten() {
        // One that has ended meanwhile has nothing.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let left = excess(&status, rights);
        if !left.is_empty() {
            let thread = thread.file_name().to_string_lossy().into_owned();
            return Err(RightsLeft { thread, left });
        }
    }
    Ok(())
}

/// What the status of a thread (proc_pid_status(5)) has beyond `rights`, in words.
fn excess(status: &str, rights: Rights) -> String {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let set = |name| {
        let bits = field(name).and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(u64::MAX);
        CapabilitySet::from_bits_retain(bits)
    };
    let mut left = set("CapPrm:").union(set("CapEff:")).difference(rights.capabilities);
    if !rights.for_children {
        left = left.union(set("CapAmb:").difference(rights.capabilities));
    }
    let mut words = names(left);
    // Real, effective and saved; the fourth is whose files it opens.
    let users = field("Uid:").unwrap_or("0").split_whitespace().take(3);
    if !rights.root && users.into_iter().any(|user| user == "0") {
        words.push("root's user".to_owned());
    }
    if !rights.for_children && field("NoNewPrivs:") == Some("0") {
        words.push("the right to new privileges".to_owned());
    }
    words.join(", ")
}

/// The names of capabilities, as capabilities(7) has them.
fn names(capabilities: CapabilitySet) -> Vec<String> {
    capabilities.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = names(self.capabilities);
        let names = if names.is_empty() { "no capability".to_owned() } else { names.join(", ") };
        let children = if self.for_children { "; commands are not limited" } else { "" };
        let user = if self.root { "" } else { "; not as root" };
        write!(formatter, "{names}{user}{children}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTRACE: Rights =
        Rights { capabilities: CapabilitySet::SYS_PTRACE, for_children: false, root: true };

    fn status(permitted: CapabilitySet, no_new_privs: u8) -> String {
        let bits = permitted.bits();
        format!(
            "Name:\tx\nUid:\t0\t0\t0\t0\nCapInh:\t0\nCapPrm:\t{bits:016x}\nCapEff:\t0\nCapAmb:\t0\nNoNewPrivs:\t{no_new_privs}\n"
        )
    }

    #[test]
    fn a_thread_with_more_than_is_kept_is_told_with_what_it_has() {
        assert_eq!(excess(&status(CapabilitySet::SYS_PTRACE, 1), PTRACE), "");
        assert_eq!(excess(&status(CapabilitySet::empty(), 1), PTRACE), "");
        let more = CapabilitySet::SYS_PTRACE | CapabilitySet::KILL;
        assert_eq!(excess(&status(more, 0), PTRACE), "CAP_KILL, the right to new privileges");
        assert_eq!(excess(&status(more, 0), Rights { for_children: true, ..PTRACE }), "CAP_KILL");
        let other = Rights { root: false, ..PTRACE };
        let roots = status(CapabilitySet::SYS_PTRACE, 1);
        assert_eq!(excess(&roots, other), "root's user");
        assert_eq!(excess(&roots.replace("Uid:\t0\t0\t0\t0", "Uid:\t9\t9\t9\t0"), other), "");
        // What cannot be read is no proof that nothing is left.
        assert_ne!(excess("", PTRACE), "");
    }

    #[test]
    fn rights_are_told_by_the_names_of_the_manual() {
        assert_eq!(PTRACE.to_string(), "CAP_SYS_PTRACE");
        let none = Rights { capabilities: CapabilitySet::empty(), for_children: true, root: false };
        assert!(none.to_string().starts_with("no capability; not as root; commands"));
    }
}
