//! One example of each value, for tests: a socket of the process `shop` that is stuck, and what is recorded about it.
//! A test changes what it is about (`Leak { age: None, ..leak() }`) and names nothing else.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;

use super::{
    advice::Advice,
    clearing::{Change, Method, Outcome, Refusal},
    close_wait::Since,
    coverage::NotLookedAt,
    criteria::{Criteria, Family},
    ended::EndedHow,
    endpoints::{Endpoint, Endpoints},
    finding::{Finding, ListedAs},
    found_by::{CallersBy, FoundBy, NamedBy},
    host_identity::HostIdentity,
    no_site::{NoSite, NoSiteBecause},
    other_end::OtherEnd,
    owner::{CalledBy, Evidence, OpenedBy, Owner},
    owner_count::OwnerCount,
    owner_criteria::OwnerCriteria,
    pid::Pid,
    process::ProcessIdentity,
    reason::{Reason, ReasonId, ReasonNumbers},
    record::{
        Age, Header, Leak, LeakEnd, Over, PeerCount, ProcessSummary, Record, StackCount, Summary, Timed,
        Totals,
        address_use::{AddressRole, AddressUse},
        cleared::{Actor, ClearEnd, Cleared, Kept, Outcomes, Selection},
        time_wait::{LocalPorts, TimeWait, TimeWaitSummary},
    },
    socket::{KernelSocket, Socket, SocketKey, TcpFlavour},
    stack::Stack,
    state::{State, StateSet},
    sysctl_setting::Setting,
    task::{Call, Comm, OpenedHow, Task},
    tcp_counters::PerCounter,
    tcp_settings::TcpSettings,
    time_wait::{Destination, FoundPorts},
    transition::Transition,
    verdict::{UnknownBecause, Verdict},
};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// 24 November 2026, in the afternoon.
pub(crate) fn time() -> Timestamp {
    Timestamp::from_nanosecond(1_795_532_500_169_147_654).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn endpoints() -> Endpoints {
    Endpoints { local: ([10, 0, 0, 1], 8080).into(), remote: ([192, 0, 2, 1], 40_001).into() }
}

pub(crate) fn socket() -> Socket {
    Socket { cookie: Some(9), netns: Some(4_026_531_840), endpoints: endpoints() }
}

/// A task of this name, at most 16 bytes of it.
pub(crate) fn task(comm: &[u8]) -> Task {
    let mut name = Comm::default();
    name.0.iter_mut().zip(comm).for_each(|(into, byte)| *into = *byte);
    Task { pid: Pid::new(71), tid: Pid::new(72), comm: name }
}

/// The peer closes: the socket enters CLOSE_WAIT.
pub(crate) fn transition() -> Transition {
    Transition {
        key: SocketKey(9),
        socket: socket(),
        is_mptcp: false,
        ktime_ns: 100 * SECOND,
        old_state: State::Established,
        new_state: State::CloseWait,
        entered_ns: None,
        oncpu: task(b"swapper/0"),
        kernel_socket: KernelSocket(1),
        cause: None,
        cgroup_id: None,
    }
}

pub(crate) fn process() -> ProcessIdentity {
    ProcessIdentity::from_name(Pid::new(71), "shop")
}

/// `shop`, that holds the socket by one descriptor.
pub(crate) fn owner() -> Owner {
    Owner { process: Arc::new(process()), fds: vec![17], inherited: None, evidence: Evidence::FdTable }
}

pub(crate) fn stack() -> Stack {
    let frames = ["accept4", "net.(*Listener).Accept (sock.go:89)", "main.serve (main.go:12)"];
    Stack {
        frames: frames.map(str::to_owned).to_vec(),
        site: Some("main.serve (main.go:12)".to_owned()),
        is_cut: false,
        no_site: None,
        found_by: Some(FoundBy { callers: vec![CallersBy::FramePointers], name: Some(NamedBy::GoLineTable) }),
    }
}

/// A stack that ends in a library of a hostile name.
fn through_library() -> Stack {
    let library = "lib\u{1b}[2J.so.4";
    Stack {
        frames: vec!["connect (libc.so.6)".to_owned(), format!("Curl_dial ({library})")],
        site: None,
        is_cut: true,
        no_site: Some(NoSite { because: NoSiteBecause::Library, of: Some(library.to_owned()) }),
        found_by: None,
    }
}

fn with_stack(stack: Stack) -> CalledBy {
    CalledBy { stack: Some(Arc::new(stack)), ..called_by().what }
}

pub(crate) fn called_by() -> Timed<CalledBy> {
    let call = Call { task: task(b"shop-worker"), ktime_ns: 0, stack: None };
    Timed { time: time(), what: CalledBy { call, stack: Some(Arc::new(stack())) } }
}

pub(crate) fn opened_by() -> Timed<OpenedBy> {
    let Timed { time, what: called } = called_by();
    Timed { time, what: OpenedBy { how: OpenedHow::Accept, called } }
}

/// In CLOSE_WAIT for 125 s and a nanosecond at most.
pub(crate) fn age() -> Age {
    Age { ns: 125 * SECOND, is_exact: false, at_most_ns: Some(125 * SECOND + 1) }
}

/// The same, seen from a pid namespace that does not show it.
fn on_host(owner: Owner) -> Owner {
    let pid = Pid::of_host(owner.process.pid.to_wire());
    Owner { process: Arc::new(ProcessIdentity { pid, ..process() }), ..owner }
}

pub(crate) fn leak() -> Leak {
    Leak {
        time: time(),
        socket: socket(),
        state: State::CloseWait,
        age: Some(age()),
        recv_q: Some(1),
        send_q: Some(0),
        verdict: Some(Verdict::EofUnread),
        owners: vec![owner()],
        opened_by: None,
        eof_read_by: None,
        over: None,
        other_end: None,
        keep_alive: None,
        fds_used: None,
        fds_limit: None,
        unknown_because: None,
        because: None,
        no_site: None,
    }
}

/// A reason with words and numbers, and one without.
fn reasons() -> Vec<Reason> {
    let numbers = ReasonNumbers {
        pid: Some(71),
        fd: Some(9),
        address: Some("10.0.0.2:80".to_owned()),
        for_ns: Some(12 * SECOND),
        ..ReasonNumbers::default()
    };
    let text = "one leg of a relay".to_owned();
    vec![
        Reason { id: ReasonId::WaitsForOtherLeg, text, numbers },
        Reason { id: ReasonId::ClientLeft, text: String::new(), numbers: ReasonNumbers::default() },
    ]
}

pub(crate) fn leak_end() -> LeakEnd {
    LeakEnd {
        time: time(),
        socket: socket(),
        age: age(),
        how: Some(EndedHow::Closed),
        closed_by: Some(Owner { fds: Vec::new(), evidence: Evidence::None, ..owner() }),
    }
}

/// What was found out about the socket in this state.
pub(crate) fn finding(state: State, since: Since, looked_at_ns: u64) -> Finding {
    Finding {
        key: SocketKey(9),
        socket: Socket { netns: Some(5), ..socket() },
        state,
        since,
        looked_at_ns,
        is_stuck: true,
        recv_q: Some(0),
        send_q: Some(0),
        verdict: (state == State::CloseWait).then_some(Verdict::EofRead),
        unknown_because: None,
        owners: vec![owner()],
        opened_by: None,
        no_site: None,
        eof_read_by: None,
        eof_reads_per_second: None,
        ended_how: None,
        other_end: None,
        keep_alive: Some(false),
        descriptors: None,
        because: Vec::new(),
        listed_as: Some(ListedAs { flavour: TcpFlavour::Tcp, interface: 0 }),
    }
}

pub(crate) fn header() -> Header {
    Header {
        version: "0.1.0".to_owned(),
        host: HostIdentity {
            host: "web-1".to_owned(),
            kernel: "6.18.0".to_owned(),
            boot_id: Some("a386f656".to_owned()),
        },
        started: time(),
        command: vec!["tcptrace".to_owned(), "leaks".to_owned()],
        backend: "btf".to_owned(),
    }
}

/// Of a session in which nothing happened.
pub(crate) fn summary() -> Summary {
    Summary {
        time: time(),
        duration_ns: 61 * SECOND,
        totals: Totals::default(),
        in_close_wait: None,
        processes: Vec::new(),
        more_processes: 0,
        connections_over: None,
        sockets: None,
        still_stuck: None,
        not_looked_at: None,
    }
}

pub(crate) fn process_summary() -> ProcessSummary {
    ProcessSummary {
        process: Arc::new(process()),
        sockets: 3,
        still_stuck: 2,
        oldest_ns: 125 * SECOND,
        per_minute: Some(1.5),
        verdicts: vec![(Verdict::EofRead, 2), (Verdict::DataUnread, 1)],
        peers: vec![PeerCount { peer: ([192, 0, 2, 1], 40_001).into(), count: 3 }],
        stacks: vec![StackCount { stack: Arc::new(stack()), count: 3 }],
        fds_used: Some(812),
        fds_limit: Some(1024),
        fds_run_out_in_ns: Some(9000 * SECOND),
        fds_per_minute: Some(1.4),
        accept_queue: Some(1),
        accept_queue_limit: Some(128),
        accept_queue_full_in_ns: Some(5000 * SECOND),
        command: None,
        reasons: None,
    }
}

/// The connections of this host to a database.
pub(crate) fn time_wait() -> TimeWait {
    let remote = ([192, 0, 2, 9], 5432).into();
    TimeWait {
        time: time(),
        netns: 4_026_531_840,
        destination: Destination::Outgoing { local: IpAddr::from([10, 0, 0, 1]), remote },
        count: 28_000,
        fin_wait2: 3,
        open: 20,
        ports: Some(FoundPorts {
            used: 28_020,
            reusable: None,
            total: 28_232,
            most_per_second: 470.533,
            dry_in_ns: Some(12 * SECOND),
        }),
        per_second: Some(466.66),
        entered_per_second: Some(400.0),
        oldest_left_ns: Some(7 * SECOND),
        closed_first_by: vec![OwnerCount { owner: owner(), count: 27_000, processes: 1 }],
        closed_first_unseen: Some(1000),
        candidates: Vec::new(),
        peers: Vec::new(),
        more_peers: 0,
        ports_by_state: Some(vec![(State::TimeWait, 28_000), (State::CloseWait, 17), (State::FinWait2, 3)]),
        ports_held: Some(17),
        ports_held_by: vec![OwnerCount { owner: owner(), count: 17, processes: 1 }],
        ports_held_per_second: Some(0.25),
        last_left_ns: Some(59_000_000_000),
    }
}

pub(crate) fn time_wait_summary() -> TimeWaitSummary {
    let place = |name: &str, value: &str| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        file: "/etc/sysctl.d/10-tuning.conf".into(),
        line: 3,
    };
    TimeWaitSummary {
        time: time(),
        netns: 4_026_531_840,
        count: 28_000,
        fin_wait2: 3,
        buckets_used: Some(28_003),
        counters: PerCounter([Some(7), Some(90_000), Some(12), None, Some(0)]),
        per_second: Some(PerCounter([Some(0.0), Some(466.66), Some(0.04), None, Some(1.25)])),
        settings: TcpSettings {
            tcp_tw_reuse: Some(2),
            tcp_max_tw_buckets: Some(65_536),
            ip_local_port_range: Some((32_768, 60_999)),
            ip_local_reserved_ports: Some("40000-40009".to_owned()),
            ..TcpSettings::default()
        },
        ports: Some(LocalPorts { first: 32_768, last: 60_999, reserved: 10, bound: 2, usable: 28_220 }),
        destinations: 1,
        crowded_out: 0,
        advice: vec![
            Advice::RecycleIsDead { place: place("net.ipv4.tcp_tw_recycle", "1") },
            Advice::NoTimestamps { reuse: 1, place: None },
        ],
        ports_bound_by: vec![OwnerCount { owner: owner(), count: 2, processes: 1 }],
        address_uses: None,
        address_uses_crowded_out: 0,
    }
}

