//! Who uses a socket that is in no descriptor table: a thread that sleeps in a call on it, because the descriptor was
//! closed meanwhile, an io_uring ring, or a process that has it mapped. Names nobody without proof.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

use rustc_hash::{FxHashMap, FxHashSet};
use tcptrace_ebpf::record::SleeperRecord;

use super::{dump::ListingIndex, inspector::Inspector, proc_fd};
use crate::{
    host::bounded_text::text,
    model::{
        endpoints::Endpoint,
        finding::Finding,
        holders::Holders,
        owner::Evidence,
        pid::Pid,
        state::StateSet,
        task::Call,
        verdict::{UnknownBecause, Verdict},
    },
    netlink::DiagSocket,
    process::calls,
};

/// Read of what a ring says of itself: a registered file is a line.
const MOST_RING_BYTES: u64 = 16 << 20;

/// Read of what a process has mapped, and of all together: the kernel takes half a second for it.
const MOST_MAPS_BYTES: u64 = 16 << 20;
const MOST_BYTES_OF_ALL_MAPS: u64 = 32 << 20;

/// Longest `syscall` file: a number and eight words.
const SYSCALL_BYTES: u64 = 256;

/// The users of sockets, by cookie.
#[derive(Debug, Default)]
struct Users {
    in_call: FxHashMap<u64, Holders>,
    rings: FxHashMap<u64, Holders>,
    mapped: FxHashMap<u64, Holders>,
}

impl Inspector {
    /// Names the users of sockets that nobody has a descriptor of.
    pub(super) fn find_users<'a>(
        &mut self,
        findings: impl Iterator<Item = &'a mut Finding>,
        index: &ListingIndex,
    ) {
        let unheld: Vec<&mut Finding> = findings
            .filter(|finding| {
                let may_be = finding.unknown_because.is_some_and(UnknownBecause::is_of_holder);
                let is_held = finding.owners.iter().any(|owner| owner.evidence == Evidence::FdTable);
                finding.is_stuck && (finding.verdict == Some(Verdict::NoHolder) || (may_be && !is_held))
            })
            .collect();
        // Without an inode there is no file that anything could use, but that of its listener.
        let listed: Vec<&(u32, DiagSocket)> =
            unheld.iter().filter_map(|finding| index.find(&finding.socket)).collect();
        let listeners = self.listeners_of(listed.iter().filter(|(_, socket)| socket.inode == 0));
        let inodes: FxHashMap<u32, u64> = listed
            .iter()
            .map(|(_, socket)| socket)
            .chain(listeners.values())
            .filter(|socket| socket.inode != 0)
            .map(|socket| (socket.inode, socket.cookie))
            .collect();
        if inodes.is_empty() {
            return;
        }
        let mut users = Users::default();
        users.add_registered(&self.dumper.world().proc, &inodes);
        users.add_mapped(&self.dumper.world().proc, &inodes);
        if self.tables.load_sleepers() {
            let namespaces: FxHashSet<u32> =
                unheld.iter().filter_map(|finding| finding.socket.netns).collect();
            let wanted = inodes.values().copied().collect();
            let sleepers = self.sleepers(&namespaces, &wanted);
            let proc_root = self.dumper.world().proc.clone();
            let calls: Vec<(SleeperRecord, Evidence)> = sleepers
                .iter()
                .filter_map(|sleeper| Some((*sleeper, evidence(&proc_root, sleeper)?)))
                .collect();
            // Whoever slept before the look at /proc and after it slept through it.
            let still = if calls.is_empty() { Vec::new() } else { self.sleepers(&namespaces, &wanted) };
            for (sleeper, evidence) in calls.into_iter().filter(|(sleeper, _)| still.contains(sleeper)) {
                users.add_thread(&sleeper, evidence);
            }
        }
        for finding in unheld {
            let opener: Option<Call> = finding.opened_by.as_ref().map(|opened| opened.called.call);
            let Some(cookie) = finding.socket.cookie else { continue };
            let cookie = listeners.get(&cookie).map_or(cookie, |listener| listener.cookie);
            let named = [
                (Evidence::InCall, &users.in_call),
                (Evidence::IoUring, &users.rings),
                (Evidence::Mapped, &users.mapped),
            ];
            let owners: Vec<_> = named
                .into_iter()
                .filter_map(|(evidence, by_cookie)| Some((evidence, by_cookie.get(&cookie)?)))
                .flat_map(|(evidence, holders)| self.processes.owners(holders, evidence, opener))
                .collect();
            if !owners.is_empty() {
                finding.owners = owners;
                if finding.unknown_because == Some(UnknownBecause::ListenerNotFound) {
                    finding.unknown_because = None;
                }
            }
        }
    }

    /// The listener that each of these sockets waits for, by its cookie: the closest one with a backlog.
    fn listeners_of<'a>(
        &mut self,
        waiting: impl Iterator<Item = &'a &'a (u32, DiagSocket)> + Clone,
    ) -> FxHashMap<u64, DiagSocket> {
        let namespaces: FxHashSet<u32> = waiting.clone().map(|(netns, _)| *netns).collect();
        if namespaces.is_empty() {
            return FxHashMap::default();
        }
        let listed = self.dumper.list(StateSet::LISTEN, &namespaces).sockets.into_iter();
        // Of a listener, the length of its queue.
        let listening: FxHashMap<(u32, Endpoint), DiagSocket> = listed
            .filter(|(_, listener)| listener.recv_q != 0)
            .map(|(netns, listener)| ((netns, listener.local), listener))
            .collect();
        let listener = |(netns, socket): &(u32, DiagSocket)| {
            let addresses = socket.local.listened_at();
            let listener = addresses.into_iter().find_map(|at| listening.get(&(*netns, at)))?;
            Some((socket.cookie, listener.clone()))
        };
        waiting.filter_map(|waiting| listener(waiting)).collect()
    }

    /// What sleeps on these sockets.
    fn sleepers(&mut self, namespaces: &FxHashSet<u32>, wanted: &FxHashSet<u64>) -> Vec<SleeperRecord> {
        let mut sleepers = Vec::new();
        for netns in namespaces {
            let Some(namespace) = self.dumper.namespace(*netns) else { continue };
            let tables = &mut self.tables;
            let look = || {
                tables.sleepers(|sleeper| {
                    if wanted.contains(&sleeper.cookie) {
                        sleepers.push(sleeper);
                    }
                });
            };
            if let Err(error) = namespace.run_inside(look) {
                log::debug!("network namespace {netns}: {error}");
            }
        }
        sleepers
    }
}

