//! Whether this process may load BPF programs and look into other processes.

use std::fmt;

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
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("not permitted: tcptrace needs root, or at least {missing}; try: sudo tcptrace …")]
pub(crate) struct NotPrivileged {
    missing: String,
}

/// What this process may do: facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privileges {
    /// Capabilities without which nothing can be loaded.
    pub(crate) missing: Vec<&'static str>,
    /// Other capabilities that are missing, each with what a session cannot do without it.
    pub(crate) losses: Vec<&'static str>,
}

impl Privileges {
    /// Reads the effective capabilities of this thread.
    pub(crate) fn read() -> Self {
        let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let absent = |list: &[(CapabilitySet, &'static str)]| -> Vec<&'static str> {
            let absent = list.iter().filter(|(capability, _)| !effective.contains(*capability));
            absent.map(|(_, name)| *name).collect()
        };
        // A kernel before 5.8 has only CAP_SYS_ADMIN for all of this.
        let is_admin = effective.contains(CapabilitySet::SYS_ADMIN);
        Self { missing: if is_admin { Vec::new() } else { absent(&NEEDED) }, losses: absent(&WANTED) }
    }

    /// Whether the kernel side can be loaded at all.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn check(&self) -> Result<(), NotPrivileged> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(NotPrivileged { missing: self.missing.join(" and ") })
    }

    /// Checks, and warns of what a session cannot do.
    ///
    /// # Errors
    /// When the kernel side cannot be loaded at all.
    pub(crate) fn require(&self) -> Result<(), NotPrivileged> {
        self.check()?;
        self.warn_of_losses();
        Ok(())
    }

    /// Warns of what a session cannot do.
    pub(crate) fn warn_of_losses(&self) {
        for loss in &self.losses {
            log::warn!("without {loss}");
        }
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let absent: Vec<&str> = self.missing.iter().chain(&self.losses).copied().collect();
        if absent.is_empty() {
            return formatter.write_str("ok");
        }
        write!(formatter, "without {}", absent.join("; "))
    }
}
