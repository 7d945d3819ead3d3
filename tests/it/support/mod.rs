//! What the tests share: they start the tool and the test programs, wait for their output, and compare it with the
//! truth.
//!
//! Nothing here waits without a limit, and no process that is started here outlives its test.

pub(crate) mod calls;
pub(crate) mod churn;
pub(crate) mod clear;
pub(crate) mod clock;
pub(crate) mod compare;
pub(crate) mod confined;
pub(crate) mod connections;
pub(crate) mod emulated;
pub(crate) mod facts;
pub(crate) mod far_host;
pub(crate) mod judge;
pub(crate) mod leaky;
pub(crate) mod links;
pub(crate) mod netns;
pub(crate) mod own_pair;
pub(crate) mod pidns;
pub(crate) mod process;
pub(crate) mod reasons;
pub(crate) mod reconnection;
pub(crate) mod recorder;
pub(crate) mod run;
pub(crate) mod shop;
pub(crate) mod sock_destroy;
pub(crate) mod stream;
pub(crate) mod terminal;
pub(crate) mod time_waits;
pub(crate) mod tmpfs;
pub(crate) mod tracer;
pub(crate) mod truth;
pub(crate) mod waiter;
pub(crate) mod walker;

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

/// The limit of every wait: far more than anything takes, because the machine may be busy.
pub(crate) fn limit() -> Duration {
    emulated::stretched(Duration::from_secs(30))
}

pub(crate) const TCPTRACE: &str = env!("CARGO_BIN_EXE_tcptrace");

/// A copy of the tool that every user has access to, wherever the checkout is.
pub(crate) struct EverybodysTool {
    folder: TempDir,
}

impl EverybodysTool {
    /// A child makes the copy: a child of another test could inherit our descriptor that is open for writing, and the
    /// kernel refuses to execute a file that anybody has open for writing.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("the folder is ours");
        let tool = Self { folder };
        let status = Command::new("cp").arg(TCPTRACE).arg(tool.path()).status().expect("cp");
        assert!(status.success(), "cp {TCPTRACE} {}: {status}", tool.path().display());
        tool
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("tcptrace")
    }

    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.path());
        // The checkout may be out of reach.
        command.current_dir("/");
        command
    }
}

/// A golden recording: a session as some version of the tool wrote it.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/recordings").join(name)
}

/// The path of a test program, which cargo builds beside the tool.
pub(crate) fn example(name: &str) -> PathBuf {
    let path = Path::new(TCPTRACE).with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "the test program {} is not there: `cargo build --package tcptrace --examples` makes it",
        path.display()
    );
    path
}

/// Fails a live test that was started without root: it must not pass without having run.
pub(crate) fn require_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test traces the live kernel, which needs root: run `cargo xtask test`"
    );
}

/// Whether the kernel is of this version or a later one.
pub(crate) fn kernel_is_at_least(version: (u32, u32)) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}

/// A port that nobody uses, below the kernel's ephemeral ports.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 8_000) as u16;
    (0..8_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000)
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("no port is free")
}

/// A lock for tests that put the host under load, and for tests that trace the whole host and must not lose a
/// record.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A way into the kernel, as `--backend` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Btf,
    Tracepoint,
}

impl Backend {
    pub(crate) const ALL: [Self; 2] = [Self::Btf, Self::Tracepoint];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Btf => "btf",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// Makes a live test of each function. The suite ignores live tests unless it is asked for them, so that those
/// that did not run never count as passed; a function that is missing here is dead code, which the compiler reports.
macro_rules! live_tests {
    ($($name:ident),* $(,)?) => {
        live_module! { live () $($name)* }
    };
}

/// Makes two live tests of each function that takes a backend: one in module `btf`, one in `tracepoint`.
macro_rules! on_both_backends {
    ($($name:ident),* $(,)?) => {
        live_module! { btf (crate::support::Backend::Btf) $($name)* }
        live_module! { tracepoint (crate::support::Backend::Tracepoint) $($name)* }
    };
}

macro_rules! live_module {
    ($module:ident $arguments:tt $($name:ident)*) => {
        mod $module {
            $(
                #[test]
                #[ignore = "needs root and the live kernel: cargo xtask test"]
                fn $name() {
                    crate::support::require_root();
                    super::$name $arguments;
                }
            )*
        }
    };
}

/// Waits until `is_so` holds.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + limit();
    while !is_so() {
        assert!(std::time::Instant::now() < end, "awaited that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether it is a child that another test of this process has just started: until it executes its program it has all the
/// descriptors of this process.
pub(crate) fn is_about_to_execute(pid: &serde_json::Value) -> bool {
    let own = std::process::id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let is_child = |text: String| text.contains(&format!("\nPPid:\t{own}\n"));
    *pid != own && status.map_or(true, is_child)
}

/// Whether root may read the descriptors of every process, as it may on a host of its own.
pub(crate) fn can_read_every_process() -> bool {
    let refuses = |path: &Path| {
        let error = std::fs::read_dir(path.join("fd")).and_then(|mut table| match table.next() {
            Some(descriptor) => std::fs::read_link(descriptor?.path()).map(|_| ()),
            None => Ok(()),
        });
        error.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .all(|entry| !refuses(&entry.path()))
}