/// Connections that outlived their listener.
pub(crate) fn address_use() -> AddressUse {
    AddressUse {
        local: ([10, 0, 0, 1], 8080).into(),
        role: AddressRole::Connection,
        is_v6_only: None,
        by_state: vec![(State::TimeWait, 5), (State::CloseWait, 2)],
        minisockets: 5,
        orphans: 0,
        last_left_ns: Some(57 * SECOND),
        remote: Some(([192, 0, 2, 1], 40_001).into()),
        uid: Some(33),
        has_reuseaddr: Some(true),
        has_reuseport: Some(false),
        held: Some(2),
        held_by: vec![OwnerCount { owner: owner(), count: 2, processes: 1 }],
        closed_first_by: vec![OwnerCount { owner: owner(), count: 4, processes: 1 }],
    }
}

pub(crate) fn cleared() -> Cleared {
    Cleared {
        time: time(),
        socket: socket(),
        state: State::CloseWait,
        age: Some(age()),
        verdict: Some(Verdict::EofRead),
        method: Some(Method::Destroy),
        outcome: Outcome::Gone,
        owners: vec![owner()],
        cleared_by: Arc::new(Actor { pid: 1, uid: 0, sudo_user: None }),
        selection: Arc::new(Selection::default()),
        other_end: None,
        unknown_because: None,
        because: Vec::new(),
    }
}

