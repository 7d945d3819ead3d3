//! The tool inside a pid namespace, as in a debug container: a number of the host is never taken for one of the
//! namespace, so that nobody there is blamed, and nothing of theirs is touched.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::support::compare::text;
use crate::support::leaky::Leaky;
use crate::support::pidns::{PidNamespace, Proc};
use crate::support::run::{Ran, finish, run};
use crate::support::time_waits::records;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;
use crate::support::waiter::Waiter;
use crate::support::{Backend, TCPTRACE};

on_both_backends! {
    a_leaker_inside_is_named_by_its_number_inside_and_nobody_else_is,
    openers_closers_and_running_tasks_have_their_numbers_inside,
    a_leaker_outside_has_no_number_inside,
    who_closed_first_is_named_by_the_number_inside,
}

live_tests! {
    a_look_from_inside_names_nobody_by_the_number_that_the_leaker_has_outside,
    clear_inside_ends_the_leak_and_touches_nothing_of_who_has_its_number,
    filters_and_commands_take_and_get_the_number_inside,
    where_proc_is_that_of_the_host_its_numbers_count,
}

/// A leaker in a pid namespace, and somebody innocent there who has the number that the leaker has on the host, and a
/// working connection under each number of a descriptor that the leaker has.
struct Scene {
    leaky: Leaky,
    innocent: Waiter,
    ends: Vec<TcpStream>,
    namespace: PidNamespace,
}

impl Scene {
    fn new() -> Self {
        let namespace = PidNamespace::new();
        let leaky = Leaky::start_by("accepted_kept", &[], |command| namespace.start(command, Proc::Own));
        let leaker = &leaky.truth().holders[0];
        let on_host = namespace.on_host(leaker.pid);
        assert_ne!(on_host, leaker.pid, "the numbers differ");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        namespace.give_next(on_host);
        let innocent =
            Waiter::connect_by(listener.local_addr().unwrap(), "never", &["--count", "20"], |command| {
                namespace.start(command, Proc::Own)
            });
        innocent.done();
        // All are in the backlog.
        let ends = (0..20).map(|_| listener.accept().unwrap().0).collect();
        assert_eq!(namespace.on_host(on_host), innocent.pid(), "the innocent has the leaker's number");
        for fd in &leaker.fds {
            let held = std::fs::read_link(format!("/proc/{}/fd/{fd}", innocent.pid())).unwrap();
            let held = held.display().to_string();
            assert!(held.starts_with("socket:"), "descriptor {fd} of the innocent is {held}");
        }
        Self { leaky, innocent, ends, namespace }
    }

    fn truth(&self) -> &Truth {
        self.leaky.truth()
    }

    fn lport(&self) -> String {
        self.truth().lport.to_string()
    }

    /// Runs the tool in the namespace.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(TCPTRACE);
        finish(self.namespace.start(command.args(arguments), Proc::Own))
    }

    /// Expects these records to name the leaker by its number inside, and nobody else.
    fn names_the_leaker(&self, what: &str, records: &[Value]) {
        let leak = self.truth().records("leak", records);
        let [leak] = leak[..] else { panic!("{what}: {} leaks in {records:#?}", leak.len()) };
        let leaker = &self.truth().holders[0];
        let owners = leak["owners"].as_array().unwrap();
        assert_eq!(owners.len(), 1, "{what}: {leak}");
        assert_eq!(owners[0]["pid"], leaker.pid, "{what}: {leak}");
        assert_eq!(owners[0]["host_pid"], Value::Null, "{what}: {leak}");
        assert_eq!(owners[0]["comm"], leaker.comm.as_str(), "{what}: {leak}");
        assert_eq!(owners[0]["fds"], Value::from(leaker.fds.clone()), "{what}: {leak}");
        let summary = records.last().unwrap();
        for process in summary["processes"].as_array().unwrap() {
            assert_eq!(process["pid"], leaker.pid, "{what}: {summary}");
        }
    }

    /// Expects every connection of the innocent to be as it was.
    fn innocent_is_unharmed(&self) {
        assert_eq!(self.ends.len(), 20);
        for end in &self.ends {
            end.set_nonblocking(true).unwrap();
            let read = end.peek(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Err(ErrorKind::WouldBlock), "a connection of {}", self.innocent.pid());
        }
    }
}

