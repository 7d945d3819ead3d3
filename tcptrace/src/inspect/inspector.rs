//! Inspects stuck sockets: are they still stuck, who holds them, and why. The slow part of the tool (netlink dumps,
//! descriptor tables, /proc): a live session runs it on a thread of its own.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    accept_queues,
    age::{self as since, JIFFY_NS},
    copies,
    descriptors::{DescriptorScan, HeldSocket, ScanTarget},
    dump::{ListingIndex, NamespaceDumper},
    other_ends::{FoundEnd, HALF_CLOSED, WantedEnd},
    peek::{self, MOST_PEEKS},
    tables::Tables,
};
use crate::{
    diagnosis::{
        last_words::{self, Arrival, LastWords, MAX_BYTES, Words},
        verdict::{self as diagnosis, CloseWaitFacts, Unread},
    },
    host::world::World,
    kernel::CallMemory,
    model::{
        close_wait::{Due, Preexisting, Since, Stuck},
        connection_side::ConnectionSide,
        coverage::{Coverage, LookError},
        endpoints::Endpoints,
        finding::{Finding, ListedAs},
        other_end::OtherEnd,
        owner::Evidence,
        process::{ProcessUse, UseQuery},
        socket::{Socket, TcpFlavour},
        state::{State, StateSet},
        verdict::{UnknownBecause, Verdict},
    },
    netlink::{self as sock_diag, DiagSocket, SockDiag},
    process::cache::ProcessCache,
    stacks::{symbols::Symbols, unwind::UnwoundStacks},
};

/// Longest time to wait, once a look, for stacks that were copied to be unwound: a burst of Java's takes a while.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// Inspects stuck sockets.
pub(crate) struct Inspector {
    pub(super) dumper: NamespaceDumper,
    pub(super) processes: ProcessCache,
    pub(super) tables: Tables,
    /// `None` without tracked calls.
    pub(super) calls: Option<CallMemory>,
    /// The stacks of those calls, where copies are taken of them.
    pub(super) unwound: Option<UnwoundStacks>,
    pub(super) symbols: Symbols,
    /// A socket that sent data within this time is still in use.
    active_window_ms: u64,
    /// When calls began to be watched (CLOCK_MONOTONIC, nanoseconds).
    pub(super) began_ns: u64,
    /// Sockets that may still be peeked at in this look.
    pub(super) peeks_left: u32,
    /// The sockets in which only last words lie unread, by cookie; of this look.
    pub(super) last_words: FxHashMap<u64, LastWords>,
    /// Whether a process has an io_uring ring, by pid; of this look.
    pub(super) with_rings: FxHashMap<u32, bool>,
}

impl Inspector {
    pub(crate) fn new(
        world: World,
        tables: Tables,
        active_window_ms: u64,
        mut calls: Option<CallMemory>,
    ) -> Self {
        let unwound = calls.as_mut().and_then(|calls| copies::unwind(&world.proc, calls));
        Self {
            unwound,
            processes: ProcessCache::new(&world),
            symbols: Symbols::new(&world.proc),
            began_ns: world.clocks.monotonic_ns(),
            dumper: NamespaceDumper::new(world),
            tables,
            calls,
            active_window_ms,
            peeks_left: 0,
            last_words: FxHashMap::default(),
            with_rings: FxHashMap::default(),
        }
    }

    /// Every socket on the host that is in CLOSE_WAIT now, or whose connection is over while somebody has a descriptor
    /// of it; and what could not be looked at.
    pub(crate) fn preexisting(&mut self) -> (Vec<Preexisting>, Coverage) {
        let scan = self.tables.scan(ScanTarget::States(StateSet::CLOSE_WAIT.union(StateSet::CLOSE)));
        let (listing, found) = self.dumper.list_all(StateSet::CLOSE_WAIT);
        let index = ListingIndex::new(listing);
        let asked_within = index.asked_ns()..=self.dumper.world().clocks.monotonic_ns();
        let listed = index.sockets().iter().map(|(netns, socket)| Preexisting {
            socket: socket.named(*netns),
            stuck: Stuck::InCloseWait,
            since: since::bracket(asked_within.clone(), socket.times),
        });
        let unlisted = scan.iter().flat_map(|scan| unlisted(scan, &index)).map(|held| Preexisting {
            socket: held.socket,
            stuck: held.stuck(),
            since: since::bracket(asked_within.clone(), None),
        });
        let sockets = listed.chain(unlisted).collect();
        let namespaces = found.namespaces.iter().map(|namespace| namespace.netns).collect();
        let scan = scan.unwrap_or_default();
        let coverage = self.coverage(found.unread, &namespaces, &index, &scan);
        (sockets, coverage)
    }

