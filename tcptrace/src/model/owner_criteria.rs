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
    /// Kubernetes pods, with or without their namespaces before them (`shop/web-7d9f`).
    pub pods: Vec<String>,
    /// Namespaces in Kubernetes.
    pub namespaces: Vec<String>,
}

impl OwnerCriteria {
    /// Whether nothing is asked of owners.
    pub fn is_empty(&self) -> bool {
        let Self { pids, comms, units, containers, pods, namespaces } = self;
        pids.is_empty()
            && comms.is_empty()
            && units.is_empty()
            && containers.is_empty()
            && pods.is_empty()
            && namespaces.is_empty()
    }

    /// Whether a socket with these owners is wanted: one of them has to match, unless nothing is asked.
    pub fn admits(&self, owners: &[Owner]) -> bool {
        self.is_empty() || owners.iter().any(|owner| self.matches(&owner.process))
    }

    fn matches(&self, process: &ProcessIdentity) -> bool {
        let Self { pids, comms, units, containers, pods, namespaces } = self;
        let unit_matches = |unit: &str| {
            units
                .iter()
                .any(|wanted| unit == wanted || unit.rsplit_once('.').is_some_and(|(stem, _)| stem == wanted))
        };
        let is_one_of = |wanted: &[String], is_it: fn(&str, &ProcessIdentity) -> bool| {
            wanted.is_empty() || wanted.iter().any(|wanted| is_it(wanted, process))
        };
        (pids.is_empty() || process.pid.visible().is_some_and(|pid| pids.contains(&pid)))
            && (comms.is_empty() || comms.contains(&process.comm))
            && (units.is_empty() || process.unit.as_deref().is_some_and(unit_matches))
            && is_one_of(containers, is_in_container)
            && is_one_of(pods, is_in_pod)
            && is_one_of(namespaces, is_in_namespace)
    }
}

/// Whether a process runs in the container of this name, or whose id begins so.
pub(crate) fn is_in_container(wanted: &str, process: &ProcessIdentity) -> bool {
    let name = process.container_name.as_deref();
    // Runtimes without ids have the name for one: it has to be there in full.
    let is_id = |id: &str| name != Some(id) && is_id_of(wanted, id);
    name == Some(wanted) || process.container.as_deref().is_some_and(|id| id == wanted || is_id(id))
}

/// Whether a process runs in the Kubernetes pod of this name, which may have its namespace before it.
pub(crate) fn is_in_pod(wanted: &str, process: &ProcessIdentity) -> bool {
    process.pod.as_deref() == Some(wanted) || process.pod_path().as_deref() == Some(wanted)
}

/// Whether a process runs in a pod of this namespace in Kubernetes.
pub(crate) fn is_in_namespace(wanted: &str, process: &ProcessIdentity) -> bool {
    process.pod_namespace.as_deref() == Some(wanted)
}

/// Whether one of the two is the beginning of the other, as ids are shortened: the description has
/// twelve digits, the operator may have typed fewer or all 64.
fn is_id_of(wanted: &str, container: &str) -> bool {
    const SHORTEST: usize = 4;
    const SHORTENED: usize = 12;
    wanted.len() >= SHORTEST
        && (container.starts_with(wanted) || (container.len() == SHORTENED && wanted.starts_with(container)))
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

    #[test]
    fn containers_and_pods_are_found_by_what_people_call_them() {
        let mut process = ProcessIdentity::from_name(Pid::new(7), "nginx");
        process.container = Some("0123456789ab".to_owned());
        process.container_name = Some("app".to_owned());
        process.pod = Some("web-7d9f".to_owned());
        process.pod_namespace = Some("shop".to_owned());
        let owners = [Owner {
            process: Arc::new(process),
            fds: vec![3],
            inherited: None,
            evidence: Evidence::FdTable,
        }];
        let admits = |containers: &[&str], pods: &[&str], namespaces: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
            let filter = OwnerCriteria {
                containers: texts(containers),
                pods: texts(pods),
                namespaces: texts(namespaces),
                ..OwnerCriteria::default()
            };
            assert!(!filter.is_empty());
            filter.admits(&owners)
        };
        assert!(admits(&["app"], &[], &[]));
        assert!(admits(&["012345"], &[], &[]));
        // A name has to be there in full, and is in no other.
        assert!(!admits(&["ap"], &[], &[]));
        assert!(!admits(&["apps"], &[], &[]));
        assert!(admits(&[], &["web-7d9f"], &[]));
        assert!(admits(&[], &["shop/web-7d9f"], &[]));
        assert!(!admits(&[], &["web"], &[]));
        assert!(!admits(&[], &["other/web-7d9f"], &[]));
        assert!(admits(&["app"], &["other", "web-7d9f"], &["shop"]));
        assert!(!admits(&["app"], &["web-7d9f"], &["kube-system"]));
        let mut named = ProcessIdentity::from_name(Pid::new(7), "nginx");
        named.container = Some("webserver".to_owned());
        assert!(is_in_container("webserver", &named));
        assert!(!is_in_container("webserver-2", &named));
        named.container_name = named.container.clone();
        assert!(is_in_container("webserver", &named));
        assert!(!is_in_container("webs", &named));
    }
}
