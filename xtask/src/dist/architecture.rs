//! The processors that tcptrace is built for, by the names that each packager gives them.

use crate::bpf_toolchain::has_precompiled;
use std::path::Path;
use std::process::Command;

/// A processor.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    #[value(name = "amd64", alias = "x86_64")]
    Amd64,
    #[value(name = "arm64", alias = "aarch64")]
    Arm64,
}

/// All of them.
pub(crate) const ARCHITECTURES: [Architecture; 2] = [Architecture::Amd64, Architecture::Arm64];

impl Architecture {
    /// That of this host, where it is one of these.
    pub(crate) fn of_this_host() -> Option<Self> {
        ARCHITECTURES.into_iter().find(|architecture| architecture.is_of_this_host())
    }

    /// As Debian, container images and Go call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As the kernel, rpm and GNU call it.
    pub(crate) fn gnu_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The target of rustc. Its standard library is linked with glibc, which Debian has as an archive for both.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// One of the GNU tools for it: `gcc`, `objcopy`, …
    pub(crate) fn tool(self, name: &str) -> String {
        format!("{}-linux-gnu-{name}", self.gnu_name())
    }

    /// Debian's packages with these tools and with glibc's archive.
    pub(crate) fn packages(self) -> Vec<String> {
        let name = self.gnu_name().replace('_', "-");
        // On the same processor the C library is that of the system.
        let libc = if self.is_of_this_host() {
            "libc6-dev".to_owned()
        } else {
            format!("libc6-dev-{}-cross", self.name())
        };
        vec![format!("gcc-{name}-linux-gnu"), libc]
    }

    /// Has cargo build for it.
    pub(crate) fn build_for(self, cargo: &mut Command) -> &mut Command {
        let target = self.target();
        let gcc = self.tool("gcc");
        cargo
            .args(["--target", target])
            .env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_")), &gcc)
            .env(format!("CC_{}", target.replace('-', "_")), &gcc)
    }

    /// Whether programs for it run here.
    pub(crate) fn is_of_this_host(self) -> bool {
        self.gnu_name() == std::env::consts::ARCH
    }

    /// Whether rustc has the standard library for it.
    pub(crate) fn has_std(self) -> bool {
        has_precompiled("libstd-", Path::new("rustc"), self.target())
    }
}
