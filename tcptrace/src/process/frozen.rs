//! Whether a process is frozen by its cgroup, of either version (cgroups(7); Documentation/admin-guide/cgroup-v2.rst,
//! "cgroup.events"; cgroup-v1/freezer-subsystem.rst). Thaws nothing.

use std::{os::fd::OwnedFd, path::PathBuf};

use super::reader::contents;
use crate::host::{bounded_text::text, world::World};

/// Longest file that is read: a process is in few hierarchies, and a container sees few mounts.
const CGROUP_BYTES: u64 = 4 * 1024;
const MOUNTS_BYTES: u64 = 1024 * 1024;

/// Where cgroups are mounted.
pub(super) struct FrozenCgroups {
    /// That of version 2.
    unified: Option<PathBuf>,
    /// That of the freezer of version 1.
    freezer: Option<PathBuf>,
}

impl FrozenCgroups {
    /// Reads where they are mounted.
    pub(super) fn new(world: &World) -> Self {
        let mounts = text(&world.proc.join("self/mountinfo"), MOUNTS_BYTES).unwrap_or_default();
        Self::from_mounts(&mounts)
    }

    /// From `mountinfo` (proc_pid_mountinfo(5)): the mount point is field 5; behind ` - ` come the type and, last, the
    /// options of the file system.
    fn from_mounts(mounts: &str) -> Self {
        let find = |is_it: fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let (mount, file_system) = line.split_once(" - ")?;
                let mut words = file_system.split(' ');
                let (kind, options) = (words.next()?, words.next_back()?);
                let point = mount.split(' ').nth(4)?;
                is_it(kind, options).then(|| PathBuf::from(point))
            })
        };
        Self {
            unified: find(|kind, _| kind == "cgroup2"),
            freezer: find(|kind, options| {
                kind == "cgroup" && options.split(',').any(|option| option == "freezer")
            }),
        }
    }

    /// Whether a cgroup of the process is frozen, itself or by one above it.
    pub(super) fn is_frozen(&self, process: &OwnedFd) -> bool {
        let Ok(cgroups) = contents(process, "cgroup", CGROUP_BYTES) else { return false };
        String::from_utf8_lossy(&cgroups).lines().any(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return false };
            let below = |root: Option<&PathBuf>, file: &str| {
                let path = root?.join(path.trim_start_matches('/')).join(file);
                text(&path, CGROUP_BYTES)
            };
            if controllers.is_empty() {
                let events = below(self.unified.as_ref(), "cgroup.events");
                return events.is_some_and(|events| events.lines().any(|line| line == "frozen 1"));
            }
            controllers.split(',').any(|controller| controller == "freezer")
                && below(self.freezer.as_ref(), "freezer.state")
                    .is_some_and(|state| state.trim_ascii() == "FROZEN")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn either_version_is_found_wherever_it_is_mounted() {
        let hybrid = "30 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                      31 24 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                      32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        let FrozenCgroups { unified, freezer } = FrozenCgroups::from_mounts(hybrid);
        assert_eq!(unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(freezer.as_deref(), Some(Path::new("/sys/fs/cgroup/freezer")));
        let none = FrozenCgroups::from_mounts("1 0 0:1 / / rw - ext4 /dev/vda rw\nnonsense\n");
        assert!(none.unified.is_none() && none.freezer.is_none());
    }
}
