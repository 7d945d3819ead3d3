//! Fetches Debian's kernels, and programs for another processor, from its archive and unpacks them. Never installs one, and
//! leaves the host's package lists alone.

use super::output_of;
use crate::dist::Architecture;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's archives, and the releases whose kernels are looked for: from the oldest that is kept to the newest.
const ARCHIVES: [(&str, &[&str]); 2] = [
    ("http://deb.debian.org/debian", &["bullseye", "bookworm", "trixie", "sid"]),
    ("http://deb.debian.org/debian-security", &["bullseye-security", "bookworm-security", "trixie-security"]),
];

/// What Debian's archives are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel, unpacked.
pub(crate) struct Kernel {
    pub architecture: Architecture,
    pub package: String,
    /// What `uname -r` prints on it.
    pub release: String,
    /// The image to boot.
    pub image: PathBuf,
    /// Its modules, a folder for each part of the kernel's source.
    pub modules: PathBuf,
}

/// The release whose programs a guest for another processor consists of.
const PROGRAMS_FROM: &str = "bookworm";

/// Debian's archive for a processor, with package lists of our own.
pub(crate) struct Archive {
    architecture: Architecture,
    /// Where what it has is unpacked.
    directory: PathBuf,
    /// Options that make apt use these lists.
    options: Vec<String>,
}

