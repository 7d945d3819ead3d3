//! Counts the system calls of a process, by a tracing instance of the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mount::{MountFlags, mount};

/// Where every kernel since 4.1 has its tracing files. The tests mount them where nobody has yet, and leave them there.
static TRACEFS: LazyLock<&Path> = LazyLock::new(|| {
    let path = Path::new("/sys/kernel/tracing");
    if !path.join("instances").exists() {
        mount("tracefs", path, "tracefs", MountFlags::empty(), None).expect("tracefs can be mounted (root?)");
    }
    path
});

/// Counts until it is dropped.
pub(crate) struct Calls {
    instance: PathBuf,
}

impl Calls {
    /// Starts to count these calls of all threads of a process.
    pub(crate) fn of(pid: i32, names: &[&str]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tcptrace-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let instance = TRACEFS.join("instances").join(name);
        fs::create_dir(&instance).expect("a tracing instance");
        let calls = Self { instance };
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
        let threads: Vec<String> =
            threads.map(|thread| thread.unwrap().file_name().into_string().unwrap()).collect();
        calls.set("options/event-fork", "1");
        calls.set("set_event_pid", &threads.join(" "));
        for name in names {
            calls.set(&format!("events/syscalls/sys_enter_{name}/enable"), "1");
        }
        calls
    }

    fn set(&self, file: &str, value: &str) {
        let path = self.instance.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The number of calls so far.
    pub(crate) fn count(&self) -> usize {
        let trace = fs::read_to_string(self.instance.join("trace")).expect("the trace");
        trace.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).count()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // An instance that stays behind is a nuisance, not a failure.
        let _ = fs::remove_dir(&self.instance);
    }
}
