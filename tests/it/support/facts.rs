//! Reads from /proc the truth about the fields that identify an owner.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// What identifies a process that is alive.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub exe: String,
    pub cmdline: Vec<String>,
    pub uid: u32,
    /// One in each hierarchy of the host; the tool shows the most specific one.
    pub cgroups: Vec<String>,
    /// Seconds since 1970.
    pub started: f64,
}

impl Facts {
    pub(crate) fn of(pid: i32) -> Self {
        let thread = living_thread(pid);
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let exe = fs::read_link(format!("/proc/{thread}/exe")).expect("the executable of a test program");
        Self {
            exe: exe.display().to_string(),
            cmdline: fs::read_to_string(format!("/proc/{thread}/cmdline"))
                .expect("a command line")
                .split_terminator('\0')
                .map(str::to_owned)
                .collect(),
            uid: fs::metadata(format!("/proc/{pid}")).expect("a process").uid(),
            // cgroups(7): the number, the controllers, the path.
            cgroups: fs::read_to_string(format!("/proc/{thread}/cgroup"))
                .expect("cgroups")
                .lines()
                .filter_map(|line| line.splitn(3, ':').nth(2))
                .map(str::to_owned)
                .collect(),
            started: started(&read("stat")),
        }
    }
}

/// The process, or a thread of it that has an executable where its main thread has ended.
fn living_thread(pid: i32) -> i32 {
    let lives = |tid: &i32| fs::read_link(format!("/proc/{tid}/exe")).is_ok();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let others = threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    std::iter::once(pid).chain(others).find(lives).unwrap_or(pid)
}

/// Seconds since 1970, from the start time in clock ticks since boot: proc_pid_stat(5), field 22.
fn started(stat: &str) -> f64 {
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks: u32 = fields.split_whitespace().nth(19).and_then(|field| field.parse().ok()).expect("a time");
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = |time: rustix::time::Timespec| time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds(now) - seconds(uptime) + f64::from(ticks) / 100.0
}

/// How many descriptors a process has open, and how many it may have.
pub(crate) fn descriptors(pid: i32) -> (u64, u64) {
    let thread = living_thread(pid);
    let used = fs::read_dir(format!("/proc/{thread}/fd")).expect("a process").count() as u64;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a process");
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("a limit of open files");
    (used, limit)
}
