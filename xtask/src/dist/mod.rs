//! `cargo xtask dist`: makes what is handed out, for each processor: one static binary with its debug file and the list
//! of what is in it, an archive, a .deb and an .rpm. All of it is made twice, in two folders, and has to be the same.

mod architecture;
mod binary;
mod check;
mod packages;
mod sources;
mod tree;

pub(crate) use architecture::Architecture;

use crate::cargo::{build, workspace};
use crate::prepare::Prepare;
use anyhow::{Context, Result, bail};
use architecture::ARCHITECTURES;
use binary::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Programs that packing needs, and that not every system has.
pub(crate) const PROGRAMS: [&str; 3] = ["dpkg-deb", "rpmbuild", "git"];

/// Debian's packages with these programs.
pub(crate) const PACKAGES: [&str; 3] = ["dpkg", "rpm", "git"];

/// Programs that cargo installs, with their versions: one has the linker put in the list of crates, the other reads it.
pub(crate) const CARGO_PROGRAMS: [(&str, &str); 2] =
    [("cargo-auditable", "0.7.7"), ("auditable2cdx", "0.1.0")];

/// Arguments of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Dist {
    #[command(flatten)]
    prepare: Prepare,
    /// For these processors only
    #[arg(long, value_name = "PROCESSOR")]
    only: Vec<Architecture>,
    /// Make everything once, of the files as they are, committed or not: not for handing out
    #[arg(long)]
    draft: bool,
}

/// Where something is made.
pub(crate) struct Place {
    /// The folder with the sources.
    pub sources: PathBuf,
    /// Where cargo builds.
    pub build: PathBuf,
    /// Where it is put.
    pub out: PathBuf,
}

impl Place {
    /// The man pages and the completions.
    fn manual(&self) -> PathBuf {
        self.build.join("manual")
    }
}

impl Dist {
    /// Leaves everything in target/dist/out.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        let architectures = if self.only.is_empty() { ARCHITECTURES.to_vec() } else { self.only };
        self.prepare.execute_to_hand_out(&architectures)?;
        if !self.draft {
            sources::require_committed()?;
        }
        let epoch = sources::commit_time()?;
        let workspace = workspace().canonicalize()?;
        let dist = workspace.join("target/dist");
        let first = Place { sources: workspace, build: dist.join("build"), out: dist.join("out") };
        let [manual] = build(false, [("--example", "manual")])?;
        make(&first, &architectures, &manual, &epoch)?;
        let names = files(&first.out)?;
        if !self.draft {
            let again = dist.join("again");
            let second =
                Place { sources: again.join("sources"), build: again.join("build"), out: again.join("out") };
            sources::copy_commit(&second.sources)?;
            make(&second, &architectures, &manual, &epoch)?;
            require_same(&first.out, &second.out, &names)?;
            println!("Made twice, in two folders, with the same bytes.");
        }
        let sums = run(Command::new("sha256sum").args(&names).current_dir(&first.out))?;
        fs::write(first.out.join("SHA256SUMS"), &sums)?;
        print!("{}", String::from_utf8_lossy(&sums));
        println!("All of it is in {}", first.out.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes everything in one place.
fn make(place: &Place, architectures: &[Architecture], manual: &Path, epoch: &str) -> Result<()> {
    for folder in [&place.out, &place.manual()] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    run(Command::new(manual).arg(place.manual()).env("SOURCE_DATE_EPOCH", epoch))?;
    for architecture in architectures {
        println!("{} in {}", architecture.target(), place.sources.display());
        let binary = binary::build(place, *architecture)?;
        check::check(&binary)?;
        let items = tree::items(place, &binary)?;
        packages::pack(place, *architecture, &items, epoch)?;
    }
    Ok(())
}

/// The files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<String>> {
    let found = run(Command::new("find").args([".", "-type", "f", "-printf", "%P\\n"]).current_dir(folder))?;
    let mut names: Vec<_> = String::from_utf8(found)?.lines().map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// Compares what was made twice.
fn require_same(first: &Path, second: &Path, names: &[String]) -> Result<()> {
    let mut differ = Vec::new();
    for name in names {
        if fs::read(first.join(name))? != fs::read(second.join(name))? {
            differ.push(name.as_str());
        }
    }
    if !differ.is_empty() || files(second)? != names {
        bail!(
            "made twice, and not the same: {}. Compare {} with {}, with diffoscope for example",
            differ.join(", "),
            first.display(),
            second.display()
        );
    }
    Ok(())
}
