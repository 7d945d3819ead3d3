//! Settings of the kernel that decide what BPF programs and their readers may do, and the one limit that is raised for them.
//! Decides nothing.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::bounded_text::text;

/// The settings, each `None` where this kernel does not have it.
#[derive(Clone, Debug)]
pub(crate) struct BpfSettings {
    /// Who may attach to classic tracepoints. Distributions have values beyond those of the kernel: Debian 3, Ubuntu 4.
    pub(crate) perf_event_paranoid: Option<i64>,
    /// Whether bpf(2) is for those with CAP_BPF only.
    pub(crate) unprivileged_bpf_disabled: Option<i64>,
    /// Whether programs are compiled.
    pub(crate) bpf_jit_enable: Option<i64>,
    /// Who may read another process's memory, and copy its descriptors (Documentation/admin-guide/LSM/Yama.rst).
    pub(crate) ptrace_scope: Option<i64>,
    /// RLIMIT_MEMLOCK, which maps count against before Linux 5.11.
    pub(crate) memlock: Rlimit,
}

/// Lets maps count against no limit from now on (before Linux 5.11 they count against RLIMIT_MEMLOCK), where this process may
/// say so.
pub(crate) fn raise_memlock() {
    // Who may not has the limit that there is.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

impl BpfSettings {
    /// Reads them.
    pub(crate) fn read(proc: &Path) -> Self {
        let number = |name: &str| text(&proc.join("sys").join(name), 64)?.trim().parse().ok();
        Self {
            perf_event_paranoid: number("kernel/perf_event_paranoid"),
            unprivileged_bpf_disabled: number("kernel/unprivileged_bpf_disabled"),
            bpf_jit_enable: number("net/core/bpf_jit_enable"),
            ptrace_scope: number("kernel/yama/ptrace_scope"),
            memlock: getrlimit(Resource::Memlock),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_have_is_not_known() {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(proc.path().join("sys/kernel")).unwrap();
        std::fs::write(proc.path().join("sys/kernel/perf_event_paranoid"), "-1\n").unwrap();
        let settings = BpfSettings::read(proc.path());
        assert_eq!((settings.perf_event_paranoid, settings.ptrace_scope), (Some(-1), None));
    }
}
