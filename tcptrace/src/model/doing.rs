//! What a process does at this moment, thread by thread. Values only: `process::doing` reads them.

use std::collections::BTreeMap;

use super::pid::Pid;

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

    /// Whether it hardly ever waits for anything, and moves no bytes: an end of file lets nobody rest, and gives none.
    pub(crate) fn is_restless(self) -> bool {
        /// A spinning thread waits for a lock at most, and hardly ever for that.
        const SLEEPS_EVERY_NS: u64 = 50_000_000;
        /// Whoever moves so many bytes has other work.
        const MANY_BYTES: u64 = 1024 * 1024;
        self.moved_bytes < MANY_BYTES && self.sleeps.saturating_mul(SLEEPS_EVERY_NS) <= self.within_ns
    }

    /// Whether an end of file may wake it again and again, as far as processor time tells.
    pub(crate) fn may_spin(self) -> bool {
        self.is_restless() && self.is_much_in_kernel()
    }

    /// Whether system calls took much of it, as they do where each returns at once.
    pub(crate) fn is_much_in_kernel(self) -> bool {
        self.in_kernel_ns.saturating_mul(6) >= self.used_ns
    }
}

/// The latest system call of a thread that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LatestCall {
    pub process: Pid,
    pub tid: Pid,
    /// The name of the call; `None` where something else led into the kernel since, as the timer does that counts
    /// processor time.
    pub name: Option<&'static str>,
    pub arguments: [u64; 2],
    /// What it returned; `None` while it has not.
    pub returned: Option<i64>,
}

/// What the latest calls of a thread that runs were, in samples some ten milliseconds apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallSamples {
    pub taken: u32,
    /// In how many there was a call, of whatever name.
    pub called: u32,
    /// In how many a read gave no bytes, or was under way, by its descriptor.
    pub read: BTreeMap<u32, u32>,
    /// In how many it had not had to wait for any of several descriptors, or had just begun to, and this one was among them
    /// and is reported again and again.
    pub woken_with: BTreeMap<u32, u32>,
    /// In how many it was woken so, and by which descriptors is not known.
    pub woken_unknown: u32,
}

impl LatestCall {
    /// The descriptor of which it read the end, or is about to.
    fn end_read(&self) -> Option<u32> {
        const READS: [&str; 5] = ["read", "readv", "recvfrom", "recvmsg", "recvmmsg"];
        let is_one = READS.contains(&self.name?) && self.returned.is_none_or(|bytes| bytes == 0);
        u32::try_from(self.arguments[0]).ok().filter(|_| is_one)
    }

    /// Whether it is a wait for one of several descriptors that was none, or has just begun. One that returned 0 was over
    /// in time.
    pub(crate) fn is_woken(&self) -> bool {
        const WAITS: [&str; 7] =
            ["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"];
        self.name.is_some_and(|name| WAITS.contains(&name)) && self.returned.is_none_or(|ready| ready > 0)
    }
}

impl CallSamples {
    /// A call may have been the latest for long; what is seen twice is done again and again.
    const SEVERAL: u32 = 2;

    /// Counts a sample, of a call that reports these descriptors again and again; `None` where that is not known.
    pub(crate) fn add(&mut self, call: &LatestCall, reported: Option<&[u32]>) {
        self.taken += 1;
        self.called += u32::from(call.name.is_some());
        self.woken_unknown += u32::from(call.is_woken() && reported.is_none());
        if let Some(fd) = call.end_read() {
            *self.read.entry(fd).or_default() += 1;
        }
        for fd in reported.unwrap_or_default() {
            *self.woken_with.entry(*fd).or_default() += 1;
        }
    }

