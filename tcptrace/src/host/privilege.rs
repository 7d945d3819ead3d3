//! Whether this process may load BPF programs and look into other processes.

use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

/// What each capability is needed for.
const NEEDED: [(CapabilitySet, &str); 2] =
    [(CapabilitySet::BPF, "CAP_BPF (load programs)"), (CapabilitySet::PERFMON, "CAP_PERFMON (attach them)")];

/// Needed for complete results; a session works without.
const WANTED: [(CapabilitySet, &str); 2] = [
    (
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE: other users' processes and namespaces cannot be looked into",
    ),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN: sockets in other network namespaces cannot be listed"),
];

/// This process lacks the capabilities to load BPF programs.
#[derive(Debug, Error)]
#[error("not permitted: tcptrace needs root, or at least {missing}; try: sudo tcptrace …")]
pub(crate) struct NotPrivileged {
    missing: String,
}

/// Checks the effective capabilities of this thread; logs what will be missing.
///
/// # Errors
/// When the kernel side cannot be loaded at all.
pub(crate) fn check() -> Result<(), NotPrivileged> {
    // A kernel before 5.8 has only CAP_SYS_ADMIN for all of this.
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let is_admin = effective.contains(CapabilitySet::SYS_ADMIN);
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(capability, _)| !is_admin && !effective.contains(*capability))
        .map(|(_, name)| *name)
        .collect();
    if !missing.is_empty() {
        return Err(NotPrivileged { missing: missing.join(" and ") });
    }
    warn_of_losses();
    Ok(())
}

/// Logs what will be missing, for sessions that load no program.
pub(crate) fn warn_of_losses() {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    for (_, loss) in WANTED.iter().filter(|(capability, _)| !effective.contains(*capability)) {
        log::warn!("without {loss}");
    }
}
