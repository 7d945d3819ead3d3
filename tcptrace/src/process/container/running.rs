//! The containers that have processes now, with their names. Looks at every process; keeps nothing.

use std::{collections::HashMap, path::Path};

use rustix::{
    fs::{CWD, Mode, openat},
    io::Errno,
};

use super::{lookup::ContainerLookup, names::ContainerNames};
use crate::{
    host::world::World,
    model::{pid::Pid, process::ProcessIdentity},
    process::reader::{DIRECTORY, FILE_BYTES, contents},
};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct RunningContainers {
    /// One process of each container, with nothing but its pid and its container's names.
    pub found: Vec<ProcessIdentity>,
    /// Whether every process could be asked.
    pub is_complete: bool,
}

/// Lists the containers of the host.
pub(crate) fn running_containers(world: &World) -> RunningContainers {
    let lookup = ContainerLookup::new(world);
    let Ok(entries) = std::fs::read_dir(&world.proc) else { return RunningContainers::default() };
    let mut found: HashMap<_, ProcessIdentity> = HashMap::new();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let pids: Vec<u32> = pids.collect();
    // Where /proc is an empty folder, nobody was asked.
    let mut is_complete = !pids.is_empty();
    for pid in pids {
        let text = match cgroup(&world.proc, pid) {
            Ok(text) => text,
            Err(Errno::NOENT | Errno::SRCH) => continue,
            Err(_) => {
                is_complete = false;
                continue;
            }
        };
        if let Some(container) = lookup.membership(&text).container
            && !found.contains_key(&container)
        {
            let ContainerNames { container: container_name, pod, namespace: pod_namespace } =
                lookup.names(&container);
            let process = ProcessIdentity {
                container: Some(container.id.shown()),
                container_name,
                pod,
                pod_namespace,
                ..ProcessIdentity::from_name(Pid::new(pid), "")
            };
            found.insert(container, process);
        }
    }
    let mut found: Vec<ProcessIdentity> = found.into_values().collect();
    found.sort_by_key(|process| process.pid);
    RunningContainers { found, is_complete }
}

fn cgroup(proc_root: &Path, pid: u32) -> Result<String, Errno> {
    let directory = openat(CWD, proc_root.join(pid.to_string()), DIRECTORY, Mode::empty())?;
    let bytes = contents(&directory, "cgroup", FILE_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
