//! Which system call a thread sleeps in, and which descriptors it waits for there. What poll(2) and select(2) wait for
//! stands in the memory of the process, which is read, bounded.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use rustix::fs::{Mode, OFlags, openat};
use syscalls::Sysno;

use super::reader::contents;
use crate::model::doing::SleepingCall;

/// Longest `syscall`: a number and eight words.
const SYSCALL_BYTES: u64 = 256;

/// Descriptors of one poll(2) or select(2), and bytes of an epoll's `fdinfo`, beyond which nobody looks.
const MOST_POLLED: u64 = 1_024;
const EPOLL_BYTES: u64 = 64 * 1024;

const POLLIN: u16 = 1;
const POLLOUT: u16 = 4;
/// `EPOLLIN | EPOLLRDNORM | EPOLLRDHUP`
const EPOLL_READS: u32 = 0x1 | 0x40 | 0x2000;

/// The call that a thread of the process sleeps in; `None` when it does not, or that may not be read.
pub(super) fn read(process: &OwnedFd, tid: u32) -> Option<SleepingCall> {
    let file = format!("task/{tid}/syscall");
    let text = || contents(process, &file, SYSCALL_BYTES).ok();
    let before = text()?;
    let (number, arguments) = parse(std::str::from_utf8(&before).ok()?)?;
    let mut call = SleepingCall {
        name: name(number)?,
        writes_to: Vec::new(),
        reads_from: Vec::new(),
        is_complete: true,
    };
    let reads_memory = call.fill(process, arguments);
    // What was read in between belonged to another call.
    (!reads_memory || text()? == before).then_some(call)
}

/// The name of a system call of 64-bit programs; `None` of a number that none has.
pub(crate) fn name(number: usize) -> Option<&'static str> {
    Some(Sysno::new(number)?.name())
}

/// The descriptors that a call which waits for one of several is told of for as long as there is something to read, its end
/// too. `None` of other calls, and where they cannot be read.
pub(super) fn reported_again(
    process: &OwnedFd,
    name: &'static str,
    [first, second]: [u64; 2],
) -> Option<Vec<u32>> {
    if name.starts_with("epoll") {
        return Some(epoll(process, &first.to_string())?.again);
    }
    let mut call = SleepingCall { name, writes_to: Vec::new(), reads_from: Vec::new(), is_complete: true };
    let reads_memory = call.fill(process, [first, second, 0, 0, 0, 0]);
    (reads_memory && call.is_complete).then_some(call.reads_from)
}

/// The number of the call in `syscall` (proc_pid_syscall(5)) and its arguments; `None` of a thread that runs, or waits
/// outside of a call.
pub(crate) fn parse(syscall: &str) -> Option<(usize, [u64; 6])> {
    let mut words = syscall.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((number, arguments))
}

impl SleepingCall {
    /// Adds the descriptors; whether memory was read for that.
    fn fill(&mut self, process: &OwnedFd, [first, second, third, ..]: [u64; 6]) -> bool {
        let descriptor = |word: u64| u32::try_from(word).ok().into_iter().collect::<Vec<_>>();
        let memory = || {
            let memory = openat(process, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            memory.ok().map(File::from)
        };
        let found = match self.name {
            "read" | "readv" | "recvfrom" | "recvmsg" | "recvmmsg" | "accept" | "accept4" => {
                self.reads_from = descriptor(first);
                return false;
            }
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" | "sendfile" => {
                self.writes_to = descriptor(first);
                return false;
            }
            "splice" => {
                (self.reads_from, self.writes_to) = (descriptor(first), descriptor(third));
                return false;
            }
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => {
                self.reads_from = epolled(process, first).unwrap_or_else(|| {
                    self.is_complete = false;
                    Vec::new()
                });
                return false;
            }
            "io_uring_enter" => {
                self.is_complete = false;
                return false;
            }
            "poll" | "ppoll" => memory().and_then(|memory| polled(&memory, first, second)),
            "select" | "pselect6" => memory().and_then(|memory| {
                Some((selected(&memory, first, second)?, selected(&memory, first, third)?))
            }),
            _ => return false,
        };
        self.is_complete = found.is_some();
        (self.reads_from, self.writes_to) = found.unwrap_or_default();
        true
    }
}

/// Bytes of another process's memory.
fn bytes(memory: &File, address: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

/// The descriptors of an array of `struct pollfd`: those to read, those to write.
fn polled(memory: &File, address: u64, count: u64) -> Option<(Vec<u32>, Vec<u32>)> {
    const LENGTH: u64 = 8;
    if count > MOST_POLLED {
        return None;
    }
    let bytes = bytes(memory, address, count * LENGTH)?;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for entry in bytes.chunks_exact(8) {
        let [a, b, c, d, low, high, ..] = *entry else { continue };
        // A negative one is skipped by poll().
        let Ok(fd) = u32::try_from(i32::from_ne_bytes([a, b, c, d])) else { continue };
        let events = u16::from_ne_bytes([low, high]);
        if events & POLLIN != 0 {
            reads.push(fd);
        }
        if events & POLLOUT != 0 {
            writes.push(fd);
        }
    }
    Some((reads, writes))
}

/// The descriptors of an `fd_set`; none where there is no set.
fn selected(memory: &File, count: u64, address: u64) -> Option<Vec<u32>> {
    if address == 0 {
        return Some(Vec::new());
    }
    if count > MOST_POLLED {
        return None;
    }
    let set = bytes(memory, address, count.div_ceil(64) * 8)?;
    let is_set = |fd: &u64| {
        let byte = usize::try_from(fd / 8).ok().and_then(|at| set.get(at));
        byte.is_some_and(|byte| byte & (1 << (fd % 8)) != 0)
    };
    Some((0..count).filter(is_set).filter_map(|fd| u32::try_from(fd).ok()).collect())
}

/// What an epoll instance reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoll {
    /// The descriptors that it reads.
    pub reads: Vec<u32>,
    /// Those of them that are reported again and again: neither edge-triggered nor once only.
    pub again: Vec<u32>,
}

