//! Whether an owner is one of those that were asked for. Pure.

use super::{owner::Owner, process::ProcessIdentity};

/// Whose sockets are wanted. Entries of a kind are alternatives, the kinds have to hold together;
/// nothing said is everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerFilter {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Process names.
    pub comms: Vec<String>,
    /// Systemd units, with or without their ending.
    pub units: Vec<String>,
    /// Container names, or the beginnings of ids.
    pub containers: Vec<String>,
}

impl OwnerFilter {
    /// Whether a socket with these owners is wanted: one of them has to match, or nothing was asked for.
    pub fn admits(&self, owners: &[Owner]) -> bool {
        *self == Self::default() || owners.iter().any(|owner| self.matches(&owner.process))
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
        (pids.is_empty() || pids.contains(&process.pid))
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
    use crate::model::owner::Evidence;

    fn owner(pid: u32, comm: &str, unit: &str, container: &str) -> Owner {
        let mut process = ProcessIdentity::from_name(pid, comm);
        process.unit = Some(unit.to_owned());
        process.container = Some(container.to_owned());
        Owner { process: Arc::new(process), fds: vec![3], inherited: None, evidence: Evidence::FdTable }
    }

    #[test]
    fn any_of_a_kind_and_all_kinds_together() {
        let owners =
            [owner(7, "nginx", "nginx.service", "0123456789ab"), owner(8, "php", "php.service", "web")];
        let admits = |filter: OwnerFilter| filter.admits(&owners);
        assert!(admits(OwnerFilter::default()));
        assert!(admits(OwnerFilter { pids: vec![1, 8], ..OwnerFilter::default() }));
        assert!(!admits(OwnerFilter { pids: vec![7], comms: vec!["php".into()], ..OwnerFilter::default() }));
        assert!(admits(OwnerFilter { units: vec!["nginx".into()], ..OwnerFilter::default() }));
        assert!(admits(OwnerFilter { units: vec!["nginx.service".into()], ..OwnerFilter::default() }));
        assert!(admits(OwnerFilter { containers: vec!["012345".into()], ..OwnerFilter::default() }));
        assert!(admits(OwnerFilter {
            containers: vec!["0123456789abcdef".into()],
            ..OwnerFilter::default()
        }));
        assert!(!admits(OwnerFilter { containers: vec!["we".into()], ..OwnerFilter::default() }));
        assert!(!OwnerFilter { pids: vec![7], ..OwnerFilter::default() }.admits(&[]));
        assert!(OwnerFilter::default().admits(&[]));
    }
}
