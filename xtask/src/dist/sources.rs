//! The commit that is built: when it was made, and a second copy of it in another folder.

use super::binary::run;
use crate::cargo::workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Refuses files that are not in the commit: nobody could build the same from it.
pub(crate) fn require_committed() -> Result<()> {
    let changed = run(git().args(["status", "--porcelain"]))?;
    if !changed.is_empty() {
        bail!(
            "these files are not committed; --draft builds them nevertheless, once:\n{}",
            String::from_utf8_lossy(&changed)
        );
    }
    Ok(())
}

/// When the commit was made, in seconds since 1970: the time of everything that is made of it.
pub(crate) fn commit_time() -> Result<String> {
    let time = run(git().args(["log", "-1", "--format=%ct"]))?;
    Ok(String::from_utf8_lossy(&time).trim().to_owned())
}

/// Unpacks the commit into `folder`, in the place of what is there.
pub(crate) fn copy_commit(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut archive = git()
        .args(["archive", "--format=tar", "HEAD"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run git archive")?;
    let listed = archive.stdout.take().context("the output of git")?;
    // With the time of the commit the files would look older than what was built of an earlier one.
    let unpacked = Command::new("tar")
        .args(["--extract", "--touch", "--directory"])
        .arg(folder)
        .stdin(listed)
        .status()?;
    anyhow::ensure!(archive.wait()?.success() && unpacked.success(), "cannot copy the commit");
    Ok(())
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(workspace());
    git
}
