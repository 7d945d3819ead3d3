//! Arbitrary records for property tests: whatever a session could say, hostile names and all. What no form of a record
//! shows is neutral, so that a record that was read back is equal to the one that was written.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*};

use super::{
    age::Age,
    any::Record,
    header::Header,
    leak::{Leak, LeakEnd, Over},
    summary::{PeerCount, ProcessSummary, ReasonCount, StackCount, Summary, Totals},
    timed::Timed,
};
use crate::model::{
    coverage::NotLookedAt,
    ended::EndedHow,
    endpoints::{Endpoint, Endpoints},
    found_by::{CallersBy, FoundBy, NamedBy},
    host_identity::HostIdentity,
    interface::Interface,
    no_site::{NoSite, NoSiteBecause},
    other_end::OtherEnd,
    owner::{CalledBy, Evidence, OpenedBy, Owner},
    pid::Pid,
    process::ProcessIdentity,
    reason::{Reason, ReasonId, ReasonNumbers},
    socket::{KernelSocket, Socket, SocketKey},
    stack::Stack,
    state::State,
    task::{Call, Comm, OpenedHow, Task},
    transition::Transition,
    verdict::Verdict,
};

/// Any record.
pub(crate) fn record() -> BoxedStrategy<Record> {
    prop_oneof![
        8 => transition().prop_map(Record::Transition),
        3 => leak().prop_map(|leak| Record::Leak(Box::new(leak))),
        2 => leak_end().prop_map(|end| Record::LeakEnd(Box::new(end))),
        1 => header().prop_map(|header| Record::Header(Box::new(header))),
        1 => summary().prop_map(|summary| Record::Summary(Box::new(summary))),
    ]
    .boxed()
}

/// Records of one session: few sockets, tasks and processes that come again and again, mostly in order.
pub(crate) fn session() -> BoxedStrategy<Vec<Record>> {
    let step = (0..6usize, 0..3usize, 0..20_000_000u64, option::of(Just(())), state(), state());
    let cast = (vec(socket(), 6), vec(task(), 3), any::<u32>(), any::<bool>());
    (cast, vec(prop_oneof![9 => step.prop_map(Ok), 1 => record().prop_map(Err)], 0..60))
        .prop_map(|((sockets, tasks, start, is_known), steps)| {
            let mut ktime_ns = u64::from(start);
            let mut last: [Option<(u64, State)>; 6] = [None; 6];
            steps
                .into_iter()
                .map(|step| {
                    let (socket, task, pause, odd, old, new) = match step {
                        Ok(step) => step,
                        Err(record) => return record,
                    };
                    ktime_ns += pause;
                    let before = last[socket].filter(|_| odd.is_none());
                    last[socket] = Some((ktime_ns, new));
                    let what = Transition {
                        ktime_ns,
                        old_state: before.map_or(old, |(_, state)| state),
                        new_state: new,
                        entered_ns: before.map(|(entered, _)| entered),
                        oncpu: tasks[task],
                        cgroup_id: is_known.then_some(1),
                        ..neutral(sockets[socket])
                    };
                    let time = Timestamp::UNIX_EPOCH + std::time::Duration::from_nanos(ktime_ns);
                    Record::Transition(Timed { time, what })
                })
                .collect()
        })
        .boxed()
}

fn neutral(socket: Socket) -> Transition {
    Transition {
        key: SocketKey(socket.cookie.unwrap_or(0)),
        socket,
        is_mptcp: false,
        ktime_ns: 0,
        old_state: State::Close,
        new_state: State::Close,
        entered_ns: None,
        oncpu: Task { pid: Pid::new(0), tid: Pid::new(0), comm: Comm::default() },
        kernel_socket: KernelSocket(0),
        cause: None,
        cgroup_id: None,
    }
}

/// A number, often small or at an edge.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..3u64, any::<u32>().prop_map(u64::from), any::<u64>(), u64::MAX - 2..=u64::MAX]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![0..3u32, any::<u32>()]
}

