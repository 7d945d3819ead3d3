//! A network namespace of a row's own: nothing else makes connections there, so what happens in it can be counted.

use super::ground::output_of;
use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";

/// The name goes when this is dropped, and the namespace with its last process.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// Makes one whose loopback interface is up.
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("faults-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        output_of(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self { name };
        output_of(netns.command("ip").args(["link", "set", "lo", "up"]))?;
        Ok(netns)
    }

    /// A file that stands for it.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(NAMES).join(&self.name)
    }

    /// As the tool's `--netns` has it.
    pub(crate) fn inode(&self) -> Result<String> {
        let path = self.path();
        let file = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        Ok(file.ino().to_string())
    }

    /// A command that runs in it, with the pid that it is started with.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs `work` in it.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = File::open(self.path()).context("cannot open a network namespace")?;
        let enter_and_work = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .context("cannot enter a network namespace")?;
            work()
        };
        // In a thread of its own, because there is no way back.
        std::thread::scope(|scope| scope.spawn(enter_and_work).join())
            .map_err(|_| anyhow!("the thread in a network namespace panicked"))?
    }

    /// How many connections were opened in it since it exists, from either side, as the kernel counts them.
    pub(crate) fn opens(&self) -> Result<u64> {
        let text = output_of(self.command("cat").arg("/proc/self/net/snmp"))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = lines.next().zip(lines.next()).context("/proc/net/snmp has no TCP")?;
        let named = names.split(' ').zip(values.split(' '));
        let opens = named.filter(|(name, _)| ["ActiveOpens", "PassiveOpens"].contains(name));
        opens.map(|(_, value)| value.parse::<u64>().context("a counter of TCP")).sum()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = output_of(Command::new("ip").args(["netns", "delete", &self.name])) {
            eprintln!("{error:#}");
        }
    }
}
