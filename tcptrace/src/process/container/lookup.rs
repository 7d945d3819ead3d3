//! From the text of `/proc/PID/cgroup` to a container with its names. Looks each container up once.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    host_root::HostRoot,
    names::ContainerNames,
    runtimes::{has_task, of_container_log, of_containerd, of_docker, of_pod_log, of_storage, of_user},
};
use crate::{
    host::world::World,
    process::cgroup::{
        CgroupMembership,
        container::{ContainerCgroup, ContainerId, TaskPath},
        parse,
    },
};

/// Containers whose names are kept.
const KEPT_CONTAINERS: usize = 4_096;

/// Finds names of containers on one host. Copies share what they found.
#[derive(Debug, Clone)]
pub(crate) struct ContainerLookup {
    proc: PathBuf,
    /// Where pid 1 cannot be looked into.
    root: PathBuf,
    /// By container, which strangers name; a map that withstands chosen keys.
    known: Arc<Mutex<HashMap<ContainerCgroup, ContainerNames>>>,
}

impl ContainerLookup {
    pub(crate) fn new(world: &World) -> Self {
        Self { proc: world.proc.clone(), root: world.root.clone(), known: Arc::default() }
    }

    /// Looks for names again that were not there.
    pub(crate) fn begin_round(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, names| !names.is_empty());
    }

    /// What the text of `/proc/PID/cgroup` says.
    pub(crate) fn membership(&self, cgroup: &str) -> CgroupMembership {
        parse(cgroup).with_tasks(|TaskPath { namespace, id }| {
            self.host_root().is_some_and(|root| has_task(&root, namespace, id))
        })
    }

    /// The names of a container; empty where nothing on disk tells.
    pub(crate) fn names(&self, container: &ContainerCgroup) -> ContainerNames {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = known.get(container) {
            return names.clone();
        }
        let names = self.look_up(container).unwrap_or_default();
        if known.len() >= KEPT_CONTAINERS {
            known.clear();
        }
        known.insert(container.clone(), names.clone());
        names
    }

    fn look_up(&self, ContainerCgroup { id, pod_uid, user }: &ContainerCgroup) -> Option<ContainerNames> {
        let id = match id {
            ContainerId::Digest(id) => id,
            ContainerId::Handle(_) => return None,
            ContainerId::Name(name) => return Some(ContainerNames::new(Some(name), None, None)),
        };
        let root = self.host_root()?;
        // Runtimes know their own containers best; the logs are left when a runtime keeps its data elsewhere.
        user.and_then(|user| of_user(&root, user, id))
            .or_else(|| of_containerd(&root, id))
            .or_else(|| of_docker(&root, id))
            .or_else(|| of_storage(&root, id))
            .or_else(|| of_container_log(&root, id))
            .or_else(|| of_pod_log(&root, pod_uid.as_deref()?))
    }

    fn host_root(&self) -> Option<HostRoot> {
        HostRoot::open(&self.proc, &self.root)
            .inspect_err(|error| log::debug!("the root of the host cannot be read: {error}"))
            .ok()
    }
}

#[cfg(test)]
mod tests;
