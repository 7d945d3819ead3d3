//! Installs what building tcptrace needs and this host lacks, and says first what and why.
//!
//! With `--no-install` it only says so and ends with exit code 3. It changes nothing on a host that has everything, and
//! never replaces a compiler that works.

use crate::bpf_toolchain::{self, Compiler, Missing};
use crate::cargo::cargo;
use crate::dist::{self, Architecture};
use crate::package_manager::PackageManager;
use crate::privilege::has_program;
use crate::{faults, kernel};
use crate::{real, scenes};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of bpf-linker that works with Cargo.lock.
const BPF_LINKER: &str = "0.13.0";

/// The exit code for a host that lacks something, the same as tcptrace's own.
const HOST_LACKS: i32 = 3;

/// Options of every verb that builds.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Prepare {
    /// Install nothing: only say what is missing and how it would be installed
    #[arg(long)]
    no_install: bool,
}

impl Prepare {
    /// Returns once the host has everything that building needs. With `--no-install` and something missing, ends the
    /// program.
    pub(crate) fn execute(self) -> Result<()> {
        self.install(Wanted::ToBuild)
    }

    /// As [`Prepare::execute`], with the programs of others that the live tests run.
    pub(crate) fn execute_for_live_tests(self) -> Result<()> {
        self.install(Wanted::ForLiveTests)
    }

    /// As [`Prepare::execute_for_live_tests`], with the tracers of others, where Debian has them.
    pub(crate) fn execute_for_faults(self) -> Result<()> {
        self.install(Wanted::ForFaults)
    }

    /// As [`Prepare::execute_for_live_tests`], with what runs other kernels on this processor.
    pub(crate) fn execute_for_other_kernels(self, architecture: Architecture) -> Result<()> {
        self.install(Wanted::ForOtherKernels(architecture))
    }

    /// As [`Prepare::execute`], with the software that scenes run.
    pub(crate) fn execute_for_scenes(self) -> Result<()> {
        self.install(Wanted::ForScenes)
    }

    /// As [`Prepare::execute`], with the languages and the software whose lines of code are looked for.
    pub(crate) fn execute_for_real_software(self) -> Result<()> {
        self.install(Wanted::ForRealSoftware)
    }

    /// As [`Prepare::execute`], with what makes packages for these processors.
    pub(crate) fn execute_to_hand_out(self, architectures: &[Architecture]) -> Result<()> {
        self.install(Wanted::ToHandOut(architectures))
    }

    fn install(self, wanted: Wanted<'_>) -> Result<()> {
        let mut installer = Installer {
            manager: PackageManager::detect(),
            only_show: self.no_install,
            updated: false,
            missing: 0,
        };
        if bpf_toolchain::compilers().is_empty() {
            installer.bpf_compiler()?;
        }
        // With `--no-install` the compiler may still be missing, and then the LLVM to build against is unknown.
        match bpf_toolchain::find() {
            Ok(_) => {}
            Err(Missing::Compiler) if self.no_install => {
                installer.announce(
                    "bpf-linker, built against the LLVM of that compiler; it links the kernel side",
                );
            }
            Err(missing @ Missing::Compiler) => return Err(missing.into()),
            Err(missing @ (Missing::Linker { .. } | Missing::OlderLinker { .. })) => {
                installer.bpf_linker(&missing)?;
            }
        }
        match wanted {
            Wanted::ToBuild => {}
            Wanted::ForLiveTests => installer.test_programs()?,
            Wanted::ForFaults => {
                installer.test_programs()?;
                // Elsewhere the row says which of them ran.
                if installer.manager == Some(PackageManager::Apt) {
                    installer.software(&faults::PACKAGES, "run beside tcptrace")?;
                }
            }
            Wanted::ForOtherKernels(architecture) => {
                installer.test_programs()?;
                installer.virtual_machine(architecture)?;
            }
            Wanted::ForScenes => installer.software(&scenes::PACKAGES, "scenes run")?,
            Wanted::ForRealSoftware => installer.software(&real::PACKAGES, "`test --real` runs")?,
            Wanted::ToHandOut(architectures) => installer.packagers(architectures)?,
        }
        if installer.only_show && installer.missing > 0 {
            eprintln!(
                "Nothing was installed, because of --no-install. Without it, the above is done for you."
            );
            std::process::exit(HOST_LACKS);
        }
        bpf_toolchain::find().map(drop).context("installed, and still not found")
    }
}

