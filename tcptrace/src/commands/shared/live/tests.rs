//! A live session whose transitions, clocks, signals and inspector a test plays, without root. What is checked is what
//! the session writes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

use std::{
    fs, panic,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::mpsc::Sender,
    time::{sleep, timeout},
};

use super::*;
use crate::{
    commands::shared::{error::exit_code, transition_stream::scripted::Script},
    forms::{jsonl, reading::reader::Reader},
    host::clock::Clocks,
    inspect::thread::InspectorJob,
    kernel::TrackedCalls,
    model::{
        close_wait::{Due, Preexisting, Since, Stuck},
        coverage::Coverage,
        criteria::Criteria,
        ended::EndedHow,
        examples::{self, SECOND},
        finding::Finding,
        owner::Owner,
        pid::Pid,
        process::{DescriptorUse, ProcessIdentity, ProcessUse, UseQuery},
        record::{Leak, LeakEnd, Over},
        socket::{KernelSocket, Socket, SocketKey},
        state::{State, StateSet},
        transition::{Cause, Transition},
        verdict::Verdict,
    },
    output::options::{FileOptions, Route, Sink},
};

/// Longest that a test waits for something that has to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Enough for several ticks.
const SOME_TICKS: Duration = Duration::from_millis(350);

/// When each session begins, by its own clocks.
const STARTED: u64 = 1_000 * SECOND;

const THRESHOLD: Duration = Duration::from_secs(10);

/// What goes on outside of a session, and what it has written.
struct Stage {
    world: World,
    transitions: Script,
    signals: Sender<SignalRequest>,
    inspected: Inspected,
    path: PathBuf,
}

/// The keys of sockets that were inspected, each with the time.
#[derive(Clone, Default)]
struct Inspected(Arc<Mutex<Vec<(u64, u64)>>>);

impl Inspected {
    fn note(&self, due: &[Due], now_ns: u64) {
        let mut inspected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inspected.extend(due.iter().map(|due| (due.key.0, now_ns)));
    }

