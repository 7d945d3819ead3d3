//! Parses `/proc/PID/cgroup`: the path to show, the systemd unit, the container.
//!
//! Pure: no I/O, and any text gives a value. Format: cgroups(7).

pub(crate) mod container;

use container::{ContainerCgroup, ContainerId, TaskPath, container, is_of_runtime, task_path};

/// What the cgroups of a process say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CgroupMembership {
    /// The path of the most informative hierarchy. Hosts with cgroup v1, alone or beside v2 (hybrid), have
    /// several, and any of them may be `/`.
    pub path: Option<String>,
    /// The innermost systemd service or scope, by the name that `systemctl status` takes, with its escapes
    /// (`\x2d`). Inside a user session it is a unit of the user's manager. A container's scope counts as the
    /// container instead.
    pub unit: Option<String>,
    /// The innermost container.
    pub container: Option<ContainerCgroup>,
    /// What is a container if containerd has a task of this name; only where there is none otherwise.
    pub task: Option<TaskMembership>,
}

/// A path that containerd may have made for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskMembership {
    pub task: TaskPath,
    pub path: String,
    pub unit: Option<String>,
}

impl CgroupMembership {
    /// The membership, where containerd says whether it has a task of this name.
    #[must_use]
    pub(crate) fn with_tasks(self, is_task: impl FnOnce(&TaskPath) -> bool) -> Self {
        let Self { path, unit, container, task } = self;
        match task.filter(|task| is_task(&task.task)) {
            Some(TaskMembership { task, path, unit }) => {
                let id = ContainerId::Name(task.id);
                let container = Some(ContainerCgroup { id, pod_uid: None, user: None });
                Self { path: Some(path), unit, container, task: None }
            }
            None => Self { path, unit, container, task: None },
        }
    }
}

/// Parses the text of `/proc/PID/cgroup`.
///
/// All three values come from one hierarchy: the first that names a container, else the first that names a
/// unit, else the first other than `/`. Mixing hierarchies would be wrong: on a hybrid host, Docker leaves
/// `0::` in its own service while the others show the container.
#[must_use]
pub(crate) fn parse(text: &str) -> CgroupMembership {
    let hierarchies = hierarchies(text);
    let first = |tells: fn(&str) -> bool| hierarchies.iter().copied().find(|path| tells(path));
    let path = first(|path| container(path).is_some())
        .or_else(|| first(|path| unit(path).is_some()))
        .or_else(|| first(|path| path != "/"))
        .or_else(|| hierarchies.first().copied());
    let container = path.and_then(container);
    let task = hierarchies.iter().find_map(|path| {
        let task = task_path(path)?;
        Some(TaskMembership { task, path: (*path).to_owned(), unit: unit(path) })
    });
    CgroupMembership {
        path: path.map(str::to_owned),
        unit: path.and_then(unit),
        task: task.filter(|_| container.is_none()),
        container,
    }
}

/// The paths, systemd's own hierarchies first: cgroup v2 (`0::path`), then `name=systemd`. Lines are
/// `id:controllers:path`; the path may contain colons.
fn hierarchies(text: &str) -> Vec<&str> {
    let mut ranked: Vec<(u8, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            // The kernel appends this when the directory was removed under the process.
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            let rank = match (id, controllers) {
                ("0", "") => 0,
                (_, "name=systemd") => 1,
                _ => 2,
            };
            path.starts_with('/').then_some((rank, path))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, path)| path).collect()
}

fn unit(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|name| {
        // systemd prefixes `_` to names that clash with its own or the kernel's (cg_escape).
        let name = name.strip_prefix('_').unwrap_or(name);
        let stem = name.strip_suffix(".service").or_else(|| name.strip_suffix(".scope"))?;
        let is_unit = !stem.is_empty() && !is_of_runtime(name);
        is_unit.then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
