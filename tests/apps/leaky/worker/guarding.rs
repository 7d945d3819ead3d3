//! Outlives the stage by a moment, to thaw what it has frozen: a process that version 1 of the cgroups has frozen does
//! not die, whoever kills it.

use super::Worker;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A process counts for a moment after it has died.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Guard {
    pub switch: PathBuf,
    pub thawed: String,
    /// The frozen cgroups, the inner one first.
    pub folders: Vec<PathBuf>,
}

impl Worker {
    /// From now on it ends with its channel only, and not when the stage is killed.
    pub(super) fn guard(&mut self, guard: Guard) -> Result<()> {
        rustix::process::set_parent_process_death_signal(None)?;
        self.guard = Some(guard);
        Ok(())
    }
}

impl Guard {
    /// The stage is gone.
    pub(super) fn thaw(&self) {
        let _already_thawed = std::fs::write(&self.switch, &self.thawed);
        let until = Instant::now() + LIMIT;
        for folder in &self.folders {
            while !remove(folder) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn remove(folder: &Path) -> bool {
    std::fs::remove_dir(folder).is_ok() || !folder.exists()
}