    /// These and those of another thread of the process.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.taken += other.taken;
        self.called += other.called;
        self.woken_unknown += other.woken_unknown;
        for (fd, times) in &other.read {
            *self.read.entry(*fd).or_default() += times;
        }
        for (fd, times) in &other.woken_with {
            *self.woken_with.entry(*fd).or_default() += times;
        }
        self
    }

    /// The one of these descriptors that is read from again and again while that gives nothing, and in how many samples;
    /// in between it may be asked whether there is something to read.
    pub(crate) fn reads_again(&self, may_be: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
        let read = self.read.iter().map(|(fd, times)| (*fd, *times)).filter(|(fd, _)| may_be(*fd));
        let is_again = |(fd, times): &(u32, u32)| times + self.woken_with(&[*fd]) >= Self::SEVERAL;
        read.filter(is_again).max_by_key(|(_, times)| *times)
    }

    /// In how many samples it was woken while it waited for one of these descriptors.
    pub(crate) fn woken_with(&self, fds: &[u32]) -> u32 {
        fds.iter().filter_map(|fd| self.woken_with.get(fd)).max().copied().unwrap_or_default()
    }

    /// Whether one of these descriptors may be what wakes it again and again.
    pub(crate) fn is_woken_again_with(&self, fds: &[u32]) -> bool {
        self.woken_with(fds) >= Self::SEVERAL
    }

    /// Whether they tell what the thread is busy with.
    pub(crate) fn tell(&self) -> bool {
        let is_woken_again = self.woken_with.values().any(|times| *times >= Self::SEVERAL);
        is_woken_again || self.reads_again(|_| true).is_some()
    }

    /// Whether it may yet be the end of file of these descriptors that the thread is busy with, which costs calls: it is not
    /// known to be busy with another, nor to make none, or only others.
    pub(crate) fn may_spin(&self, cpu: CpuUse, fds: &[u32]) -> bool {
        let is_of_it = |fd: &u32| self.read.contains_key(fd) || self.woken_with.contains_key(fd);
        let may_be_of_it = self.woken_unknown > 0 || fds.iter().any(is_of_it);
        !self.tell() && (may_be_of_it || !(self.are_enough(cpu) || self.calls_again()))
    }

    /// Whether so many, of a thread that calls all the time, do not all miss that. Where it waited for a processor, whoever
    /// takes them may be what has interrupted it, and then they show a call as often only as it is in the kernel.
    pub(crate) fn are_enough(&self, cpu: CpuUse) -> bool {
        const ENOUGH: u32 = 10;
        const ENOUGH_OF_WHO_WAITS: u32 = 20;
        let waits = cpu.waited_ns.saturating_mul(10) >= cpu.within_ns;
        self.taken >= if waits { ENOUGH_OF_WHO_WAITS } else { ENOUGH }
    }

    /// Whether there were samples enough, and none with a call.
    pub(crate) fn calls_never(&self, cpu: CpuUse) -> bool {
        self.called == 0 && self.are_enough(cpu)
    }

    /// Whether it calls again and again, whatever it is.
    pub(crate) fn calls_again(&self) -> bool {
        self.called >= Self::SEVERAL
    }

    /// Whether all may show the same call, of long ago, where no timer interrupts a thread that computes. On such CPUs the
    /// kernel counts its own time exactly.
    pub(crate) fn may_be_stale(&self, in_kernel_ns: u64) -> bool {
        self.called == self.taken && in_kernel_ns == 0
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
    /// Likewise; none where the kernel does not tell.
    pub samples: CallSamples,
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
    fn samples_count_reads_of_nothing_and_waits_that_were_none() {
        let mut samples = CallSamples::default();
        let mut add = |name, first, returned, reported: Option<&[u32]>| {
            let call =
                LatestCall { process: Pid::new(1), tid: Pid::new(1), name, arguments: [first, 0], returned };
            samples.add(&call, reported);
            call.is_woken()
        };
        assert!(!add(Some("recvfrom"), 7, Some(0), None));
        add(Some("read"), 7, None, None);
        add(Some("read"), 7, Some(12), None);
        add(Some("recvfrom"), 8, Some(-11), None);
        assert!(add(Some("epoll_wait"), 3, Some(1), Some(&[7, 9])));
        assert!(!add(Some("epoll_wait"), 3, Some(0), None));
        assert!(add(Some("poll"), 0x7fff_0000_1000, None, Some(&[9])));
        assert!(add(Some("ppoll"), 0, Some(1), None));
        add(Some("write"), 7, Some(0), None);
        add(None, 0, Some(0), None);
        let told = CallSamples {
            taken: 10,
            called: 9,
            read: [(7, 2)].into(),
            woken_with: [(7, 1), (9, 2)].into(),
            woken_unknown: 1,
        };
        assert_eq!(samples, told);
        assert_eq!(samples.reads_again(|fd| fd == 7), Some((7, 2)));
        assert_eq!(samples.reads_again(|fd| fd == 8), None);
        assert!(samples.is_woken_again_with(&[4, 9]) && !samples.is_woken_again_with(&[4, 7]));
        assert!(!samples.may_be_stale(0), "a timer has interrupted it");
        let stale = CallSamples { taken: 5, called: 5, ..CallSamples::default() };
        assert!(stale.may_be_stale(0) && !stale.may_be_stale(1));
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
    fn who_is_never_seen_to_call_does_not_spin_however_busy_the_host_is() {
        let starved = CpuUse { waited_ns: 600_000_000, ..SPINS };
        let samples = |taken, called| CallSamples { taken, called, ..CallSamples::default() };
        assert!(samples(9, 0).may_spin(SPINS, &[4]) && !samples(10, 1).may_spin(SPINS, &[4]));
        assert!(samples(19, 1).may_spin(starved, &[4]), "each may have come when it had just returned");
        assert!(!samples(20, 1).may_spin(starved, &[4]));
        assert!(!samples(10, 2).may_spin(starved, &[4]), "it makes other calls");
        assert!(samples(20, 0).calls_never(starved) && !samples(10, 0).calls_never(starved));
        assert!(samples(10, 0).calls_never(SPINS) && !samples(20, 1).calls_never(SPINS));
        let perhaps = CallSamples { woken_unknown: 1, ..samples(20, 1) };
        assert!(perhaps.may_spin(starved, &[4]));
    }

    #[test]
    fn only_who_never_rests_and_moves_nothing_may_spin() {
        assert!(SPINS.may_spin());
        assert!(CpuUse { sleeps: 9, ..SPINS }.may_spin(), "for a lock, now and then");
        assert!(!CpuUse { sleeps: 4_000, ..SPINS }.may_spin(), "it waits for each message");
        assert!(!CpuUse { moved_bytes: 1 << 30, ..SPINS }.may_spin(), "it writes a log");
        let computes = CpuUse { in_kernel_ns: 0, ..SPINS };
        assert!(!computes.may_spin() && computes.is_restless());
    }
}