    /// Reads everything anew, within bounds.
    pub(super) fn begin_look(&mut self) {
        self.processes.begin_round();
        self.peeks_left = MOST_PEEKS;
        self.last_words.clear();
        self.with_rings.clear();
        if let Some(unwound) = &self.unwound {
            unwound.catch_up(CATCH_UP_TIMEOUT);
        }
    }

    /// Inspects the sockets that are due.
    pub(crate) fn inspect(&mut self, due: &[Due]) -> Vec<Finding> {
        self.begin_look();
        let due = &self.with_cookies(due)[..];
        let namespaces: Option<FxHashSet<u32>> = due.iter().map(|due| due.socket.netns).collect();
        // Descriptors first, then states: a socket closed in between is then seen as gone instead of as held by nobody.
        let known: FxHashSet<u64> = due.iter().filter_map(|due| due.socket.cookie).collect();
        let mut early = self.tables.scan(ScanTarget::Cookies(&known));
        let index = self.list_again(namespaces.as_ref());
        if known.len() < due.len() {
            // Some cookies are known only now that the kernel has listed the sockets.
            let all = due.iter().filter_map(|due| index.find(&due.socket)).map(|(_, socket)| socket.cookie);
            early = self.tables.scan(ScanTarget::Cookies(&all.chain(known.iter().copied()).collect()));
        }
        let scan = self.complete(early, due, &index);
        let mut findings = due.iter().map(|due| self.find(due, &index, &scan)).collect::<Vec<_>>();
        self.recheck_unheld(due, &mut findings);
        self.explain(&mut findings, &index, &scan);
        findings
    }

