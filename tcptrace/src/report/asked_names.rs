//! Containers, pods and namespaces that were asked for and that no owner in the recordings has: a report of nothing would
//! read as "no leak there". Pure.

use std::collections::BTreeSet;

use super::caveats::{Caveat, NameKind};
use crate::model::{
    owner::Owner,
    owner_criteria::{OwnerCriteria, is_in_container, is_in_namespace, is_in_pod},
};

/// Names kept of those that are in the recordings.
const MOST_SEEN: usize = 64;

/// The names that nobody has had so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedNames {
    unmet: Vec<(NameKind, String)>,
    /// Where the owners ran instead, those in pods first; bounded.
    in_pods: BTreeSet<String>,
    in_containers: BTreeSet<String>,
}

impl AskedNames {
    pub(crate) fn new(criteria: &OwnerCriteria) -> Self {
        let OwnerCriteria { pids: _, comms: _, units: _, containers, pods, namespaces } = criteria;
        let of = |kind, names: &Vec<String>| {
            names.iter().map(move |name| (kind, name.clone())).collect::<Vec<_>>()
        };
        let unmet = [
            of(NameKind::Container, containers),
            of(NameKind::Pod, pods),
            of(NameKind::Namespace, namespaces),
        ];
        Self { unmet: unmet.concat(), ..Self::default() }
    }

    /// Takes the owners of a socket, wanted or not.
    pub(crate) fn take(&mut self, owners: &[Owner]) {
        if self.unmet.is_empty() {
            return;
        }
        for owner in owners {
            let process = &owner.process;
            self.unmet.retain(|(kind, name)| match kind {
                NameKind::Container => !is_in_container(name, process),
                NameKind::Pod => !is_in_pod(name, process),
                NameKind::Namespace => !is_in_namespace(name, process),
            });
            let seen = match (&process.pod, &process.container) {
                (Some(_), _) => &mut self.in_pods,
                (None, Some(_)) => &mut self.in_containers,
                (None, None) => continue,
            };
            if seen.len() < MOST_SEEN {
                seen.extend(process.place());
            }
        }
    }

    /// What is to be said of each name that nobody had.
    pub(crate) fn unmet(&self) -> impl Iterator<Item = Caveat> {
        self.unmet.iter().map(|(kind, name)| {
            let in_containers = self.in_containers.iter().filter(|_| *kind == NameKind::Container);
            let seen = self.in_pods.iter().chain(in_containers).cloned().collect();
            Caveat::NobodyCalled { kind: *kind, name: name.clone(), seen }
        })
    }
}