/// What the host has to be ready for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted<'a> {
    ToBuild,
    ForLiveTests,
    ForFaults,
    ForOtherKernels(Architecture),
    ForScenes,
    ForRealSoftware,
    ToHandOut(&'a [Architecture]),
}

struct Installer {
    manager: Option<PackageManager>,
    only_show: bool,
    updated: bool,
    missing: u32,
}

impl Installer {
    fn announce(&mut self, what_and_why: &str) {
        self.missing += 1;
        println!("Missing: {what_and_why}.");
    }

    fn bpf_compiler(&mut self) -> Result<()> {
        self.announce(&format!(
            "a Rust compiler for {}; it compiles the kernel side",
            bpf_toolchain::target()
        ));
        if self.debian_compiler()? {
            return Ok(());
        }
        if !has_program("rustup") {
            bail!(Missing::Compiler);
        }
        let mut rustup = Command::new("rustup");
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
        self.run(rustup).context(Missing::Compiler)
    }

    /// Installs Debian's compiler, which ships `core` for BPF. False where Debian has no such package.
    fn debian_compiler(&mut self) -> Result<bool> {
        let Some(manager @ PackageManager::Apt) = self.manager else { return Ok(false) };
        self.update()?;
        if !manager.offers("libstd-rust-web-dev-bpf") {
            return Ok(false);
        }
        self.run(manager.install(&["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"])?)?;
        Ok(true)
    }

    fn bpf_linker(&mut self, missing: &Missing) -> Result<()> {
        self.announce(match missing {
            Missing::OlderLinker { .. } => "a bpf-linker as new as the compiler; it links the kernel side",
            Missing::Linker { .. } | Missing::Compiler => "bpf-linker; it links the kernel side",
        });
        let Some(manager) = self.manager else { bail!("cannot install it here: {missing}") };
        let mut compilers = bpf_toolchain::compilers();
        let has_llvm = |compiler: &Compiler| debian_llvm(compiler.llvm).join("include/llvm").exists();
        if manager != PackageManager::Apt || !has_program("c++") || !compilers.iter().any(has_llvm) {
            self.update()?;
            let offered = |compiler: &Compiler| manager.offers(&format!("llvm-{}-dev", compiler.llvm));
            // A nightly may use a later LLVM than this release packages; Debian's own compiler does not.
            if !compilers.iter().any(offered) && self.debian_compiler()? {
                if self.only_show {
                    return Ok(());
                }
                compilers = bpf_toolchain::compilers();
            }
            let Some(compiler) = compilers.iter().find(|compiler| offered(compiler)) else {
                bail!("no package has the LLVM it needs. {missing}");
            };
            self.run(manager.install(&manager.llvm(compiler.llvm))?)?;
        }
        let (llvm, prefix) = if manager == PackageManager::Apt {
            // With `--no-install` it is not there yet: any compiler will do to show the command.
            let compiler = compilers.iter().find(|compiler| has_llvm(compiler)).or(compilers.first());
            let llvm = compiler.ok_or(Missing::Compiler)?.llvm;
            (llvm, debian_llvm(llvm))
        } else {
            system_llvm().with_context(|| format!("llvm-config says nothing. {missing}"))?
        };
        if llvm < compilers.iter().map(|compiler| compiler.llvm).min().unwrap_or(llvm) {
            bail!("this system's LLVM {llvm} is too old. {missing}");
        }
        let mut install = cargo();
        install.args(["install", "bpf-linker", "--locked", "--force", "--version", BPF_LINKER]);
        install.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
        install.env("LLVM_PREFIX", prefix);
        self.run(install)
    }

    /// Installs the programs with which live tests make networks, count sockets, get a terminal, and leak in PHP and Ruby.
    fn test_programs(&mut self) -> Result<()> {
        self.programs(
            &["ip", "ss", "script", "php", "ruby"],
            "which live tests run",
            PackageManager::test_programs,
        )
    }

    /// Installs what boots other kernels.
    fn virtual_machine(&mut self, architecture: Architecture) -> Result<()> {
        if self.manager != Some(PackageManager::Apt) {
            bail!("other kernels are taken from Debian's archive: use a Debian for it");
        }
        let emulator = kernel::Emulator::of(architecture);
        self.programs(&[emulator.program], "which boots other kernels", |_| emulator.packages)?;
        self.programs(&kernel::PROGRAMS, "which make what they run", |_| &kernel::PACKAGES)?;
        if architecture.is_of_this_host() { Ok(()) } else { self.compiler_for(architecture) }
    }

