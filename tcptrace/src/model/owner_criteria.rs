//! Whose sockets are wanted. Pure.

use super::{owner::Owner, process::ProcessIdentity};

/// Whose sockets are wanted. Entries of one kind are alternatives; all kinds have to match. Empty: everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerCriteria {
    pub pids: Vec<u32>,
    pub comms: Vec<String>,
    /// Systemd units, with or without their ending.
    pub units: Vec<String>,
    /// Container names, or the beginnings of ids.
    pub containers: Vec<String>,
}

impl OwnerCriteria {
    /// Whether nothing is asked of owners.
    pub fn is_empty(&self) -> bool {
        let Self { pids, comms, units, containers } = self;
        pids.is_empty() && comms.is_empty() && units.is_empty() && containers.is_empty()
    }

    /// Whether a socket with these owners is wanted: one of them has to match, unless nothing is asked.
    pub fn admits(&self, owners: &[Owner]) -> bool {
        self.is_empty() || owners.iter().any(|owner| self.matches(&owner.process))
    }

    fn matches(&self, process: &ProcessIdentity) -> bool {
        let Self { pids, comms, units, containers } = self;
        let unit_matches = |unit: &str| {
            units
                .iter()
                .any(|wanted| unit == wanted || unit.rsplit_once('.').is_some_and(|(stem, _)| stem == wanted))
        };
        let container_matches = |container: &str| {
            containers.iter().any(|wanted| container == wanted || is_id_of(wanted, container))
        };
        (pids.is_empty() || process.pid.visible().is_some_and(|pid| pids.contains(&pid)))
            && (comms.is_empty() || comms.contains(&process.comm))
            && (units.is_empty() || process.unit.as_deref().is_some_and(unit_matches))
            && (containers.is_empty() || process.container.as_deref().is_some_and(container_matches))
    }
}

/// Whether one of the two is the beginning of the other, as ids are shortened: the description has
/// twelve digits, the operator may have typed fewer or all 64.
fn is_id_of(wanted: &str, container: &str) -> bool {
    const SHORTEST: usize = 4;
    wanted.len() >= SHORTEST && (container.starts_with(wanted) || wanted.starts_with(container))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{owner::Evidence, pid::Pid};

    fn owner(pid: u32, comm: &str, unit: &str, container: &str) -> Owner {
        let mut process = ProcessIdentity::from_name(Pid::new(pid), comm);
        process.unit = Some(unit.to_owned());
        process.container = Some(container.to_owned());
        Owner { process: Arc::new(process), fds: vec![3], inherited: None, evidence: Evidence::FdTable }
    }

    #[test]
    fn any_of_a_kind_and_all_kinds_together() {
        let owners =
            [owner(7, "nginx", "nginx.service", "0123456789ab"), owner(8, "php", "php.service", "web")];
        let admits = |filter: OwnerCriteria| filter.admits(&owners);
        assert!(admits(OwnerCriteria::default()));
        assert!(admits(OwnerCriteria { pids: vec![1, 8], ..OwnerCriteria::default() }));
        assert!(!admits(OwnerCriteria {
            pids: vec![7],
            comms: vec!["php".into()],
            ..OwnerCriteria::default()
        }));
        assert!(admits(OwnerCriteria { units: vec!["nginx".into()], ..OwnerCriteria::default() }));
        assert!(admits(OwnerCriteria { units: vec!["nginx.service".into()], ..OwnerCriteria::default() }));
        assert!(admits(OwnerCriteria { containers: vec!["012345".into()], ..OwnerCriteria::default() }));
        assert!(admits(OwnerCriteria {
            containers: vec!["0123456789abcdef".into()],
            ..OwnerCriteria::default()
        }));
        assert!(!admits(OwnerCriteria { containers: vec!["we".into()], ..OwnerCriteria::default() }));
        assert!(!OwnerCriteria { pids: vec![7], ..OwnerCriteria::default() }.admits(&[]));
        assert!(OwnerCriteria::default().admits(&[]));
    }
}