impl Users {
    fn add_ring(&mut self, cookie: u64, pid: u32, fd: u32) {
        let fds = self.rings.entry(cookie).or_default().entry(Pid::new(pid)).or_default();
        if !fds.contains(&fd) {
            fds.push(fd);
            fds.sort_unstable();
        }
    }

    /// Adds the rings that the sockets are registered with, which the rings say of themselves.
    fn add_registered(&mut self, proc_root: &Path, inodes: &FxHashMap<u32, u64>) {
        for (pid, fd) in proc_fd::rings(proc_root) {
            let Ok(file) = File::open(proc_root.join(format!("{pid}/fdinfo/{fd}"))) else { continue };
            registered(BufReader::new(file.take(MOST_RING_BYTES)), |inode| {
                if let Some(cookie) = inodes.get(&inode) {
                    self.add_ring(*cookie, pid, fd);
                }
            });
        }
    }

    /// Adds the processes that have the sockets mapped, as TCP_ZEROCOPY_RECEIVE wants it.
    fn add_mapped(&mut self, proc_root: &Path, inodes: &FxHashMap<u32, u64>) {
        let mut left = MOST_BYTES_OF_ALL_MAPS;
        for pid in proc_fd::processes(proc_root) {
            if left == 0 {
                break;
            }
            let Ok(file) = File::open(proc_root.join(format!("{pid}/maps"))) else { continue };
            left -= mapped(BufReader::new(file.take(left.min(MOST_MAPS_BYTES))), |inode| {
                if let Some(cookie) = inodes.get(&inode) {
                    self.mapped.entry(*cookie).or_default().entry(Pid::new(pid)).or_default();
                }
            });
        }
    }

    fn add_thread(&mut self, sleeper: &SleeperRecord, evidence: Evidence) {
        let by_cookie = if evidence == Evidence::IoUring { &mut self.rings } else { &mut self.in_call };
        by_cookie.entry(sleeper.cookie).or_default().entry(Pid::from_wire(sleeper.tgid)).or_default();
    }
}

