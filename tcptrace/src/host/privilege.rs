//! Which capabilities this process has, and what each that it lacks is needed for.

use std::fmt;

use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

/// A capability, and what there is no doing without it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) name: &'static str,
    /// What a session loses.
    pub(crate) lost: &'static str,
    /// Any of these will do.
    suffices: CapabilitySet,
}

/// Without them nothing can be loaded. Before Linux 5.8 CAP_SYS_ADMIN was all there is (capabilities(7)).
const REQUIRED: [Need; 2] = [
    Need {
        name: "CAP_BPF",
        lost: "programs cannot be loaded",
        suffices: CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN),
    },
    Need {
        name: "CAP_PERFMON",
        lost: "programs cannot be attached",
        suffices: CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN),
    },
];

/// Needed for complete results; a session works without.
const WANTED: [Need; 3] = [
    Need {
        name: "CAP_SYS_PTRACE",
        lost: "other users' processes and namespaces cannot be looked into",
        suffices: CapabilitySet::SYS_PTRACE,
    },
    Need {
        name: "CAP_SYS_ADMIN",
        lost: "sockets in other network namespaces cannot be listed",
        suffices: CapabilitySet::SYS_ADMIN,
    },
    Need {
        name: "CAP_DAC_READ_SEARCH",
        lost: "programs, debug files and the names of containers that are for others' eyes cannot be read, nor what other \
               users' processes have mapped or wait for",
        suffices: CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::DAC_OVERRIDE),
    },
];

/// Needed to name lines of code (`proc_map_files_get_link` of fs/proc/base.c).
const LINES: Need = Need {
    name: "CAP_CHECKPOINT_RESTORE",
    lost: "no line of code can be named, because the files that processes have mapped cannot be opened",
    suffices: CapabilitySet::CHECKPOINT_RESTORE.union(CapabilitySet::SYS_ADMIN),
};

/// Whether this thread has a capability in effect.
pub(crate) fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// This process may not load BPF programs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum NotPrivileged {
    #[error(
        "not permitted: tcptrace needs root, or at least {missing}; try: sudo tcptrace …, or `tcptrace doctor`"
    )]
    Without { missing: String },
    #[error(
        "not permitted: this process is in a user namespace of its own, whose capabilities load no BPF program; run it as \
         root of the host, outside of the container. `tcptrace now` looks at what can be seen from here"
    )]
    InUserNamespace,
}

/// What this process may do: facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privileges {
    /// Capabilities without which nothing can be loaded.
    pub(crate) missing: Vec<&'static Need>,
    /// Other capabilities that are missing.
    pub(crate) losses: Vec<&'static Need>,
    /// The one that lines of code take, where it is missing.
    pub(crate) lines: Option<&'static Need>,
}

impl Privileges {
    /// Reads the effective capabilities of this thread.
    pub(crate) fn read() -> Self {
        Self::of(capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective))
    }

    /// What is missing where these are in effect.
    pub(crate) fn of(effective: CapabilitySet) -> Self {
        let absent = |needs: &'static [Need]| -> Vec<&'static Need> {
            needs.iter().filter(|need| !effective.intersects(need.suffices)).collect()
        };
        let lines = (!effective.intersects(LINES.suffices)).then_some(&LINES);
        Self { missing: absent(&REQUIRED), losses: absent(&WANTED), lines }
    }

    /// Whether the kernel side can be loaded at all.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn check(&self) -> Result<(), NotPrivileged> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = self.missing.iter().map(|need| need.name).collect();
        Err(NotPrivileged::Without { missing: missing.join(" and ") })
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
            log::warn!("{loss}");
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "without {}: {}", self.name, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(needs: &[&Need]) -> Vec<&'static str> {
        needs.iter().map(|need| need.name).collect()
    }

    #[test]
    fn each_missing_capability_is_named_with_what_it_costs() {
        let nothing = Privileges::of(CapabilitySet::empty());
        assert_eq!(names(&nothing.missing), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!((nothing.losses.len(), nothing.lines), (WANTED.len(), Some(&LINES)));
        let refusal = nothing.check().map_err(|error| error.to_string());
        assert!(refusal.is_err_and(|why| why.contains("at least CAP_BPF and CAP_PERFMON")));
        assert_eq!(
            WANTED[0].to_string(),
            "without CAP_SYS_PTRACE: other users' processes and namespaces cannot be looked into"
        );
    }

    #[test]
    fn a_capability_that_includes_another_stands_for_it() {
        let admin = Privileges::of(CapabilitySet::SYS_ADMIN);
        assert_eq!((admin.check(), admin.lines), (Ok(()), None));
        assert_eq!(names(&admin.losses), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        let unit = CapabilitySet::BPF
            | CapabilitySet::PERFMON
            | CapabilitySet::SYS_PTRACE
            | CapabilitySet::DAC_OVERRIDE
            | CapabilitySet::CHECKPOINT_RESTORE;
        let unit = Privileges::of(unit);
        assert_eq!((unit.check(), unit.lines), (Ok(()), None));
        assert_eq!(names(&unit.losses), ["CAP_SYS_ADMIN"]);
    }
}