fn time() -> BoxedStrategy<Timestamp> {
    let nanoseconds = prop_oneof![
        any::<i64>().prop_map(i128::from),
        Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond()
    ];
    nanoseconds.prop_map(|nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap()).boxed()
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(&State::ALL[..])
}

/// A name as a stranger might choose it.
fn name() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{1,15}",
        any::<String>(),
        Just("a\"b,\u{1b}[2J\n=cmd()\u{202e}\u{fffd}".to_owned()),
        Just("{\"type\":\"leak\"}".to_owned())
    ]
    .boxed()
}

fn comm() -> impl Strategy<Value = Comm> {
    vec(prop_oneof![3 => b'a'..=b'z', 1 => 1..=255u8], 0..16).prop_map(|name| {
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(&name);
        Comm(bytes)
    })
}

fn task() -> impl Strategy<Value = Task> {
    (small(), small(), comm()).prop_map(|(pid, tid, comm)| Task {
        pid: Pid::new(pid),
        tid: Pid::new(tid),
        comm,
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()),
        Just(IpAddr::from([127, 0, 0, 1])),
        Just(IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])),
    ]
}

/// Known by its index or by its name: JSON has no room for both.
fn interface() -> impl Strategy<Value = Option<Interface>> {
    let known = prop_oneof![(1..4u32).prop_map(|index| index.to_string()), "test-[a-c]"];
    option::of(known.prop_map(|text| text.parse().unwrap()))
}

fn socket() -> BoxedStrategy<Socket> {
    let end = || (address(), any::<u16>()).prop_map(Endpoint::from);
    (option::of(number()), option::of(small()), end(), end(), interface())
        .prop_map(|(cookie, netns, local, remote, interface)| Socket {
            cookie,
            netns,
            endpoints: Endpoints { local, remote }.on(interface),
        })
        .boxed()
}

pub(crate) fn transition() -> BoxedStrategy<Timed<Transition>> {
    let moment = (time(), number(), option::of(number()));
    (moment, socket(), any::<bool>(), state(), state(), task(), option::of(number()))
        .prop_map(|((time, ktime_ns, entered), socket, is_mptcp, old_state, new_state, oncpu, cgroup_id)| {
            let entered_ns = entered.map(|entered| entered.min(ktime_ns));
            let what = Transition {
                is_mptcp,
                ktime_ns,
                old_state,
                new_state,
                entered_ns,
                oncpu,
                cgroup_id,
                ..neutral(socket)
            };
            Timed { time, what }
        })
        .boxed()
}