/// The descriptors that an epoll instance reads: lines `tfd: 5 events: 19 data: 5 …` of its `fdinfo`. `None` when there are
/// too many, or it cannot be read.
fn epolled(process: &OwnedFd, epoll: u64) -> Option<Vec<u32>> {
    let text = contents(process, &format!("fdinfo/{epoll}"), EPOLL_BYTES).ok()?;
    if text.len() as u64 == EPOLL_BYTES {
        return None;
    }
    Some(parse_epoll(&String::from_utf8_lossy(&text)))
}

fn parse_epoll(fdinfo: &str) -> Vec<u32> {
    targets(fdinfo).filter(|(_, events)| events & EPOLL_READS != 0).map(|(fd, _)| fd).collect()
}

/// What the epoll instance with this descriptor reports. `None` when that cannot be read.
pub(super) fn epoll(process: &OwnedFd, epoll: &str) -> Option<Epoll> {
    /// `EPOLLET | EPOLLONESHOT`
    const NOT_AGAIN: u32 = 1 << 31 | 1 << 30;
    let text = contents(process, &format!("fdinfo/{epoll}"), EPOLL_BYTES).ok()?;
    let text = String::from_utf8_lossy(&text);
    let is_again = |events: u32| events & EPOLL_READS != 0 && events & NOT_AGAIN == 0;
    let again = targets(&text).filter(|(_, events)| is_again(*events)).map(|(fd, _)| fd).collect();
    Some(Epoll { reads: parse_epoll(&text), again })
}

/// The descriptors of an epoll instance with their events.
fn targets(fdinfo: &str) -> impl Iterator<Item = (u32, u32)> {
    fdinfo.lines().filter_map(|line| {
        let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
        let fd = words.next()?.parse().ok()?;
        let events = words.nth(1).and_then(|events| u32::from_str_radix(events, 16).ok())?;
        Some((fd, events))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_thread_that_runs_sleeps_in_no_call() {
        assert_eq!(parse("running\n"), None);
        assert_eq!(parse("-1 0x7ffc 0x7f11\n"), None);
        let (number, arguments) = parse("45 0x7 0x7f00 0x10000 0x4000 0x0 0x0 0x7ffc 0x7f11\n").unwrap();
        assert_eq!((number, arguments[0], arguments[3]), (45, 7, 0x4000));
    }

    #[test]
    fn an_epoll_instance_tells_what_it_reads() {
        let text = "pos:\t0\nflags:\t02\ntfd:        5 events:       19 data:                5  pos:0 ino:1 sdev:8\n\
                    tfd:        6 events:        4 data: 6\ntfd: 9 events: 80002001 data: 9\n";
        assert_eq!(parse_epoll(text), [5, 9]);
    }

    #[test]
    fn the_sets_of_poll_and_select_are_read_from_memory() {
        let memory = File::open("/proc/self/mem").unwrap();
        let set = [
            libc::pollfd { fd: 7, events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: 8, events: libc::POLLOUT, revents: 0 },
        ];
        assert_eq!(polled(&memory, set.as_ptr() as u64, 3), Some((vec![7], vec![8])));
        assert_eq!(polled(&memory, set.as_ptr() as u64, 5_000), None);
        let words: [u64; 2] = [1 << 3, 1];
        assert_eq!(selected(&memory, 65, words.as_ptr() as u64), Some(vec![3, 64]));
        assert_eq!(selected(&memory, 65, 0), Some(Vec::new()));
        assert_eq!(selected(&memory, 65, 16), None, "no memory there");
    }

    #[test]
    fn a_thread_that_waits_for_bytes_of_a_pipe_is_seen_doing_so() {
        let (reader, writer) = std::io::pipe().unwrap();
        let fd = u32::try_from(reader.as_raw_fd()).unwrap();
        let sleeper = std::thread::spawn(move || {
            let _ = std::io::Read::read(&mut &reader, &mut [0]);
        });
        let process =
            openat(rustix::fs::CWD, "/proc/self", super::super::reader::DIRECTORY, Mode::empty()).unwrap();
        let waits = |entry: std::io::Result<std::fs::DirEntry>| {
            let tid = entry.unwrap().file_name().to_string_lossy().parse().unwrap();
            read(&process, tid).is_some_and(|call| call.name == "read" && call.reads_from == [fd])
        };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !std::fs::read_dir("/proc/self/task").unwrap().any(waits) {
            assert!(std::time::Instant::now() < end, "it is not seen");
        }
        drop(writer);
        sleeper.join().unwrap();
    }
}
