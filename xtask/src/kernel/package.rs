//! Fetches Debian's kernels from its archive and unpacks them. Never installs one.

use super::output_of;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel, unpacked.
pub(crate) struct Kernel {
    pub package: String,
    /// What `uname -r` prints on it.
    pub release: String,
    /// The image to boot.
    pub image: PathBuf,
    /// Its modules, a folder for each part of the kernel's source.
    pub modules: PathBuf,
}

/// Fetches the latest kernel of a version, in Debian's build for virtual machines.
pub(crate) fn fetch(version: &str, directory: &Path) -> Result<Kernel> {
    let package = latest(version)?;
    let unpacked = directory.join(&package);
    if !unpacked.exists() {
        let partial = tempfile::tempdir_in(directory)?;
        output_of(Command::new("apt-get").args(["download", "-q", &package]).current_dir(partial.path()))?;
        let archive = only_entry(partial.path())?;
        let content = partial.path().join("content");
        output_of(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(&content))?;
        fs::rename(content, &unpacked)?;
    }
    let modules = only_entry(&unpacked.join("lib/modules"))?;
    let release = modules.file_name().context("modules of a release")?.to_string_lossy().into_owned();
    let image = unpacked.join("boot").join(format!("vmlinuz-{release}"));
    Ok(Kernel { package, release, image, modules: modules.join("kernel") })
}

fn latest(version: &str) -> Result<String> {
    let pattern = format!(
        "^linux-image-{}([.][0-9]+)*(-[0-9]+)?([+]deb[0-9]+)?-cloud-amd64$",
        version.replace('.', "[.]")
    );
    let found = output_of(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let names = found.lines().filter_map(|line| line.split(' ').next());
    // Each release is a package of its own; the numbers in its name say which is the latest.
    let numbers = |name: &&str| -> Vec<u64> {
        name.split(|character: char| !character.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    names.max_by_key(numbers).map(str::to_owned).with_context(|| {
        format!(
            "this system's package lists have no Linux {version} for virtual machines: \
             `apt-cache search linux-image.*-cloud-amd64` lists what there is, after `apt-get update`"
        )
    })
}

fn only_entry(directory: &Path) -> Result<PathBuf> {
    let mut entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let entry = entries.next().with_context(|| format!("{} is empty", directory.display()))??;
    Ok(entry.path())
}