fn age() -> impl Strategy<Value = Age> {
    prop_oneof![
        number().prop_map(|ns| Age { ns, is_exact: true, at_most_ns: None }),
        (number(), option::of(number())).prop_map(|(ns, at_most_ns)| Age { ns, is_exact: false, at_most_ns })
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(&Verdict::ALL[..])
}

fn process() -> BoxedStrategy<Arc<ProcessIdentity>> {
    let texts = (name(), option::of(name()), vec(name(), 0..4));
    let places = (option::of(name()), option::of(name()), option::of(name()));
    let names = (option::of(name()), option::of(name()), option::of(name()));
    (small(), texts, option::of(small()), option::of(time()), (places, names, option::of(any::<bool>())))
        .prop_map(|(pid, (comm, exe, cmdline), uid, started, (places, names, is_32_bit))| {
            let ((cgroup, unit, container), (container_name, pod, pod_namespace)) = (places, names);
            let start_ticks = None;
            Arc::new(ProcessIdentity {
                pid: Pid::new(pid),
                comm,
                exe,
                cmdline,
                uid,
                started,
                start_ticks,
                cgroup,
                unit,
                container,
                container_name,
                pod,
                pod_namespace,
                is_32_bit,
            })
        })
        .boxed()
}

fn owner() -> BoxedStrategy<Owner> {
    let evidence = prop::sample::select(&Evidence::ALL[..]);
    (process(), vec(small(), 0..4), option::of(any::<bool>()), evidence)
        .prop_map(|(process, fds, inherited, evidence)| Owner { process, fds, inherited, evidence })
        .boxed()
}

fn stack() -> BoxedStrategy<Arc<Stack>> {
    (vec(name(), 0..4), option::of(name()), any::<bool>(), option::of(no_site()), option::of(found_by()))
        .prop_map(|(frames, site, is_cut, no_site, found_by)| {
            Arc::new(Stack { frames, site, is_cut, no_site, found_by })
        })
        .boxed()
}

fn found_by() -> BoxedStrategy<FoundBy> {
    let callers = vec(prop::sample::select(&CallersBy::ALL[..]), 0..4);
    (callers, option::of(prop::sample::select(&NamedBy::ALL[..])))
        .prop_map(|(callers, name)| FoundBy { callers, name })
        .boxed()
}

fn no_site() -> BoxedStrategy<NoSite> {
    (prop::sample::select(&NoSiteBecause::ALL[..]), option::of(name()))
        .prop_map(|(because, of)| NoSite { because, of })
        .boxed()
}

fn called() -> BoxedStrategy<Timed<CalledBy>> {
    (time(), task(), option::of(stack()))
        .prop_map(|(time, task, stack)| Timed {
            time,
            what: CalledBy { call: Call { task, ktime_ns: 0, stack: None }, stack },
        })
        .boxed()
}

fn opened() -> BoxedStrategy<Timed<OpenedBy>> {
    (called(), prop::sample::select(&OpenedHow::ALL[..]))
        .prop_map(|(Timed { time, what: called }, how)| Timed { time, what: OpenedBy { how, called } })
        .boxed()
}

fn reason() -> BoxedStrategy<Reason> {
    let small_ones = (
        option::of(small()),
        option::of(small()),
        option::of(small()),
        option::of(small()),
        option::of(small()),
        option::of(small()),
    );
    let numbers = vec(option::of(number()), 8);
    let words = vec(option::of(name()), 5);
    (prop::sample::select(&ReasonId::ALL[..]), name(), small_ones, numbers, words)
        .prop_map(|(id, text, (pid, tid, fd, tracer, newer, far_pid), numbers, mut words)| {
            let number = |at: usize| numbers.get(at).copied().flatten();
            let mut word = || words.pop().flatten();
            let numbers = ReasonNumbers {
                pid,
                tid,
                fd,
                address: word(),
                bytes: number(0),
                for_ns: number(1),
                used: number(2),
                limit: number(3),
                cpu_ns: number(4),
                within_ns: number(5),
                reads_per_second: number(6),
                threads: number(7),
                call: word(),
                protocol: word(),
                unit: word(),
                tracer,
                newer,
                far_pid,
                far_comm: word(),
            };
            Reason { id, text, numbers }
        })
        .boxed()
}

fn leak() -> BoxedStrategy<Leak> {
    let queues = (option::of(small()), option::of(small()), option::of(verdict()));
    let people = (vec(owner(), 0..3), option::of(opened()), option::of(called()));
    let over = (option::of(prop::sample::select(&EndedHow::ALL[..])), option::of(number()))
        .prop_map(|(how, ns)| Over { how, ns });
    let other_end =
        (state(), option::of(any::<bool>()), vec(owner(), 0..3)).prop_map(|(state, is_closed, owners)| {
            OtherEnd { state, is_closed, owners, is_shut_for_reading: false }
        });
    let late = (
        option::of(over),
        option::of(other_end),
        option::of(any::<bool>()),
        option::of(number()),
        option::of(number()),
        option::of(vec(reason(), 0..3)),
        option::of(no_site()),
    );
    (time(), socket(), state(), option::of(age()), queues, people, late)
        .prop_map(
            |(
                time,
                socket,
                state,
                age,
                (recv_q, send_q, verdict),
                (owners, opened_by, eof_read_by),
                late,
            )| Leak {
                time,
                socket,
                state,
                age,
                recv_q,
                send_q,
                verdict,
                owners,
                opened_by,
                eof_read_by,
                over: late.0,
                other_end: late.1,
                keep_alive: late.2,
                fds_used: late.3,
                fds_limit: late.4,
                // `.tct` lacks it.
                unknown_because: None,
                because: late.5,
                no_site: late.6,
            },
        )
        .boxed()
}

fn leak_end() -> BoxedStrategy<LeakEnd> {
    let how = option::of(prop::sample::select(&EndedHow::ALL[..]));
    (time(), socket(), age(), how, option::of(owner()))
        .prop_map(|(time, socket, age, how, closed_by)| LeakEnd { time, socket, age, how, closed_by })
        .boxed()
}

pub(crate) fn header() -> BoxedStrategy<Header> {
    ((name(), name(), name(), option::of(name())), time(), name(), name())
        .prop_map(|((version, host, kernel, boot_id), started, command, backend)| Header {
            version,
            host: HostIdentity { host, kernel, boot_id },
            started,
            command: vec![command],
            backend,
        })
        .boxed()
}

fn summary() -> BoxedStrategy<Summary> {
    let totals = (number(), number(), number()).prop_map(|(records, lost, evicted)| Totals {
        lost_skipped: lost / 2,
        records,
        lost,
        evicted,
        ..Totals::default()
    });
    let not_looked_at =
        (any::<bool>(), number(), vec(name(), 0..3)).prop_map(|(everything, count, because)| NotLookedAt {
            everything,
            namespaces: count,
            processes: count,
            because,
        });
    let sockets = (option::of(number()), option::of(number()), option::of(number()));
    let sums = (option::of(number()), vec(process_summary(), 0..3), number(), sockets);
    (time(), number(), totals, sums, option::of(not_looked_at))
        .prop_map(|(time, duration_ns, totals, sums, not_looked_at)| {
            let (in_close_wait, processes, more_processes, sockets) = sums;
            Summary {
                time,
                duration_ns,
                totals,
                in_close_wait,
                processes,
                more_processes,
                sockets: sockets.0,
                still_stuck: sockets.1,
                connections_over: sockets.2,
                not_looked_at,
            }
        })
        .boxed()
}

fn process_summary() -> BoxedStrategy<ProcessSummary> {
    let peer = ((address(), any::<u16>()).prop_map(Endpoint::from), number());
    let peers = vec(peer.prop_map(|(peer, count)| PeerCount { peer, count }), 0..3);
    let stacks = vec((stack(), number()).prop_map(|(stack, count)| StackCount { count, stack }), 0..2);
    let rate = option::of(any::<f64>().prop_filter("JSON has no such number", |rate| rate.is_finite()));
    let counts = (number(), number(), number(), option::of(number()));
    (process(), counts, rate, vec((verdict(), number()), 0..3), peers, stacks)
        .prop_map(|(process, (sockets, still_stuck, oldest_ns, fds), per_minute, verdicts, peers, stacks)| {
            let shown = ProcessIdentity {
                unit: process.unit.clone(),
                container: process.container.clone(),
                container_name: process.container_name.clone(),
                pod: process.pod.clone(),
                pod_namespace: process.pod_namespace.clone(),
                ..ProcessIdentity::from_name(process.pid, &process.comm)
            };
            ProcessSummary {
                process: Arc::new(shown),
                sockets,
                still_stuck,
                oldest_ns,
                per_minute,
                verdicts,
                peers,
                stacks,
                fds_used: fds,
                fds_limit: fds,
                fds_run_out_in_ns: fds,
                fds_per_minute: per_minute,
                accept_queue: fds,
                accept_queue_limit: fds,
                accept_queue_full_in_ns: fds,
                command: fds.map(|fds| fds.to_string()),
                reasons: fds.map(|count| {
                    vec![ReasonCount {
                        verdict: Verdict::EofRead,
                        id: None,
                        count,
                        text: "\u{1b}".to_owned(),
                    }]
                }),
            }
        })
        .boxed()
}
