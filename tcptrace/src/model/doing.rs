//! What a process does at this moment, thread by thread. Values only: `process::doing` reads them.

/// The state of a thread (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// It runs, or would if a processor were free.
    Running,
    /// It waits for something, and a signal wakes it.
    Sleeping,
    /// It waits in the kernel, and nothing else wakes it.
    Uninterruptible,
    /// A signal has stopped it.
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// It has ended.
    Ended,
}

impl ThreadState {
    /// From the letter of `stat`; letters of old kernels and of kernel threads count as sleeping.
    pub(crate) fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'D' => Self::Uninterruptible,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'Z' | b'X' | b'x' => Self::Ended,
            _ => Self::Sleeping,
        }
    }
}

/// What a thread that sleeps in a system call waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SleepingCall {
    /// The name of the call.
    pub name: &'static str,
    /// Descriptors that it wants to write to; all that are known, at most a few.
    pub writes_to: Vec<u32>,
    /// Descriptors that it wants to read from or to accept connections of, likewise.
    pub reads_from: Vec<u32>,
    /// Whether those are all: what poll(2) and its relatives wait for may be unreadable, or too much.
    pub is_complete: bool,
}

impl SleepingCall {
    /// The descriptor that it waits for data of, where that is the only thing it waits for; accept(2) waits for no data.
    pub(crate) fn awaited(&self) -> Option<u32> {
        const READS: [&str; 9] =
            ["read", "readv", "recvfrom", "recvmsg", "recvmmsg", "poll", "ppoll", "select", "pselect6"];
        match self.reads_from[..] {
            [fd] if self.is_complete && self.writes_to.is_empty() && READS.contains(&self.name) => Some(fd),
            _ => None,
        }
    }
}

/// Processor time of a thread between two looks, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuUse {
    pub used_ns: u64,
    /// Time that it was ready to run while no processor was free; 0 where the kernel does not count it.
    pub waited_ns: u64,
    /// Of these, in the kernel; to ten milliseconds.
    pub in_kernel_ns: u64,
    pub within_ns: u64,
    /// How often it waited for something of its own accord.
    pub sleeps: u64,
    /// Bytes that it got and gave by read(2), write(2) and their relatives; 0 where the kernel does not count them.
    pub moved_bytes: u64,
}

impl CpuUse {
    /// Whether the thread hardly ever slept: on a host that is busy it gets a part of a processor only. Who gets next to
    /// nothing may have waited for a processor each time that it was to do a little.
    pub(crate) fn is_busy(self) -> bool {
        let wanted_ns = self.used_ns.saturating_add(self.waited_ns);
        wanted_ns.saturating_mul(10) >= self.within_ns.saturating_mul(7)
            && self.used_ns.saturating_mul(10) >= self.within_ns
    }

    /// Whether an end of file may wake it again and again: it lets nobody rest, and gives no bytes.
    pub(crate) fn may_spin(self) -> bool {
        /// A spinning thread waits for a lock at most, and hardly ever for that.
        const SLEEPS_EVERY_NS: u64 = 50_000_000;
        /// Whoever moves so many bytes has other work.
        const MANY_BYTES: u64 = 1024 * 1024;
        self.is_much_in_kernel()
            && self.moved_bytes < MANY_BYTES
            && self.sleeps.saturating_mul(SLEEPS_EVERY_NS) <= self.within_ns
    }

    /// Whether system calls took much of it, as they do where each returns at once.
    pub(crate) fn is_much_in_kernel(self) -> bool {
        self.in_kernel_ns.saturating_mul(6) >= self.used_ns
    }
}

/// What one thread does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThreadDoing {
    pub tid: u32,
    pub state: ThreadState,
    /// The system call that it sleeps in; `None` when it does not, or that cannot be told.
    pub call: Option<SleepingCall>,
    /// The function of the kernel that it waits in; only of one that cannot be interrupted.
    pub waits_in: Option<String>,
    /// Only of one that ran at both looks.
    pub cpu: Option<CpuUse>,
}

/// What a process does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessDoing {
    /// Its threads, the main one first; those that have ended left out.
    pub threads: Vec<ThreadDoing>,
    /// Whether it has more of them than were looked at.
    pub has_more: bool,
    /// The process that traces it.
    pub tracer: Option<u32>,
    /// Whether its cgroup is frozen.
    pub is_frozen: bool,
    /// What it reads all the time, where a thread of it is busy.
    pub reads: Option<BusyReads>,
}

/// What a busy process may read all the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BusyReads {
    /// Descriptors that an epoll instance reports for as long as they have something to read, the end of file too.
    pub epolled: Vec<u32>,
    /// Whether it has an epoll instance at all.
    pub has_epoll: bool,
}

impl BusyReads {
    /// Whether the end of file of one of these descriptors may be what it is busy with.
    pub(crate) fn may_be_of(&self, fds: &[u32]) -> bool {
        !self.has_epoll || fds.iter().any(|fd| self.epolled.contains(fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPINS: CpuUse = CpuUse {
        used_ns: 950_000_000,
        waited_ns: 20_000_000,
        in_kernel_ns: 400_000_000,
        within_ns: 1_000_000_000,
        sleeps: 0,
        moved_bytes: 0,
    };

    #[test]
    fn whoever_reads_from_one_descriptor_alone_waits_for_its_data() {
        let call = |name, reads_from: &[u32]| SleepingCall {
            name,
            writes_to: Vec::new(),
            reads_from: reads_from.to_vec(),
            is_complete: true,
        };
        assert_eq!(call("recvfrom", &[7]).awaited(), Some(7));
        assert_eq!(call("poll", &[7]).awaited(), Some(7), "with a time limit");
        assert_eq!(call("poll", &[7, 8]).awaited(), None);
        assert_eq!(call("accept4", &[7]).awaited(), None);
        assert_eq!(call("epoll_wait", &[7]).awaited(), None, "what it reports may be anything");
        assert_eq!(SleepingCall { writes_to: vec![7], ..call("poll", &[7]) }.awaited(), None);
        assert_eq!(SleepingCall { is_complete: false, ..call("poll", &[7]) }.awaited(), None);
    }

    #[test]
    fn only_who_got_some_of_a_processor_is_busy() {
        assert!(SPINS.is_busy());
        let starved = CpuUse { used_ns: 120_000_000, waited_ns: 850_000_000, ..SPINS };
        assert!(starved.is_busy(), "the host is busy");
        let rests = CpuUse { used_ns: 24_000_000, waited_ns: 900_000_000, ..SPINS };
        assert!(!rests.is_busy(), "it waits for a processor each time that it wakes");
        assert!(!CpuUse { used_ns: 500_000_000, waited_ns: 0, ..SPINS }.is_busy());
    }

    #[test]
    fn only_who_never_rests_and_moves_nothing_may_spin() {
        assert!(SPINS.may_spin());
        assert!(CpuUse { sleeps: 9, ..SPINS }.may_spin(), "for a lock, now and then");
        assert!(!CpuUse { sleeps: 4_000, ..SPINS }.may_spin(), "it waits for each message");
        assert!(!CpuUse { moved_bytes: 1 << 30, ..SPINS }.may_spin(), "it writes a log");
        assert!(!CpuUse { in_kernel_ns: 0, ..SPINS }.may_spin(), "it computes");
    }
}