/// The exit code of a look from inside: what lies outside could not be looked at.
const PARTLY: i32 = 4;

fn a_look_from_inside_names_nobody_by_the_number_that_the_leaker_has_outside() {
    let scene = Scene::new();
    let lport = scene.lport();
    for more in [&[][..], &["--holders", "proc"], &["--holders", "iterator"]] {
        let arguments = [&["now", "--format", "jsonl", "--lport", &lport], more].concat();
        let ran = scene.run(&arguments);
        assert_eq!(ran.code, Some(PARTLY), "{arguments:?}: {}", ran.messages);
        assert!(ran.messages.contains("--pid=host"), "{arguments:?}: {}", ran.messages);
        scene.names_the_leaker(&format!("{arguments:?}"), &records(&ran));
    }
    let ran = scene.run(&["now", "--lport", &lport]);
    assert!(ran.output.contains(&scene.truth().holders[0].comm), "{}", ran.output);
    assert!(!ran.output.contains("waiter"), "{}", ran.output);
}

fn a_leaker_inside_is_named_by_its_number_inside_and_nobody_else_is(backend: Backend) {
    let scene = Scene::new();
    let lport = scene.lport();
    let arguments = ["leaks", "--older-than", "0s", "--lport", &lport, "--backend", backend.name()];
    let tracer = Tracer::start_by(&arguments, |command| scene.namespace.start(command, Proc::Own));
    tracer.wait_for_each("leak", &scene.leaky.truths);
    let session = tracer.stop();
    session.summary_with(PARTLY);
    scene.names_the_leaker("leaks", &session.records);
}

fn openers_closers_and_running_tasks_have_their_numbers_inside(backend: Backend) {
    let namespace = PidNamespace::new();
    let watch = |arguments: &[&str]| {
        let arguments = [arguments, &["--backend", backend.name()]].concat();
        Tracer::start_by(&arguments, |command| namespace.start(command, Proc::Own))
    };
    let (leaks, trace) = (watch(&["leaks", "--older-than", "0s"]), watch(&["trace"]));
    let mut leaky = Leaky::start_by("accepted_kept", &[], |command| namespace.start(command, Proc::Own));
    let leak = leaks.wait_for_each("leak", &leaky.truths).remove(0);
    leaky.close();
    let end = leaks.wait_for_each("leak_end", &leaky.truths).remove(0);
    let truth = leaky.truth();
    let (holder, opener) = (&truth.holders[0], truth.opener.as_ref().unwrap());
    assert_eq!(leak["owners"][0]["pid"], holder.pid, "{leak}");
    for (field, expected) in [("pid", Value::from(opener.pid)), ("tid", opener.tid.into())] {
        assert_eq!(leak["opened_by"][field], expected, "{field}: {leak}");
    }
    assert_eq!(leak["opened_by"]["host_pid"], Value::Null, "{leak}");
    assert!(leak["opened_by"]["stack"].is_array(), "the stack of a process inside is named: {leak}");
    assert_eq!(end["closed_by"]["pid"], holder.pid, "{end}");
    let closing = trace.wait_for("the transition at close()", |record| {
        record["type"] == "transition" && truth.is_about(record) && record["old_state"] == "CLOSE_WAIT"
    });
    assert_eq!(closing["oncpu"]["pid"], holder.pid, "{closing}");
    assert_eq!(closing["oncpu"]["tid"], holder.pid, "{closing}");
    leaks.stop().summary_with(PARTLY);
    trace.stop().summary();
}

