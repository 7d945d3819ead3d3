//! A cgroup that freezes a process, of whichever version this host has. It thaws when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use super::until;

pub(crate) struct Freezer {
    folder: PathBuf,
    pid: i32,
    /// The file that freezes, and what thaws again.
    thaw: (PathBuf, &'static str),
}

impl Freezer {
    pub(crate) fn freeze(pid: i32) -> Self {
        let roots = ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = roots.map(Path::new).into_iter().find(|root| {
            root.join("cgroup.procs").exists()
                && (root.ends_with("freezer") || !root.join("freezer").exists())
        });
        let folder = root.expect("cgroups").join(format!("tcptrace-scene-{pid}"));
        fs::create_dir(&folder).expect("a cgroup of our own");
        let [first, second] = [("freezer.state", "THAWED"), ("cgroup.freeze", "0")];
        let (name, thaw) = if folder.join(first.0).exists() { first } else { second };
        let freezer = Self { thaw: (folder.join(name), thaw), folder, pid };
        fs::write(freezer.folder.join("cgroup.procs"), pid.to_string()).expect("a process can be moved");
        fs::write(&freezer.thaw.0, if thaw == "0" { "1" } else { "FROZEN" }).expect("a cgroup can be frozen");
        let state = || {
            let files = [freezer.thaw.0.clone(), freezer.folder.join("cgroup.events")];
            files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect::<String>()
        };
        let is_frozen = || state().contains("FROZEN") || state().contains("frozen 1");
        until("the cgroup is frozen", is_frozen, state);
        freezer
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let (file, thaw) = &self.thaw;
        fs::write(file, thaw).expect("a cgroup can be thawed");
        let parent = self.folder.parent().expect("a cgroup below the root");
        // A process may have ended; a cgroup with none in it goes.
        let _it_may_have_ended = fs::write(parent.join("cgroup.procs"), self.pid.to_string());
        let _it_may_still_be_leaving = fs::remove_dir(&self.folder);
    }
}