    fn all(&self) -> Vec<(u64, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Stage {
    fn advance(&self, by: Duration) {
        self.world.clocks.advance(by);
    }

    fn now_ns(&self) -> u64 {
        self.world.clocks.monotonic_ns()
    }

    async fn send(&self, request: SignalRequest) {
        self.signals.send(request).await.unwrap();
    }

    /// Waits until so many records with this name have been written.
    async fn written(&self, name: &str, count: usize) {
        let name = format!("\"{name}\"");
        until(|| fs::read_to_string(&self.path).is_ok_and(|text| text.matches(&name).count() >= count)).await;
    }

    async fn inspected(&self, count: usize) {
        until(|| self.inspected.all().len() >= count).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it has not come");
}

/// A session that follows sockets in CLOSE_WAIT.
fn leaks() -> LiveOptions {
    LiveOptions {
        tracer: TracerOptions {
            backend: None,
            transport: None,
            criteria: Criteria { states: StateSet::CLOSE_WAIT, older_than: THRESHOLD, ..Criteria::default() },
            track_all_states: false,
            ring_bytes: 4096,
            max_sockets: 100,
            calls: TrackedCalls::default(),
            wakes_soon: true,
            details_after: Duration::ZERO,
            told_after: Duration::ZERO,
            report_over: true,
        },
        transitions: false,
        exit_code: true,
        watch: Some(WatchOptions { max_sockets: 100 }),
        exec: None,
        duration: None,
        outputs: OutputOptions { routes: Vec::new(), files: FileOptions::default() },
    }
}

/// A session that writes transitions only.
fn trace() -> LiveOptions {
    LiveOptions { transitions: true, watch: None, ..leaks() }
}

/// Runs a session on a stage while `act` plays; `find` is what the inspector finds of a socket. How it ended,
/// and what it wrote.
async fn play(
    mut options: LiveOptions,
    preexisting: Vec<Preexisting>,
    mut find: impl FnMut(&Due, u64) -> Finding + Send + 'static,
    act: impl AsyncFnOnce(&Stage),
) -> (Result<Conclusion, CommandError>, Vec<Record>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.jsonl");
    options.outputs.files.flush = Duration::ZERO;
    options.outputs.routes.push(Route {
        sink: Sink::File(path.clone()),
        format: &jsonl::form::FORMAT,
        is_compressed: false,
    });
    let world = World { clocks: Clocks::scripted(STARTED), ..World::of_this_host() };
    let (sender, mut signals) = Signals::scripted();
    signals.end_after(options.duration);
    let inspected = Inspected::default();
    let stage = Stage {
        world: world.clone(),
        transitions: Script::default(),
        signals: sender,
        inspected: inspected.clone(),
        path: path.clone(),
    };
    let clocks = world.clocks.clone();
    let mut over = Vec::new();
    let inspector = InspectorThread::scripted(move |job| match job {
        InspectorJob::Preexisting => Answer::Preexisting(preexisting.clone(), Coverage::default()),
        InspectorJob::Inspect(due) => {
            let now_ns = clocks.monotonic_ns();
            inspected.note(&due, now_ns);
            let is_over = |due: &&Due| due.stuck != Stuck::InCloseWait;
            over.extend(due.iter().filter(is_over).map(|due| Preexisting {
                socket: due.socket,
                stuck: due.stuck,
                since: due.since,
            }));
            Answer::Findings(due.iter().map(|due| find(due, now_ns)).collect())
        }
        InspectorJob::HeldOver => Answer::HeldOver(Some(over.clone())),
        InspectorJob::ProcessUse(queries) => {
            let of = |query: &UseQuery| match query.pid {
                ENDED => DescriptorUse::default(),
                _ => DescriptorUse { used: Some(40), limit: Some(1024) },
            };
            let of = |query| ProcessUse { descriptors: of(query), queue: None };
            Answer::ProcessUse { found: queries.iter().map(of).collect(), took_ns: 0 }
        }
    });
    let sources =
        Sources { transitions: stage.transitions.clone(), inspector: Some(inspector.unwrap()), signals };
    let outputs = OpenedOutputs::open(&options.outputs).unwrap();
    let session = Session::start(&options, &world, STARTED, sources, outputs).unwrap();
    let (ended, ()) = tokio::join!(session.run(), act(&stage));
    let records = if ended.is_ok() { records(&path) } else { Vec::new() };
    (ended, records)
}

fn records(path: &Path) -> Vec<Record> {
    let mut reader = Reader::open(path).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// The socket with this cookie goes from one state to another at this time.
fn transition(cookie: u64, states: (State, State), ktime_ns: u64) -> Transition {
    Transition {
        key: SocketKey(cookie),
        socket: Socket { cookie: Some(cookie), ..examples::socket() },
        ktime_ns,
        old_state: states.0,
        new_state: states.1,
        kernel_socket: KernelSocket(cookie),
        ..examples::transition()
    }
}

const PEER_CLOSES: (State, State) = (State::Established, State::CloseWait);
const CLOSED: (State, State) = (State::CloseWait, State::LastAck);

/// A process that has ended when it is asked what it has left.
const ENDED: Pid = Pid::new(79);

/// It is stuck, and held by `shop`.
fn stuck(due: &Due, now_ns: u64) -> Finding {
    let Due { key, socket, stuck: _, since, kernel_socket: _ } = *due;
    Finding { key, socket, ..examples::finding(State::CloseWait, since, now_ns) }
}

fn held_by(finding: Finding, comm: &str) -> Finding {
    let process = Arc::new(ProcessIdentity::from_name(Pid::new(80), comm));
    Finding { owners: vec![Owner { process, ..examples::owner() }], ..finding }
}

fn reported(records: &[Record]) -> Vec<&Leak> {
    records
        .iter()
        .filter_map(|record| if let Record::Leak(leak) = record { Some(&**leak) } else { None })
        .collect()
}

fn ends(records: &[Record]) -> Vec<&LeakEnd> {
    records
        .iter()
        .filter_map(|record| if let Record::LeakEnd(end) = record { Some(&**end) } else { None })
        .collect()
}

fn summary(records: &[Record]) -> &Summary {
    match records.last() {
        Some(Record::Summary(summary)) => summary,
        other => panic!("no summary at the end: {other:?}"),
    }
}

#[tokio::test]
async fn a_socket_is_reported_at_the_threshold_and_its_end_when_it_leaves() {
    let (ended, records) = play(leaks(), Vec::new(), stuck, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD.checked_sub(Duration::from_nanos(1)).unwrap());
        sleep(SOME_TICKS).await;
        assert_eq!(stage.inspected.all(), []);
        stage.advance(Duration::from_nanos(1));
        stage.written("leak", 1).await;
        stage.transitions.push(transition(9, CLOSED, STARTED + 15 * SECOND));
        stage.written("leak_end", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    let [leak] = reported(&records)[..] else { panic!("{records:?}") };
    assert_eq!((leak.age.unwrap().ns, leak.age.unwrap().is_exact), (10 * SECOND, true));
    assert_eq!(leak.owners, [examples::owner()]);
    let [end] = ends(&records)[..] else { panic!("{records:?}") };
    assert_eq!((end.age.ns, end.socket.cookie), (15 * SECOND, Some(9)));
    let summary = summary(&records);
    assert_eq!((summary.duration_ns, summary.in_close_wait), (10 * SECOND, Some(0)));
    let [process] = &summary.processes[..] else { panic!("{summary:?}") };
    assert_eq!((process.sockets, process.still_stuck, process.fds_used), (1, 0, Some(40)));
}

#[tokio::test]
async fn a_socket_that_is_kept_back_is_taken_when_it_has_stayed_and_all_are_at_the_end() {
    let mut options = leaks();
    options.tracer.told_after = Duration::from_millis(500);
    let (ended, records) = play(options, Vec::new(), stuck, async |stage| {
        stage.transitions.keep_back(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD);
        stage.written("leak", 1).await;
        stage.transitions.keep_back(transition(10, PEER_CLOSES, stage.now_ns()));
        sleep(SOME_TICKS).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    let [leak] = reported(&records)[..] else { panic!("{records:?}") };
    assert_eq!((leak.age.unwrap().ns, leak.age.unwrap().is_exact), (10 * SECOND, true));
    assert_eq!(summary(&records).in_close_wait, Some(2), "the other one has come a moment ago");
}

#[tokio::test]
async fn the_sums_name_who_has_a_socket_whose_holder_has_ended() {
    let mut looks = 0;
    let find = move |due: &Due, now_ns: u64| {
        looks += 1;
        let holder = if looks == 1 { (ENDED, "parent") } else { (Pid::new(80), "child") };
        let process = Arc::new(ProcessIdentity::from_name(holder.0, holder.1));
        Finding { owners: vec![Owner { process, ..examples::owner() }], ..stuck(due, now_ns) }
    };
    let (ended, records) = play(leaks(), Vec::new(), find, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD);
        stage.written("leak", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    assert_eq!(reported(&records).len(), 1, "it is reported once");
    let summary = summary(&records);
    assert_eq!((summary.sockets, summary.still_stuck), (Some(1), Some(1)));
    let holders: Vec<(&str, u64)> =
        summary.processes.iter().map(|of| (of.process.comm.as_str(), of.still_stuck)).collect();
    assert_eq!(holders, [("child", 1), ("parent", 0)]);
}

#[tokio::test]
async fn a_socket_that_leaves_before_the_threshold_is_never_looked_at() {
    let (ended, records) = play(leaks(), Vec::new(), stuck, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.transitions.push(transition(9, CLOSED, STARTED + 9 * SECOND));
        stage.advance(THRESHOLD);
        sleep(SOME_TICKS).await;
        assert_eq!(stage.inspected.all(), []);
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Done);
    assert!(reported(&records).is_empty() && ends(&records).is_empty());
}

#[tokio::test]
async fn a_descriptor_that_outlives_its_connection_is_reported_once_and_counted_apart() {
    let find = |due: &Due, now_ns: u64| Finding {
        state: State::Close,
        verdict: Some(Verdict::ConnectionOver),
        ended_how: Some(EndedHow::Reset),
        ..stuck(due, now_ns)
    };
    let (ended, records) = play(leaks(), Vec::new(), find, async |stage| {
        let cause = Some(Cause { error: 104, oncpu_exiting: false, is_over: true });
        let reset = transition(9, (State::Established, State::Close), STARTED);
        stage.transitions.push(Transition { cause, ..reset });
        stage.advance(THRESHOLD);
        stage.written("leak", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    let [leak] = reported(&records)[..] else { panic!("{records:?}") };
    assert_eq!((leak.state, leak.age), (State::Close, None));
    assert_eq!(leak.over, Some(Over { how: Some(EndedHow::Reset), ns: Some(10 * SECOND) }));
    let summary = summary(&records);
    assert_eq!((summary.in_close_wait, summary.connections_over), (Some(0), Some(1)));
    assert_eq!(summary.processes[0].verdicts, [(Verdict::ConnectionOver, 1)]);
}

#[tokio::test]
async fn a_half_close_is_looked_at_again_until_it_is_one_no_more() {
    let mut looks = 0;
    let find = move |due: &Due, now_ns: u64| {
        looks += 1;
        let verdict = if looks == 1 { Verdict::HalfOpen } else { Verdict::EofRead };
        Finding { verdict: Some(verdict), ..stuck(due, now_ns) }
    };
    let (ended, records) = play(leaks(), Vec::new(), find, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD);
        stage.inspected(1).await;
        stage.advance(THRESHOLD.checked_sub(Duration::from_nanos(1)).unwrap());
        sleep(SOME_TICKS).await;
        assert_eq!(stage.inspected.all().len(), 1);
        stage.advance(Duration::from_nanos(1));
        stage.written("leak", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    let [leak] = reported(&records)[..] else { panic!("{records:?}") };
    assert_eq!((leak.age.unwrap().ns, leak.verdict), (20 * SECOND, Some(Verdict::EofRead)));
}

#[tokio::test]
async fn only_sockets_of_wanted_owners_are_reported_and_others_are_not_looked_at_again() {
    let mut options = leaks();
    options.tracer.criteria.owners.comms = vec!["shop".to_owned()];
    let find = |due: &Due, now_ns: u64| {
        if due.key.0 == 7 { held_by(stuck(due, now_ns), "bank") } else { stuck(due, now_ns) }
    };
    let (ended, records) = play(options, Vec::new(), find, async |stage| {
        stage.transitions.push(transition(7, PEER_CLOSES, STARTED));
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD);
        stage.written("leak", 1).await;
        stage.advance(THRESHOLD * 100);
        sleep(SOME_TICKS).await;
        // The end of one that was not reported is not either.
        stage.transitions.push(transition(7, CLOSED, stage.now_ns()));
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    let cookies: Vec<_> = reported(&records).iter().map(|leak| leak.socket.cookie).collect();
    assert_eq!((cookies, ends(&records).len()), (vec![Some(9)], 0));
}

#[tokio::test]
async fn sockets_that_were_there_first_are_followed_if_they_are_wanted() {
    let mut options = leaks();
    options.tracer.criteria.netns = vec![5];
    let listed = |cookie, netns| Preexisting {
        socket: Socket { cookie: Some(cookie), netns: Some(netns), ..examples::socket() },
        stuck: Stuck::InCloseWait,
        since: Since::within(None, STARTED - 100 * SECOND),
    };
    let preexisting = vec![listed(7, 4), listed(9, 5)];
    let (ended, records) = play(options, preexisting, stuck, async |stage| {
        stage.written("leak", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Found);
    let [leak] = reported(&records)[..] else { panic!("{records:?}") };
    assert_eq!(leak.socket.cookie, Some(9));
    assert_eq!((leak.age.unwrap().ns, leak.age.unwrap().is_exact), (100 * SECOND, false));
}

#[tokio::test]
async fn a_socket_that_is_gone_when_it_is_looked_at_is_dropped_in_silence() {
    let find = |due: &Due, now_ns: u64| Finding { is_stuck: false, ..stuck(due, now_ns) };
    let (ended, records) = play(leaks(), Vec::new(), find, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD);
        stage.inspected(1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Done);
    assert_eq!((reported(&records).len(), summary(&records).in_close_wait), (0, Some(0)));
}

#[tokio::test]
async fn what_the_ring_had_no_room_for_is_in_the_summary() {
    let (ended, records) = play(trace(), Vec::new(), stuck, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.transitions.lose(7);
        stage.written("transition", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Incomplete, "seven of eight are lost");
    let totals = summary(&records).totals;
    assert_eq!((totals.records, totals.lost), (1, 7));
}

#[tokio::test]
async fn a_session_ends_though_records_never_stop_coming() {
    let (ended, records) = play(leaks(), Vec::new(), stuck, async |stage| {
        let opened = transition(9, (State::SynSent, State::Established), STARTED);
        stage.transitions.repeat(opened, stage.world.clocks.clone(), Duration::from_millis(100));
        sleep(Duration::from_millis(10)).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Incomplete, "what was there at the end is never over");
    assert!(summary(&records).totals.records > 0);
}

#[tokio::test]
async fn an_inspector_that_dies_ends_the_session_with_an_error() {
    let find = |_: &Due, _: u64| panic::resume_unwind(Box::new("it has died"));
    let (ended, _) = play(leaks(), Vec::new(), find, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(THRESHOLD);
    })
    .await;
    assert!(matches!(ended, Err(CommandError::InspectorGone(_))), "{ended:?}");
    assert_eq!(exit_code(&ended), 4);
}

#[tokio::test]
async fn a_hangup_begins_a_new_file_where_the_old_one_was_moved_away() {
    let (ended, records) = play(trace(), Vec::new(), stuck, async |stage| {
        stage.transitions.push(transition(1, PEER_CLOSES, STARTED));
        stage.written("transition", 1).await;
        let old = stage.path.with_extension("old");
        fs::rename(&stage.path, &old).unwrap();
        stage.send(SignalRequest::Reopen).await;
        stage.written("header", 1).await;
        stage.transitions.push(transition(2, PEER_CLOSES, STARTED));
        stage.written("transition", 1).await;
        let old = records(&old);
        let cookies = |records: &[Record]| {
            records.iter().filter(|record| matches!(record, Record::Transition(_))).count()
        };
        assert_eq!(cookies(&old), 1, "{old:?}");
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Done);
    let transitions: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Transition(transition) => transition.what.socket.cookie,
            _ => None,
        })
        .collect();
    assert_eq!(transitions, [2]);
    assert_eq!(summary(&records).totals.records, 2);
}

#[tokio::test]
async fn a_session_ends_by_itself_when_its_time_is_up() {
    let options = LiveOptions { duration: Some(Duration::from_millis(150)), ..leaks() };
    let (ended, records) = play(options, Vec::new(), stuck, async |stage| {
        stage.transitions.push(transition(9, PEER_CLOSES, STARTED));
        stage.advance(Duration::from_secs(3));
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Done);
    let summary = summary(&records);
    assert_eq!((summary.duration_ns, summary.in_close_wait), (3 * SECOND, Some(1)));
}

#[tokio::test]
async fn transitions_of_other_namespaces_are_left_out() {
    let mut options = trace();
    options.tracer.criteria.netns = vec![5];
    let (ended, records) = play(options, Vec::new(), stuck, async |stage| {
        for (cookie, netns) in [(7, Some(4)), (8, None), (9, Some(5))] {
            let mut transition = transition(cookie, PEER_CLOSES, STARTED);
            transition.socket.netns = netns;
            stage.transitions.push(transition);
        }
        stage.written("transition", 1).await;
        stage.send(SignalRequest::End).await;
    })
    .await;
    assert_eq!(ended.unwrap(), Conclusion::Done);
    let [_, Record::Transition(transition), Record::Summary(_)] = &records[..] else { panic!("{records:?}") };
    assert_eq!(transition.what.socket.cookie, Some(9));
}