fn a_leaker_outside_has_no_number_inside(backend: Backend) {
    let namespace = PidNamespace::new();
    let watch = |arguments: &[&str]| {
        let arguments = [arguments, &["--backend", backend.name()]].concat();
        Tracer::start_by(&arguments, |command| namespace.start(command, Proc::Own))
    };
    let (leaks, trace) = (watch(&["leaks", "--older-than", "0s"]), watch(&["trace"]));
    let mut leaky = Leaky::start("accepted_kept", &[]);
    let truth = leaky.truth().clone();
    let on_host = truth.holders[0].pid;
    let leak = leaks.wait_for_each("leak", &leaky.truths).remove(0);
    let opener = &leak["opened_by"];
    assert_eq!(opener["pid"], Value::Null, "{leak}");
    assert_eq!(opener["tid"], Value::Null, "{leak}");
    assert_eq!(opener["host_pid"], on_host, "{leak}");
    assert_eq!(opener["comm"], truth.opener.as_ref().unwrap().comm.as_str(), "{leak}");
    let [owner] = &leak["owners"].as_array().unwrap()[..] else { panic!("one owner: {leak}") };
    assert_eq!(owner["pid"], Value::Null, "{leak}");
    assert_eq!(owner["host_pid"], on_host, "{leak}");
    assert_eq!(owner["evidence"], "opened", "{leak}");
    leaky.close();
    let closing = trace.wait_for("the transition at close()", |record| {
        record["type"] == "transition" && truth.is_about(record) && record["old_state"] == "CLOSE_WAIT"
    });
    assert_eq!(closing["oncpu"]["pid"], Value::Null, "{closing}");
    let session = leaks.stop();
    let processes = session.summary_with(PARTLY)["processes"].as_array().unwrap();
    let process = processes.iter().find(|process| process["host_pid"] == on_host);
    let process = process.unwrap_or_else(|| panic!("no process {on_host} of the host in {processes:#?}"));
    assert_eq!(process["pid"], Value::Null, "{process}");
    assert!(processes.iter().all(|process| process["pid"] != on_host), "{processes:#?}");
    assert!(session.messages.contains("--pid=host"), "{}", session.messages);
    trace.stop().summary();
    // What people read.
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept.jsonl");
    let lines: Vec<String> = session.records.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(&kept, lines.concat()).unwrap();
    let ran = run(&["trace", "--replay", kept.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    let who = format!("leaky-holder (pid {on_host} of the host)");
    assert!(ran.output.contains(&who), "{who:?} is not in:\n{}", ran.output);
}

fn who_closed_first_is_named_by_the_number_inside(backend: Backend) {
    let namespace = PidNamespace::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let port = to.port().to_string();
    let arguments =
        ["time-wait", "--watch", "--interval", "1h", "--rport", &port, "--backend", backend.name()];
    let tracer = Tracer::start_by(&arguments, |command| namespace.start(command, Proc::Own));
    // Somebody outside and somebody inside.
    let inside =
        Waiter::connect_by(to, "first", &["--count", "30"], |command| namespace.start(command, Proc::Own));
    let on_host = inside.pid();
    namespace.give_next(on_host);
    let (innocent, _) = namespace.start(&mut Command::new("cat"), Proc::Own);
    assert_eq!(namespace.on_host(on_host), innocent.pid());
    let accept = || {
        for _ in 0..30 {
            let (mut end, _) = listener.accept().unwrap();
            std::io::Read::read_to_end(&mut end, &mut Vec::new()).unwrap();
        }
    };
    accept();
    inside.done();
    let outside =
        Waiter::connect_by(to, "first", &["--count", "30"], crate::support::process::Process::start);
    accept();
    outside.done();
    let session = tracer.stop();
    let destination = |record: &&Value| record["type"] == "time_wait" && record["rport"] == to.port();
    let record = session.records.iter().rfind(destination).expect("a destination");
    let closers = record["closed_first_by"].as_array().unwrap();
    let mut numbers: Vec<(Option<i64>, Option<i64>)> =
        closers.iter().map(|closer| (closer["pid"].as_i64(), closer["host_pid"].as_i64())).collect();
    numbers.sort_unstable();
    let number_inside = inside_number(on_host);
    let expected = [(None, Some(i64::from(outside.pid()))), (Some(i64::from(number_inside)), None)];
    assert_eq!(numbers, expected, "{record}");
    assert!(closers.iter().all(|closer| text(closer, "comm") == "waiter"), "{record}");
}

/// The number that a process of the host has in its own pid namespace.
fn inside_number(on_host: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{on_host}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    numbers.split_whitespace().last().unwrap().parse().unwrap()
}

fn clear_inside_ends_the_leak_and_touches_nothing_of_who_has_its_number() {
    let scene = Scene::new();
    let lport = scene.lport();
    let arguments = ["clear", "--yes", "--method", "shutdown", "--older-than", "0s", "--format", "jsonl"];
    let ran = scene.run(&[&arguments[..], &["--lport", &lport]].concat());
    assert_eq!(ran.code, Some(PARTLY), "{}", ran.messages);
    let cleared = records(&ran);
    let [cleared] = scene.truth().records("cleared", &cleared)[..] else { panic!("{cleared:#?}") };
    assert_eq!((&cleared["outcome"], &cleared["method"]), (&"gone".into(), &"shutdown".into()), "{cleared}");
    assert_eq!(cleared["owners"][0]["pid"], scene.truth().holders[0].pid, "{cleared}");
    scene.innocent_is_unharmed();
}

fn filters_and_commands_take_and_get_the_number_inside() {
    let scene = Scene::new();
    let leaker = scene.truth().holders[0].pid;
    let on_host = scene.namespace.on_host(leaker);
    for (pid, expected) in [(leaker, 1), (on_host, 0)] {
        let (lport, pid) = (scene.lport(), pid.to_string());
        let ran = scene.run(&["now", "--format", "jsonl", "--lport", &lport, "--pid", &pid]);
        let found = scene.truth().records("leak", &records(&ran)).len();
        assert_eq!(found, expected, "--pid {pid}: {}\n{}", ran.output, ran.messages);
    }
    // What a command gets: the number inside, and no number of the host under the name of one.
    let outside = Leaky::start("accepted_kept", &[]);
    for (truth, expected) in
        [(scene.truth(), format!("[{leaker}] []")), (outside.truth(), "[] []".to_owned())]
    {
        let lport = truth.lport.to_string();
        let ran = scene.run(&[
            "leaks",
            "--older-than",
            "0s",
            "--duration",
            "2s",
            "--lport",
            &lport,
            "--exec",
            "echo \"got [$TCPTRACE_PID] [$TCPTRACE_HOST_PID]\"",
        ]);
        assert!(ran.messages.contains(&format!("got {expected}")), "{expected}: {}", ran.messages);
    }
}

fn where_proc_is_that_of_the_host_its_numbers_count() {
    let namespace = PidNamespace::new();
    let within = Leaky::start_by("accepted_kept", &[], |command| namespace.start(command, Proc::Own));
    let outside = Leaky::start("accepted_kept", &[]);
    let on_host = namespace.on_host(within.truth().holders[0].pid);
    for more in [&[][..], &["--holders", "proc"]] {
        let mut command = Command::new(TCPTRACE);
        command.args(["now", "--format", "jsonl"]).args(more);
        let ran = finish(namespace.start(&mut command, Proc::OfTheHost));
        assert_eq!(ran.code, Some(0), "{}", ran.messages);
        assert!(!ran.messages.contains("--pid=host"), "everybody is visible: {}", ran.messages);
        let found = records(&ran);
        for (leaky, pid) in [(&within, on_host), (&outside, outside.truth().holders[0].pid)] {
            let [leak] = leaky.truth().records("leak", &found)[..] else { panic!("{more:?}: {found:#?}") };
            assert_eq!(leak["owners"][0]["pid"], pid, "{more:?}: {leak}");
            assert_eq!(leak["owners"][0]["evidence"], "fd_table", "{more:?}: {leak}");
            assert_eq!(leak["owners"].as_array().unwrap().len(), 1, "{more:?}: {leak}");
        }
    }
    // Numbers of /proc are somebody else's for pidfd_open(2).
    let lport = outside.truth().lport.to_string();
    let mut command = Command::new(TCPTRACE);
    command.args(["clear", "--yes", "--method", "shutdown", "--older-than", "0s", "--lport", &lport]);
    finish(namespace.start(&mut command, Proc::OfTheHost)).refuses(3, &["number in this pid namespace"]);
}
