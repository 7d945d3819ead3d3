//! The distribution's package manager, as far as `prepare` needs it. It never decides what to install.

use crate::privilege::{as_root, has_program};
use anyhow::Result;
use std::process::Command;

/// The package managers that `prepare` knows package names for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackageManager {
    Apt,
    Dnf,
    Pacman,
}

impl PackageManager {
    /// The package manager of this host, if it is one of these.
    pub(crate) fn detect() -> Option<Self> {
        [("apt-get", Self::Apt), ("dnf", Self::Dnf), ("pacman", Self::Pacman)]
            .into_iter()
            .find_map(|(program, manager)| has_program(program).then_some(manager))
    }

    /// The packages with LLVM's headers and libraries, and the C++ library they need.
    pub(crate) fn llvm(self, major: u32) -> Vec<String> {
        match self {
            Self::Apt => vec!["g++".into(), format!("llvm-{major}-dev")],
            Self::Dnf => vec!["gcc-c++".into(), "llvm-devel".into()],
            Self::Pacman => vec!["gcc".into(), "llvm".into()],
        }
    }

    /// The packages with `ip`, `ss`, `script`, `php` and `ruby`.
    pub(crate) fn test_programs(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["iproute2", "bsdutils", "php-cli", "ruby"],
            Self::Dnf => &["iproute", "util-linux-script", "php-cli", "ruby"],
            Self::Pacman => &["iproute2", "util-linux", "php", "ruby"],
        }
    }

    /// The command that updates the list of packages, which only apt needs.
    pub(crate) fn update(self) -> Result<Option<Command>> {
        if self != Self::Apt {
            return Ok(None);
        }
        let mut command = as_root("apt-get")?;
        command.args(["update", "-q"]);
        Ok(Some(command))
    }

    /// The command that installs `packages` without asking questions.
    pub(crate) fn install(self, packages: &[impl AsRef<str>]) -> Result<Command> {
        let (program, arguments): (_, &[&str]) = match self {
            Self::Apt => ("apt-get", &["install", "-q", "-y", "--no-install-recommends"]),
            Self::Dnf => ("dnf", &["install", "-y"]),
            Self::Pacman => ("pacman", &["-S", "--needed", "--noconfirm"]),
        };
        let mut command = as_root(program)?;
        command.args(arguments).args(packages.iter().map(AsRef::as_ref));
        Ok(command)
    }

    /// As [`PackageManager::install`] with apt, where no service of the packages is started: the policy that says so
    /// goes when apt has ended, whatever its end.
    pub(crate) fn install_without_services(self, packages: &[impl AsRef<str>]) -> Result<Command> {
        let script = "p=/usr/sbin/policy-rc.d; \
             [ -e $p ] || { trap 'rm -f $p' EXIT; printf '#!/bin/sh\\nexit 101\\n' >$p; chmod 755 $p; }; \
             DEBIAN_FRONTEND=noninteractive \"$@\"";
        let install = self.install(packages)?;
        let words = install.get_args().filter(|word| *word != "apt-get");
        let mut command = as_root("sh")?;
        command.args(["-c", script, "sh", "apt-get"]).args(words);
        Ok(command)
    }

    /// True when apt has installed this package.
    pub(crate) fn has_installed(self, package: &str) -> bool {
        self == Self::Apt
            && Command::new("dpkg-query")
                .args(["-W", "-f", "${db:Status-Status}", package])
                .output()
                .is_ok_and(|shown| shown.stdout == b"installed")
    }

    /// True unless the package is known not to exist.
    pub(crate) fn offers(self, package: &str) -> bool {
        self != Self::Apt
            || Command::new("apt-cache")
                .args(["show", "--no-all-versions", package])
                .output()
                .is_ok_and(|shown| shown.status.success() && !shown.stdout.is_empty())
    }
}