impl Archive {
    /// Reads the lists, which were fetched within the last day, or are now.
    pub(crate) fn open(architecture: Architecture, directory: &Path) -> Result<Self> {
        let own = directory.join(format!("apt-{}", architecture.name()));
        let lists = own.join("lists");
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(own.join("cache/archives/partial"))?;
        let mut sources = String::new();
        for (url, suites) in ARCHIVES {
            for suite in suites {
                writeln!(sources, "deb [signed-by={KEYRING}] {url} {suite} main")?;
            }
        }
        let list = own.join("sources.list");
        let is_fresh = fs::metadata(&list)
            .and_then(|written| written.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() < 24 * 60 * 60));
        let set = |name: &str, value: &Path| format!("-o{name}={}", value.display());
        let options = vec![
            set("Dir::Etc::sourcelist", &list),
            set("Dir::Etc::sourceparts", Path::new("/dev/null")),
            set("Dir::State::lists", &lists),
            set("Dir::Cache", &own.join("cache")),
            format!("-oAPT::Architecture={}", architecture.name()),
            format!("-oAPT::Architectures={}", architecture.name()),
            "-oAcquire::Languages=none".into(),
            "-oAPT::Sandbox::User=root".into(),
        ];
        let archive = Self { architecture, directory: directory.to_owned(), options };
        if !is_fresh {
            if !Path::new(KEYRING).exists() {
                bail!("{KEYRING} is missing: Debian's and Ubuntu's package debian-archive-keyring has it");
            }
            fs::write(&list, sources)?;
            if let Err(error) = output_of(archive.run("apt-get").args(["update", "-q"])) {
                fs::remove_file(&list)?;
                return Err(error);
            }
        }
        Ok(archive)
    }

    fn run(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// Fetches the latest kernel of a version that can be had, in Debian's build for virtual machines.
    pub(crate) fn kernel(&self, version: &str) -> Result<Kernel> {
        let mut refusals = String::new();
        // An archive may list a kernel that it no longer has.
        for package in self.kernels(version)?.into_iter().rev().take(4) {
            match self.unpacked(&package) {
                Ok(root) => return kernel_in(&root, self.architecture, package),
                Err(error) => {
                    let _ = write!(refusals, "\n  {package}: {error:#}");
                }
            }
        }
        bail!(
            "Debian's archive has no Linux {version} for virtual machines{refusals}\n\
             It has those of {}: 5.10, 6.1 and 6.12 among them.",
            ARCHIVES[0].1.join(", ")
        )
    }

    /// Fetches programs with all that they depend on, of one release. Returns the root they are unpacked in.
    pub(crate) fn programs(&self, packages: &[&str]) -> Result<PathBuf> {
        let unpacked = self.directory.join(format!("programs-{}", self.architecture.name()));
        // An earlier version of this program may have unpacked others.
        let (note, names) = (unpacked.join("packages"), packages.join("\n"));
        if fs::read_to_string(&note).ok().as_ref() != Some(&names) {
            if unpacked.exists() {
                fs::remove_dir_all(&unpacked)?;
            }
            let debs = tempfile::tempdir_in(&self.directory)?;
            fs::create_dir(debs.path().join("partial"))?;
            // As on a system with nothing on it.
            let mut download = self.run("apt-get");
            download
                .args(["-oDir::State::status=/dev/null", &format!("-oAPT::Default-Release={PROGRAMS_FROM}")]);
            download.arg(format!("-oDir::Cache::archives={}", debs.path().display()));
            download.args(["install", "-q", "--yes", "--no-install-recommends", "--download-only"]);
            output_of(download.args(packages))?;
            unpack(debs.path(), &unpacked)?;
            fs::write(note, names)?;
        }
        Ok(unpacked)
    }

    /// Packages with kernels of a version, the latest last. Each release is a package of its own; the numbers in its name
    /// say which is the latest.
    fn kernels(&self, version: &str) -> Result<Vec<String>> {
        let pattern = format!(
            "^linux-image-{}[.][0-9.]*[-+].*cloud-{}$",
            version.replace('.', "[.]"),
            self.architecture.name()
        );
        let found = output_of(self.run("apt-cache").args(["search", "--names-only", &pattern]))?;
        let mut names: Vec<String> =
            found.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
        names.sort_by_key(|name| {
            name.split(|character: char| !character.is_ascii_digit())
                .filter_map(|digits| digits.parse().ok())
                .collect::<Vec<u64>>()
        });
        Ok(names)
    }

    /// Downloads and unpacks a kernel. From Linux 7 on Debian keeps the kernel and its modules in packages that this one
    /// depends on.
    fn unpacked(&self, package: &str) -> Result<PathBuf> {
        let unpacked = self.directory.join(package);
        if !unpacked.exists() {
            let depends = output_of(self.run("apt-cache").args(["depends", "--important", package]))?;
            let of_kernel =
                |name: &&str| name.starts_with("linux-binary-") || name.starts_with("linux-modules-");
            let parts = depends.split_whitespace().filter(of_kernel);
            let debs = tempfile::tempdir_in(&self.directory)?;
            let mut download = self.run("apt-get");
            output_of(download.args(["download", "-q", package]).args(parts).current_dir(debs.path()))?;
            unpack(debs.path(), &unpacked)?;
        }
        Ok(unpacked)
    }
}

/// Unpacks all packages in a folder.
fn unpack(debs: &Path, to: &Path) -> Result<()> {
    let content = debs.join("content");
    for entry in fs::read_dir(debs)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            output_of(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&content))?;
        }
    }
    fs::rename(content, to).with_context(|| format!("cannot make {}", to.display()))
}

/// Finds a kernel in what was unpacked.
fn kernel_in(root: &Path, architecture: Architecture, package: String) -> Result<Kernel> {
    let places = ["lib/modules", "usr/lib/modules"];
    let modules = places.iter().map(|place| root.join(place)).find(|place| place.exists());
    let modules = only_entry(&modules.with_context(|| format!("{package} has no modules"))?)?;
    let release = modules.file_name().context("modules of a release")?.to_string_lossy().into_owned();
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|path| path.exists());
    let image = image.with_context(|| format!("{package} has no image of a kernel"))?;
    Ok(Kernel { architecture, package, release, image, modules: modules.join("kernel") })
}

fn only_entry(directory: &Path) -> Result<PathBuf> {
    let mut entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let entry = entries.next().with_context(|| format!("{} is empty", directory.display()))??;
    Ok(entry.path())
}
