//! Who a process is, as /proc shows it. Reads nothing itself.

use super::{endpoints::Endpoint, pid::Pid};

/// Behind the path of a file that is gone (`d_path` of fs/d_path.c).
const DELETED: &str = " (deleted)";

/// The identity of a process. What could not be read is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The pid in the pid namespace of the proc mount, or of the host where that shows nothing.
    pub pid: Pid,
    /// Name of the main thread, as the process chose it: at most 15 bytes (63 for kernel threads).
    pub comm: String,
    /// Path of the executable, followed by ` (deleted)` if the file is gone. Needs the right to trace the
    /// process; kernel threads have none.
    pub exe: Option<String>,
    /// The arguments, starting with the program's name: at most 64, within the first 4096 bytes. Empty for a
    /// kernel thread and for a zombie.
    pub cmdline: Vec<String>,
    /// Effective user id.
    pub uid: Option<u32>,
    /// When it started, to about a hundredth of a second.
    pub started: Option<jiff::Timestamp>,
    /// When it started, in clock ticks (1/100 s) since boot, as this process's time namespace counts them; negative
    /// before its zero. Together with the pid it identifies the process, even if the pid is reused.
    pub start_ticks: Option<i64>,
    /// The path of its cgroup below the cgroup mount.
    pub cgroup: Option<String>,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
    /// The container it runs in: the short id, or the name.
    pub container: Option<String>,
    /// What people call the container; within a pod, what the pod calls it.
    pub container_name: Option<String>,
    /// The Kubernetes pod it runs in.
    pub pod: Option<String>,
    /// The namespace of the pod in Kubernetes.
    pub pod_namespace: Option<String>,
    /// Whether it runs a 32-bit program on a 64-bit kernel. System calls of such programs pass no tracepoint of their
    /// own (`arch_trace_is_compat_syscall`), so accept() of it is not seen.
    pub is_32_bit: Option<bool>,
}

/// Where a process comes from (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub parent: u32,
    pub session: u32,
}

impl ProcessIdentity {
    /// A process that has ended, or that /proc does not show: only its pid and name are known.
    #[must_use]
    pub fn from_name(pid: Pid, comm: &str) -> Self {
        Self {
            pid,
            comm: comm.to_owned(),
            exe: None,
            cmdline: Vec::new(),
            uid: None,
            started: None,
            start_ticks: None,
            cgroup: None,
            unit: None,
            container: None,
            container_name: None,
            pod: None,
            pod_namespace: None,
            is_32_bit: None,
        }
    }

    /// The path of the executable, whether or not the file is gone.
    #[must_use]
    pub(crate) fn program(&self) -> Option<&str> {
        let exe = self.exe.as_deref()?;
        Some(exe.strip_suffix(DELETED).unwrap_or(exe))
    }

    /// Whether the file of its executable is gone, as after an update.
    #[must_use]
    pub(crate) fn is_replaced(&self) -> bool {
        self.exe.as_deref().is_some_and(|exe| exe.ends_with(DELETED))
    }

    /// Where it runs, as people call it: `pod shop/web-7d9f, container app`, `web (0123456789ab)`, the container's id,
    /// or the unit.
    #[must_use]
    pub(crate) fn place(&self) -> Option<String> {
        let pod = self.pod_path().map(|pod| match &self.container_name {
            Some(container) => format!("pod {pod}, container {container}"),
            None => format!("pod {pod}"),
        });
        pod.or_else(|| self.container_title()).or_else(|| self.unit.clone())
    }

    /// Its command line for people: words with spaces between them, shortened in the middle; the path of the program is
    /// left out, and so is a line that only repeats the name. Not escaped.
    #[must_use]
    pub(crate) fn command(&self) -> Option<String> {
        /// Characters shown of it, and of these before the part that is left out.
        const SHOWN: usize = 64;
        const BEFORE: usize = 24;
        let (program, arguments) = self.cmdline.split_first()?;
        // A process that tells what it does there has it all in one word: `postgres: main: shop SELECT`.
        let is_path = program.starts_with('/') && !program.contains(' ');
        let program = if is_path { program.rsplit('/').next().unwrap_or_default() } else { program };
        let mut line = std::iter::once(program)
            .chain(arguments.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        line.truncate(line.trim_end().len());
        let characters: Vec<char> = line.chars().collect();
        if characters.len() > SHOWN {
            let behind = characters.len() - (SHOWN - BEFORE - 1);
            line = characters[..BEFORE].iter().chain(&['…']).chain(&characters[behind..]).collect();
        }
        (!line.is_empty() && line != self.comm).then_some(line)
    }

    /// The container by its name, with its id: `web (0123456789ab)`.
    #[must_use]
    pub(crate) fn container_title(&self) -> Option<String> {
        let id = self.container.as_deref()?;
        Some(match self.container_name.as_deref().filter(|name| *name != id) {
            Some(name) => format!("{name} ({id})"),
            None => id.to_owned(),
        })
    }

    /// The pod with its namespace: `shop/web-7d9f`.
    #[must_use]
    pub(crate) fn pod_path(&self) -> Option<String> {
        let pod = self.pod.as_deref()?;
        Some(self.pod_namespace.as_deref().map_or_else(|| pod.to_owned(), |of| format!("{of}/{pod}")))
    }
}

/// The connections that wait for accept() at a listener, and how many of them there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptQueue {
    pub length: u32,
    /// The backlog. The kernel lets one more in (`sk_acceptq_is_full` of include/net/sock.h).
    pub limit: u32,
}

impl AcceptQueue {
    /// Whether the kernel drops further connections.
    pub(crate) fn is_full(self) -> bool {
        self.length > self.limit
    }
}

/// A process of which is asked what it has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UseQuery {
    pub pid: Pid,
    /// Its start in clock ticks, which tells it from a later one with the same pid; `None` if not known.
    pub start_ticks: Option<i64>,
    /// Where it listens, with the network namespace.
    pub listens_at: Vec<(u32, Endpoint)>,
}

/// What a process has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProcessUse {
    pub descriptors: DescriptorUse,
    /// The fullest of the queues that were asked for.
    pub queue: Option<AcceptQueue>,
}

/// Descriptors in use by a process, and their limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorUse {
    /// Open descriptors.
    pub used: Option<u64>,
    /// The soft limit (RLIMIT_NOFILE), from which on accept() and open() fail with EMFILE. `None` also if unlimited.
    pub limit: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(cmdline: &[&str]) -> Option<String> {
        let cmdline = cmdline.iter().map(|word| (*word).to_owned()).collect();
        ProcessIdentity { cmdline, ..ProcessIdentity::from_name(Pid::new(7), "java") }.command()
    }

    #[test]
    fn a_command_line_says_which_of_six_java_it_is() {
        assert_eq!(
            command(&["/usr/bin/java", "-jar", "refunds.jar"]).as_deref(),
            Some("java -jar refunds.jar")
        );
        assert_eq!(
            command(&["postgres: main: shop [local] SELECT"]).as_deref(),
            Some("postgres: main: shop [local] SELECT")
        );
        assert_eq!(
            (command(&["/usr/bin/java"]), command(&[]), command(&["java", " ", ""])),
            (None, None, None)
        );
    }

    #[test]
    fn a_long_command_line_keeps_its_beginning_and_its_end() {
        let long = "é".repeat(200);
        let shown = command(&["java", "-cp", &long, "Refunds"]).unwrap_or_default();
        assert_eq!(shown.chars().count(), 64, "{shown}");
        assert!(
            shown.starts_with("java -cp é") && shown.contains('…') && shown.ends_with("é Refunds"),
            "{shown}"
        );
    }
}