    /// Installs what builds for a processor: a linker with a C library, and the standard library of Rust.
    fn compiler_for(&mut self, architecture: Architecture) -> Result<()> {
        let target = architecture.target();
        if !has_program(&architecture.tool("gcc")) {
            self.announce(&format!("a linker and a C library for {target}"));
            let Some(manager) = self.manager else { bail!("cannot install a linker for {target} here") };
            self.update()?;
            self.run(manager.install(&architecture.packages())?)?;
        }
        if !architecture.has_std() {
            self.announce(&format!("Rust's standard library for {target}"));
            let mut rustup = Command::new("rustup");
            rustup.args(["target", "add", target]);
            self.run(rustup)?;
        }
        Ok(())
    }

    /// Installs what builds for other processors, and what packs.
    fn packagers(&mut self, architectures: &[Architecture]) -> Result<()> {
        if self.manager != Some(PackageManager::Apt) {
            bail!("packages are made with Debian's compilers and C libraries: use a Debian for it");
        }
        self.programs(&dist::PROGRAMS, "which make packages", |_| &dist::PACKAGES)?;
        for architecture in architectures {
            self.compiler_for(*architecture)?;
        }
        for (name, version) in dist::CARGO_PROGRAMS {
            if !has_program(name) {
                self.announce(&format!("{name}, which lists the crates of a binary"));
                let mut install = cargo();
                install.args(["install", name, "--locked", "--version", version]);
                self.run(install)?;
            }
        }
        Ok(())
    }

    /// Installs Debian's packages of software that is run. Its services stay down.
    fn software(&mut self, packages: &[&'static str], purpose: &str) -> Result<()> {
        let Some(manager @ PackageManager::Apt) = self.manager else {
            bail!("the software that {purpose} is what Debian packages: use a Debian for it");
        };
        let absent: Vec<&str> =
            packages.iter().copied().filter(|package| !manager.has_installed(package)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        self.announce(&format!("{}, which {purpose}; no service of theirs is started", absent.join(", ")));
        self.update()?;
        self.run(manager.install_without_services(&absent)?)
    }

    /// Installs `packages` unless all `programs` exist.
    fn programs(
        &mut self,
        programs: &[&str],
        purpose: &str,
        packages: impl Fn(PackageManager) -> &'static [&'static str],
    ) -> Result<()> {
        let absent: Vec<&str> = programs.iter().copied().filter(|program| !has_program(program)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let absent = absent.join(", ");
        self.announce(&format!("{absent}, {purpose}"));
        let Some(manager) = self.manager else {
            let packages = packages(PackageManager::Apt).join(" and ");
            bail!("cannot install {absent} here: on Debian {packages} have them")
        };
        self.update()?;
        self.run(manager.install(packages(manager))?)
    }

    fn update(&mut self) -> Result<()> {
        let update = self.manager.map(PackageManager::update).transpose()?.flatten();
        match update {
            Some(update) if !std::mem::replace(&mut self.updated, true) => self.run(update),
            _ => Ok(()),
        }
    }

    /// Shows the command, and runs it unless nothing is to be installed.
    fn run(&self, mut command: Command) -> Result<()> {
        let words = in_words(&command);
        println!("  $ {words}");
        if self.only_show {
            return Ok(());
        }
        command.env("DEBIAN_FRONTEND", "noninteractive");
        let status = command.status().with_context(|| format!("cannot run `{words}`"))?;
        if !status.success() {
            bail!("`{words}` failed ({status}): see its messages above");
        }
        Ok(())
    }
}

/// The command as a user would type it.
fn in_words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), value?.to_string_lossy())));
    let words =
        [program].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy().into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

/// Where Debian's llvm-N-dev installs LLVM.
fn debian_llvm(major: u32) -> PathBuf {
    format!("/usr/lib/llvm-{major}").into()
}

/// The major version and the prefix of the LLVM whose `llvm-config` is in PATH.
fn system_llvm() -> Option<(u32, PathBuf)> {
    let ask = |question| {
        let answer = Command::new("llvm-config").arg(question).output().ok()?;
        Some(String::from_utf8(answer.stdout).ok()?.trim().to_owned())
    };
    let major = ask("--version")?.split('.').next()?.parse().ok()?;
    Some((major, ask("--prefix")?.into()))
}