    /// Gives sockets whose connection is over their cookies, where the kernel side does not know them: the kernel lists
    /// such sockets nowhere else.
    fn with_cookies<'a>(&mut self, due: &'a [Due]) -> Cow<'a, [Due]> {
        let is_nameless = |due: &Due| due.stuck != Stuck::InCloseWait && due.socket.cookie.is_none();
        if !due.iter().any(is_nameless) {
            return Cow::Borrowed(due);
        }
        let scan = self.tables.scan(ScanTarget::States(StateSet::CLOSE));
        let over: FxHashMap<Endpoints, &HeldSocket> = scan
            .iter()
            .flat_map(DescriptorScan::all_held)
            .map(|held| (held.socket.endpoints, held))
            .collect();
        let complete = |due: &Due| match over.get(&due.socket.endpoints).filter(|_| is_nameless(due)) {
            Some(held) if due.socket.netns.is_none_or(|netns| held.socket.netns == Some(netns)) => {
                Due { socket: held.socket, ..*due }
            }
            _ => *due,
        };
        due.iter().map(complete).collect()
    }

    /// Lists the sockets in CLOSE_WAIT of these namespaces, or of all.
    fn list_again(&mut self, namespaces: Option<&FxHashSet<u32>>) -> ListingIndex {
        ListingIndex::new(match namespaces {
            Some(namespaces) => self.dumper.list(StateSet::CLOSE_WAIT, namespaces),
            None => self.dumper.list_all(StateSet::CLOSE_WAIT).0,
        })
    }

    /// Inspects sockets without a holder once more: a descriptor on its way between processes is in no table
    /// for a moment, and a socket may have been opened after the scan.
    /// Returns the namespaces that could not be listed again.
    pub(super) fn recheck_unheld(
        &mut self,
        due: &[Due],
        findings: &mut [Finding],
    ) -> BTreeMap<u32, LookError> {
        let is_unheld = |finding: &Finding| {
            let is_nobodys = finding.verdict == Some(Verdict::NoHolder);
            let may_be = finding.unknown_because.is_some_and(UnknownBecause::is_of_holder);
            finding.is_stuck && finding.state == State::CloseWait && (is_nobodys || may_be)
        };
        let unheld: Vec<(&Due, &mut Finding)> =
            due.iter().zip(findings).filter(|(_, finding)| is_unheld(finding)).collect();
        if unheld.is_empty() {
            return BTreeMap::new();
        }
        let cookies = unheld.iter().filter_map(|(_, finding)| finding.socket.cookie).collect();
        let namespaces: Option<FxHashSet<u32>> =
            unheld.iter().map(|(_, finding)| finding.socket.netns).collect();
        let early = self.tables.scan(ScanTarget::Cookies(&cookies));
        let index = self.list_again(namespaces.as_ref());
        let again: Vec<Due> = unheld.iter().map(|(due, _)| **due).collect();
        let scan = self.complete(early, &again, &index);
        let mut found = Vec::new();
        for (due, finding) in unheld {
            *finding = self.find(due, &index, &scan);
            found.push(finding);
        }
        self.find_users(found.into_iter(), &index);
        index.refused().clone()
    }

    /// Completes a scan so that it covers everything about the sockets that are due.
    pub(super) fn complete(
        &mut self,
        early: Option<DescriptorScan>,
        due: &[Due],
        index: &ListingIndex,
    ) -> DescriptorScan {
        let Some(mut scan) = early else { return self.scan_proc(due, index) };
        let is_unclear = |due: &Due| {
            let listed = index.find(&due.socket).filter(|(_, socket)| may_be_unaccepted(socket));
            listed.is_some_and(|(netns, socket)| !scan.is_certain(&socket.named(*netns)))
        };
        if due.iter().any(is_unclear) {
            self.tables.scan_queues(&mut scan);
        }
        self.look_up_other_ends(&mut scan, due, index);
        scan
    }

    /// Looks for the other ends that no process holds, and those that may wait for an answer.
    fn look_up_other_ends(&self, scan: &mut DescriptorScan, due: &[Due], index: &ListingIndex) {
        // What is listed no more, as most of a storm of short connections, needs no other end.
        let in_close_wait = due.iter().filter(|due| due.stuck == Stuck::InCloseWait);
        let wanted = in_close_wait.filter_map(|due| {
            let (netns, listed) = index.find(&due.socket)?;
            let socket = listed.named(*netns);
            Some(WantedEnd {
                socket,
                flavour: listed.flavour,
                fin_sequence: scan.fin_sequence(&socket),
                is_held: socket.cookie.is_some_and(|cookie| scan.held(cookie).is_some()),
                age_ns: due.since.age_at(index.asked_ns()).0,
            })
        });
        let wanted = wanted.collect();
        scan.other_ends.look_up(&self.dumper, wanted);
    }

    fn scan_proc(&mut self, due: &[Due], index: &ListingIndex) -> DescriptorScan {
        let stuck: Vec<(u32, DiagSocket)> =
            due.iter().filter_map(|due| index.find(&due.socket)).cloned().collect();
        let namespaces: FxHashSet<u32> = stuck.iter().map(|(netns, _)| *netns).collect();
        let (listening, half_closed) = self
            .dumper
            .list(HALF_CLOSED.union(StateSet::LISTEN), &namespaces)
            .sockets
            .into_iter()
            .partition::<Vec<_>, _>(|(_, socket)| State::from_number(socket.state) == Some(State::Listen));
        let proc = &self.dumper.world().proc;
        let hidden = self.tables.hidden_in_proc();
        let mut scan = DescriptorScan::with_proc(proc, &stuck, &listening, &half_closed, hidden);
        self.look_up_other_ends(&mut scan, due, index);
        scan
    }

    /// Joins listing, scan and calls into the finding of a socket.
    pub(super) fn find(&mut self, due: &Due, index: &ListingIndex, scan: &DescriptorScan) -> Finding {
        let looked_at_ns = self.dumper.world().clocks.monotonic_ns();
        let listed = index.find(&due.socket);
        let socket = listed.map_or(due.socket, |(netns, socket)| socket.named(*netns));
        let listed = listed.map(|(_, socket)| socket);
        let held = socket.cookie.and_then(|cookie| scan.held(cookie));
        // The kernel lists no socket whose connection is over. Where nobody could be asked, it is as it was seen last.
        let is_over = matches!(due.stuck, Stuck::Over(_));
        let is_stuck = if is_over {
            held.is_some_and(|held| held.state == State::Close)
        } else {
            listed.is_some()
                || index.is_refused(socket.netns)
                || (!index.knows_all_of(socket.netns) && held.is_some())
        };
        let state = listed
            .and_then(|listed| State::from_number(listed.state))
            .or(held.map(|held| held.state))
            .unwrap_or(if is_over { State::Close } else { State::CloseWait });
        let opened_by = due.kernel_socket.and_then(|socket| self.opened_by(socket, is_over));
        let opener = opened_by.as_ref().map(|opened| opened.called.call);
        let eof_read_by = due.kernel_socket.and_then(|socket| self.eof_read_by(socket));
        let eof_reads_per_second = due
            .kernel_socket
            .zip(self.calls.as_ref())
            .and_then(|(socket, calls)| calls.eof_reads_per_second(socket, looked_at_ns));
        let mut owners = held
            .map(|held| self.processes.owners(&held.holders, Evidence::FdTable, opener))
            .unwrap_or_default();
        let has_inode = listed.map(|listed| listed.inode != 0);
        // The kernel showed its descriptor, and /proc hides the process.
        let mut has_unread_listener = false;
        if owners.is_empty() && listed.is_some_and(may_be_unaccepted) {
            let flavour = listed.map_or(TcpFlavour::Tcp, |listed| listed.flavour);
            let listeners = scan.listeners(&socket, flavour);
            owners = self.processes.owners(&listeners, Evidence::Listener, None);
            has_unread_listener = owners.is_empty() && !listeners.is_empty();
        }
        if owners.is_empty() {
            owners.extend(opener.map(|opener| self.processes.opener(&opener)));
        }
        // What stands in the queues of an MPTCP socket is memory, not bytes.
        let counted = listed.filter(|listed| listed.flavour == TcpFlavour::Tcp);
        let unread = |listed: &DiagSocket| match listed.flavour {
            TcpFlavour::Tcp => Unread::Bytes(listed.recv_q),
            TcpFlavour::Mptcp => Unread::Memory(listed.recv_q),
        };
        let other_end = self.other_end(&socket, scan);
        let side = scan.side(&socket, opened_by.as_ref().map(|opened| opened.how), listed);
        let facts = CloseWaitFacts {
            is_held: held.is_some(),
            all_tables_read: scan.is_complete() && !has_unread_listener,
            has_inode,
            unread: listed.map(unread),
            times: listed.and_then(|listed| listed.times),
            keeps_alive: listed.is_some_and(|listed| listed.keeps_alive),
            last_words: held
                .zip(counted)
                .filter(|_| state == State::CloseWait)
                .and_then(|(held, listed)| self.last_words_in(due, listed, held, side, index.asked_ns())),
            is_awaited: other_end.as_ref().is_some_and(OtherEnd::waits_for_answer),
            is_unheard: other_end.as_ref().is_some_and(OtherEnd::takes_no_data),
            has_answered_since_fin: held.and_then(|held| held.has_answered_since_fin),
            sending: counted.and_then(|listed| Some((listed.send_q, listed.sending?))),
            // As of the listing, because the time of the last data sent comes from there.
            in_close_wait_ms: due.since.age_at(index.asked_ns()).0.saturating_sub(2 * JIFFY_NS) / 1_000_000,
            is_age_exact: due.since.is_exact(),
            active_window_ms: self.active_window_ms,
        };
        let verdict = match state {
            State::CloseWait => diagnosis::verdict(&facts),
            State::Close => Some(Verdict::ConnectionOver),
            _ => None,
        };
        let unknown_because = if state == State::CloseWait {
            diagnosis::unknown_because(&facts, !owners.is_empty())
        } else {
            diagnosis::unowned_because(&facts, !owners.is_empty())
        };
        Finding {
            key: due.key,
            socket,
            state,
            since: due.since,
            looked_at_ns,
            is_stuck,
            recv_q: counted.map(|listed| listed.recv_q),
            send_q: counted.map(|listed| listed.send_q),
            verdict,
            unknown_because,
            no_site: opened_by.is_none().then(|| self.why_unopened(due, verdict, side, &owners).into()),
            owners,
            opened_by,
            eof_read_by,
            eof_reads_per_second,
            descriptors: None,
            because: Vec::new(),
            ended_how: match due.stuck {
                Stuck::Over(how) => how,
                Stuck::InCloseWait => None,
            },
            other_end,
            keep_alive: listed.filter(|_| state != State::Close).map(|listed| listed.keeps_alive),
            listed_as: listed.map(|listed| ListedAs { flavour: listed.flavour, interface: listed.interface }),
        }
    }

    /// The other end of a connection, if it is on this host.
    fn other_end(&mut self, socket: &Socket, scan: &DescriptorScan) -> Option<OtherEnd> {
        Some(match scan.other_ends.find(socket, scan.fin_sequence(socket))? {
            FoundEnd::Held { state, holders, is_shut_for_reading } => {
                let owners = self.processes.owners(holders, Evidence::FdTable, None);
                OtherEnd { state, is_closed: Some(false), owners, is_shut_for_reading }
            }
            FoundEnd::Listed { state, is_closed, is_shut_for_reading } => {
                OtherEnd { state, is_closed: Some(is_closed), owners: Vec::new(), is_shut_for_reading }
            }
            FoundEnd::Gone => OtherEnd {
                state: State::Close,
                is_closed: Some(true),
                owners: Vec::new(),
                is_shut_for_reading: false,
            },
        })
    }

    /// Finds out whether what lies unread only takes leave: by a peek or, where that tells nothing, by when it came.
    fn last_words_in(
        &mut self,
        due: &Due,
        listed: &DiagSocket,
        held: &HeldSocket,
        side: Option<ConnectionSide>,
        asked_ns: u64,
    ) -> Option<LastWords> {
        let unread = listed.recv_q.saturating_sub(1);
        if unread == 0 || unread > MAX_BYTES {
            return None;
        }
        let words = if self.peeks_left > 0 {
            self.peeks_left -= 1;
            peek::unread_words(&self.dumper.world().proc, listed.cookie, &held.holders, unread, side)
        } else {
            Words::Unknown
        };
        let protocol = match words {
            Words::Last(protocol) => Some(protocol),
            Words::Ordinary => return None,
            Words::Unknown => {
                // A client may send what it wants whenever it wants.
                let came = side != Some(ConnectionSide::Accepted)
                    && listed.times.is_some_and(|times| {
                        // The FIN came between the last data and the last acknowledgment.
                        let since_fin_ms = if due.since.is_exact() {
                            due.since.age_at(asked_ns).0 / 1_000_000
                        } else {
                            u64::from(times.last_ack_recv_ms)
                        };
                        last_words::came_as_last_words(&Arrival {
                            unread,
                            received: listed.received_bytes,
                            times,
                            since_fin_ms,
                        })
                    });
                if !came {
                    return None;
                }
                None
            }
        };
        let words = LastWords { bytes: unread, protocol };
        self.last_words.insert(listed.cookie, words);
        Some(words)
    }

    /// The sockets whose connections are over and that somebody has a descriptor of; `None` when that cannot be told.
    pub(crate) fn held_over(&mut self) -> Option<Vec<Preexisting>> {
        let scan = self.tables.scan(ScanTarget::States(StateSet::CLOSE))?;
        let since = Since::within(None, self.dumper.world().clocks.monotonic_ns());
        let over = |held: &HeldSocket| Preexisting { socket: held.socket, stuck: held.stuck(), since };
        Some(scan.all_held().map(over).collect())
    }

    /// Opens sock_diag in another network namespace, to look up single sockets.
    ///
    /// # Errors
    /// When the namespace is gone or cannot be entered.
    pub(crate) fn talk_in(&mut self, netns: u32) -> Result<SockDiag, sock_diag::Error> {
        self.dumper.open(netns).or_else(|_| {
            // The process that led to it may have ended.
            self.dumper.find_namespaces();
            self.dumper.open(netns)
        })
    }

    /// As [`Inspector::process_use`], with the time that it took in nanoseconds.
    pub(super) fn timed_process_use(&mut self, queries: &[UseQuery]) -> (Vec<ProcessUse>, u64) {
        let clocks = self.dumper.world().clocks.clone();
        let began_ns = clocks.monotonic_ns();
        (self.process_use(queries), clocks.monotonic_ns().saturating_sub(began_ns))
    }

    /// What these processes have left, in order.
    pub(crate) fn process_use(&mut self, queries: &[UseQuery]) -> Vec<ProcessUse> {
        let queues = accept_queues::of(&mut self.dumper, queries);
        let descriptors = self.processes.descriptor_use(queries);
        descriptors
            .into_iter()
            .zip(queues)
            .map(|(descriptors, queue)| ProcessUse { descriptors, queue })
            .collect()
    }
}

/// Whether a socket may wait for accept(). A socket that was accepted and closed has no inode either, but has
/// left these states.
fn may_be_unaccepted(socket: &DiagSocket) -> bool {
    let state = State::from_number(socket.state);
    socket.inode == 0 && matches!(state, Some(State::SynRecv | State::Established | State::CloseWait))
}

/// Held sockets that the kernel does not list: in a namespace that cannot be entered or did not answer, or whose
/// connection is over.
pub(super) fn unlisted<'a>(
    scan: &'a DescriptorScan,
    index: &'a ListingIndex,
) -> impl Iterator<Item = &'a HeldSocket> {
    scan.all_held()
        .filter(|held| index.find(&held.socket).is_none())
        .filter(|held| held.state == State::Close || !index.knows_all_of(held.socket.netns))
}