pub(crate) fn kept() -> Kept {
    Kept { process: Arc::new(process()), descriptors: 2, fds_used: Some(812), fds_limit: Some(1024) }
}

/// Records of each type: one in which all is known, one in which little is, and what is special.
#[expect(clippy::too_many_lines, reason = "a list of values")]
pub(crate) fn records() -> Vec<Record> {
    let v6 = |text: &str| text.parse().map_or(Endpoint::UNSPECIFIED, |ip: IpAddr| Endpoint::new(ip, 443));
    let bare = Socket {
        cookie: None,
        netns: None,
        endpoints: Endpoints { local: v6("2001:db8::1"), remote: v6("::1") },
    };
    let hostile = "=a\"b,\u{1b}[2J\n\u{202e}\u{fffd}";
    let known = ProcessIdentity {
        comm: hostile.to_owned(),
        exe: Some("/usr/bin/shop (deleted)".to_owned()),
        cmdline: ["shop", "-c", hostile].map(str::to_owned).to_vec(),
        uid: Some(33),
        started: Timestamp::from_millisecond(1_795_532_500_120).ok(),
        cgroup: Some("/system.slice/shop.service".to_owned()),
        unit: Some("shop.service".to_owned()),
        container: Some("0123456789ab".to_owned()),
        container_name: Some("app".to_owned()),
        pod: Some("web-7d9f".to_owned()),
        pod_namespace: Some(hostile.to_owned()),
        is_32_bit: Some(true),
        ..process()
    };
    let known = Arc::new(known);
    let well_known =
        Owner { process: Arc::clone(&known), fds: vec![3, 17, 18], inherited: Some(true), ..owner() };
    let unseen_stack =
        |Timed { time, what }: Timed<CalledBy>| Timed { time, what: CalledBy { stack: None, ..what } };
    let summary_of_all = Summary {
        totals: Totals {
            records: 1,
            lost: 2,
            undecodable: 3,
            evicted: 4,
            unattributed: 5,
            openers_skipped: 6,
            stacks_dropped: 0,
            dropped: 7,
            lost_skipped: 0,
        },
        in_close_wait: Some(2),
        processes: vec![
            process_summary(),
            ProcessSummary {
                process: Arc::new(ProcessIdentity {
                    unit: known.unit.clone(),
                    container: known.container.clone(),
                    container_name: known.container_name.clone(),
                    pod: known.pod.clone(),
                    pod_namespace: known.pod_namespace.clone(),
                    ..ProcessIdentity::from_name(Pid::new(7), hostile)
                }),
                per_minute: None,
                verdicts: Vec::new(),
                peers: Vec::new(),
                stacks: vec![StackCount {
                    stack: Arc::new(Stack {
                        frames: Vec::new(),
                        site: None,
                        is_cut: true,
                        no_site: None,
                        found_by: None,
                    }),
                    count: 1,
                }],
                fds_used: None,
                fds_limit: None,
                fds_run_out_in_ns: None,
                fds_per_minute: None,
                accept_queue: None,
                accept_queue_limit: None,
                accept_queue_full_in_ns: None,
                command: None,
                reasons: None,
                ..process_summary()
            },
        ],
        more_processes: 8,
        sockets: Some(5),
        still_stuck: Some(3),
        not_looked_at: Some(NotLookedAt {
            everything: false,
            namespaces: 3,
            processes: 12,
            because: vec![hostile.to_owned()],
        }),
        ..summary()
    };
    let transition = |what| Record::Transition(Timed { time: time(), what });
    let leak_of = |leak| Record::Leak(Box::new(leak));
    let end_of = |end| Record::LeakEnd(Box::new(end));
    let cleared_of = |cleared| Record::Cleared(Box::new(cleared));
    let time_wait_of = |time_wait| Record::TimeWait(Box::new(time_wait));
    let service = TimeWait {
        destination: Destination::Incoming { local: v6("2001:db8::1") },
        ports: None,
        per_second: None,
        entered_per_second: None,
        oldest_left_ns: None,
        closed_first_by: Vec::new(),
        closed_first_unseen: None,
        candidates: vec![owner()],
        peers: vec![(v6("2001:db8::2").address(), 17)],
        ports_by_state: None,
        ports_held: None,
        ports_held_by: Vec::new(),
        ports_held_per_second: None,
        ..time_wait()
    };
    let criteria = Criteria {
        states: StateSet::CLOSE_WAIT.union(StateSet::FIN_WAIT2),
        older_than: std::time::Duration::from_millis(90_500),
        verdicts: vec![Verdict::EofRead, Verdict::NoHolder],
        family: Some(Family::V4),
        addresses: vec![ipnet::IpNet::new_assert([10, 0, 0, 0].into(), 8)],
        netns: vec![4_026_531_840],
        owners: OwnerCriteria {
            pids: vec![71],
            comms: vec![hostile.to_owned()],
            units: vec!["shop".to_owned()],
            containers: vec!["0123".to_owned()],
            pods: vec!["web-7d9f".to_owned()],
            namespaces: vec!["shop".to_owned()],
        },
        ..Criteria::default()
    };
    let selection = Selection { criteria, limit: Some(10) };
    vec![
        Record::Header(Box::new(header())),
        Record::Header(Box::new(Header {
            host: HostIdentity { boot_id: None, ..header().host },
            started: Timestamp::UNIX_EPOCH,
            command: vec!["tcptrace".to_owned(), hostile.to_owned()],
            ..header()
        })),
        transition(super::examples::transition()),
        transition(Transition {
            socket: bare,
            is_mptcp: true,
            entered_ns: Some(SECOND),
            oncpu: task(b"=\xffa\"\x1b"),
            cgroup_id: Some(u64::MAX),
            ..super::examples::transition()
        }),
        leak_of(leak()),
        leak_of(Leak {
            socket: bare,
            state: State::FinWait2,
            age: None,
            recv_q: None,
            send_q: None,
            verdict: None,
            owners: Vec::new(),
            unknown_because: Some(UnknownBecause::ProcessesNotRead),
            ..leak()
        }),
        leak_of(Leak {
            age: Some(Age { is_exact: true, at_most_ns: None, ..age() }),
            owners: vec![
                well_known.clone(),
                Owner { evidence: Evidence::Listener, inherited: Some(false), ..owner() },
            ],
            opened_by: Some(opened_by()),
            eof_read_by: Some(unseen_stack(called_by())),
            ..leak()
        }),
        leak_of(Leak {
            age: Some(Age { at_most_ns: None, ..age() }),
            opened_by: Some(Timed {
                time: Timestamp::UNIX_EPOCH,
                what: OpenedBy { how: OpenedHow::Connect, called: unseen_stack(called_by()).what },
            }),
            eof_read_by: Some(called_by()),
            because: Some(reasons()),
            ..leak()
        }),
        leak_of(Leak {
            state: State::Close,
            age: None,
            verdict: Some(Verdict::ConnectionOver),
            owners: vec![on_host(owner())],
            over: Some(Over { how: Some(EndedHow::Reset), ns: Some(125 * SECOND) }),
            ..leak()
        }),
        leak_of(Leak {
            verdict: Some(Verdict::HalfOpen),
            other_end: Some(OtherEnd {
                state: State::FinWait2,
                is_closed: Some(false),
                owners: vec![owner()],
                is_shut_for_reading: false,
            }),
            keep_alive: Some(true),
            ..leak()
        }),
        leak_of(Leak { no_site: Some(NoSiteBecause::BeforeStart.into()), ..leak() }),
        leak_of(Leak {
            opened_by: Some(Timed {
                time: time(),
                what: OpenedBy { how: OpenedHow::Connect, called: with_stack(through_library()) },
            }),
            eof_read_by: Some(Timed {
                time: time(),
                what: with_stack(Stack::unknown(NoSiteBecause::ProcessEnded)),
            }),
            ..leak()
        }),
        end_of(leak_end()),
        end_of(LeakEnd { socket: bare, how: None, closed_by: None, ..leak_end() }),
        end_of(LeakEnd { how: Some(EndedHow::OwnerExited), closed_by: Some(well_known), ..leak_end() }),
        time_wait_of(time_wait()),
        time_wait_of(service.clone()),
        time_wait_of(TimeWait { more_peers: 2, ..service }),
        Record::TimeWaitSummary(Box::new(time_wait_summary())),
        Record::TimeWaitSummary(Box::new(TimeWaitSummary {
            buckets_used: None,
            counters: PerCounter::default(),
            per_second: None,
            settings: TcpSettings::default(),
            ports: None,
            advice: Vec::new(),
            address_uses: Some(vec![address_use()]),
            ..time_wait_summary()
        })),
        cleared_of(cleared()),
        cleared_of(Cleared {
            socket: bare,
            age: None,
            verdict: None,
            method: None,
            outcome: Outcome::DryRun(Some(Refusal::NoDescriptor)),
            owners: Vec::new(),
            cleared_by: Arc::new(Actor { pid: 1, uid: 0, sudo_user: Some(hostile.to_owned()) }),
            selection: Arc::new(selection),
            unknown_because: Some(UnknownBecause::NamespaceNotListed),
            ..cleared()
        }),
        cleared_of(Cleared {
            method: Some(Method::Shutdown),
            outcome: Outcome::Changed(Change::State(State::LastAck)),
            ..cleared()
        }),
        Record::Summary(Box::new(summary())),
        Record::Summary(Box::new(summary_of_all.clone())),
        Record::ClearEnd(Box::new(ClearEnd {
            summary: summary(),
            outcomes: Outcomes { gone: 1, closing: 2, refused: 3, changed: 4, dry_run: 5 },
            kept: vec![kept(), kept()],
        })),
        Record::ClearEnd(Box::new(ClearEnd {
            summary: summary_of_all,
            outcomes: Outcomes::default(),
            kept: Vec::new(),
        })),
    ]
}