/// What a thread does that sleeps: it is in a call on a descriptor, or works on a request of a ring. `None` where there
/// is no such thread, so that something else sleeps.
fn evidence(proc_root: &Path, sleeper: &SleeperRecord) -> Option<Evidence> {
    let thread = proc_root.join(format!("{}/task/{}", sleeper.tgid, sleeper.pid));
    // A worker of a ring, which is in no call (`create_io_worker` of io_uring/io-wq.c names it). A request on a socket in
    // CLOSE_WAIT waits nowhere else: polling ends at once with EPOLLRDHUP (`IO_POLL_UNMASK` of io_uring/poll.c).
    let is_worker = fs::read(thread.join("comm")).ok()?.starts_with(b"iou-wrk-");
    if is_worker {
        return Some(Evidence::IoUring);
    }
    is_in_call_on_descriptor(&thread).then_some(Evidence::InCall)
}

/// The inode numbers of the sockets among a ring's registered files, from its `fdinfo`
/// (`__io_uring_show_fdinfo` of io_uring/fdinfo.c): `    0: socket:[4711]`.
fn registered(mut ring: impl BufRead, mut visit: impl FnMut(u32)) {
    each_line(&mut ring, |line| {
        let target = line.trim_ascii().splitn(2, |byte| *byte == b' ').nth(1);
        if let Some(inode) = target.and_then(proc_fd::socket_inode) {
            visit(inode);
        }
    });
}

/// The inode numbers of the sockets that a process has mapped, from its `maps` (proc_pid_maps(5)):
/// `7f3c5d1f0000-7f3c5d200000 r--s 00000000 00:08 4711 socket:[4711]`. Returns how many bytes were read.
fn mapped(mut maps: impl BufRead, mut visit: impl FnMut(u32)) -> u64 {
    each_line(&mut maps, |line| {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).skip(4);
        let (number, target) = (fields.next(), fields.next());
        // A file may be called as it likes, behind a slash.
        let inode = target.and_then(proc_fd::socket_inode);
        if let Some(inode) = inode.filter(|inode| number == Some(inode.to_string().as_bytes())) {
            visit(inode);
        }
    })
}

/// Returns how many bytes were read.
fn each_line(text: &mut impl BufRead, mut visit: impl FnMut(&[u8])) -> u64 {
    let (mut line, mut bytes) = (Vec::new(), 0);
    while {
        line.clear();
        text.read_until(b'\n', &mut line).is_ok_and(|length| length > 0)
    } {
        bytes += line.len() as u64;
        visit(&line);
    }
    bytes
}

/// Whether a thread sleeps in a system call whose first argument, or third, may be a descriptor (proc_pid_syscall(5)).
fn is_in_call_on_descriptor(thread: &Path) -> bool {
    text(&thread.join("syscall"), SYSCALL_BYTES).is_some_and(|syscall| may_name_a_descriptor(&syscall))
}

fn may_name_a_descriptor(syscall: &str) -> bool {
    // The first of most calls, the third of splice(2).
    calls::parse(syscall)
        .is_some_and(|(_, [first, _, third, ..])| [first, third].iter().any(|word| *word < 1 << 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_says_which_sockets_are_registered_with_it() {
        let text = b"pos:\t0\nUserFiles:\t3\n    0: socket:[4711]\n    1: /tmp/socket:[5]\n  100: socket:[9]\nUserBufs:\t0\n";
        let mut inodes = Vec::new();
        registered(&text[..], |inode| inodes.push(inode));
        assert_eq!(inodes, [4711, 9]);
    }

    #[test]
    fn the_maps_of_a_process_say_which_sockets_it_has_mapped() {
        let text = b"7f00-7f10 r--s 00000000 00:08 4711                       socket:[4711]\n\
                     7f10-7f20 r--p 00000000 08:01 9 /tmp/socket:[9]\n\
                     7f20-7f30 r--p 00000000 00:00 0 socket:[5]\n7f30-7f40 rw-p 00000000 00:00 0 \n7f40";
        let mut inodes = Vec::new();
        let bytes = mapped(&text[..], |inode| inodes.push(inode));
        assert_eq!((&inodes[..], bytes), (&[4711][..], text.len() as u64));
    }

    #[test]
    fn only_a_call_on_a_descriptor_is_taken_for_one() {
        assert!(may_name_a_descriptor("44 0x7 0x7f00 0x10000 0x4000 0x0 0x0 0x7ffc 0x7f11\n"));
        assert!(may_name_a_descriptor("275 0x7ffffff0000 0x0 0x9 0x0 0x0 0x0 0x7ffc 0x7f11\n"), "splice");
        for other in [
            "running\n",
            "-1 0x7ffc 0x7f11\n",
            "202 0x7f0012345678 0x80 0x7f0012345678 0x0 0x0 0x0 0x1 0x2\n",
            "",
        ] {
            assert!(!may_name_a_descriptor(other), "{other:?}");
        }
    }
}
