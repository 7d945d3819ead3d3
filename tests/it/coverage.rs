//! What the tool could not look at is said, and is never "none": in the first line, in the records, and in the exit code.

use std::ffi::CString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, UnshareFlags};
use serde_json::Value;

use crate::support::TCPTRACE;
use crate::support::confined::{Confined, in_pid_namespace};
use crate::support::leaky::Leaky;
use crate::support::netns::Netns;
use crate::support::process::Process;
use crate::support::run::{Ran, run, run_command};
use crate::support::stream::Stream;
use crate::support::truth::Truth;

live_tests! {
    where_everything_can_be_seen_nothing_is_missing,
    a_user_namespace_is_no_all_clear,
    without_descriptors_nothing_is_called_well,
    the_limit_of_descriptors_is_raised_as_far_as_it_may_be,
    a_host_with_many_namespaces_is_looked_at_with_few_descriptors,
    a_namespace_that_cannot_be_entered_is_counted_and_the_own_one_is_listed,
    a_namespace_that_nobody_leads_to_is_not_called_empty,
    connections_that_wait_where_only_a_descriptor_leads_to_are_not_called_none,
    without_proc_the_verdict_stands_and_the_holder_is_not_known,
    a_proc_that_hides_processes_is_said,
    who_listens_behind_a_proc_that_hides_it_is_not_nobody,
    leaks_is_no_all_clear_where_a_holder_could_not_be_read,
    what_is_over_and_cannot_be_seen_is_not_called_none,
    a_proc_that_shows_processes_only_is_enough,
    in_a_pid_namespace_the_proc_of_the_host_shows_the_holder,
    in_a_pid_namespace_with_its_own_proc_nobody_is_said_to_hold_nothing,
    leaks_says_at_its_start_and_end_what_it_could_not_list,
    time_wait_and_clear_say_what_they_could_not_look_at,
    a_report_says_what_its_recording_could_not_look_at,
}

const NO_ADMIN: Confined = Confined::Without(CapabilitySet::SYS_ADMIN);

/// What `now` says of one socket, and in its summary.
struct Said {
    ran: Ran,
    leak: Value,
    summary: Value,
}

impl Said {
    fn of(ran: Ran, truth: &Truth) -> Self {
        let records = records(&ran);
        let leaks = truth.records("leak", &records);
        let [leak] = leaks[..] else { panic!("{} leaks\n{}\n{}", leaks.len(), ran.output, ran.messages) };
        let (leak, summary) = (leak.clone(), records.last().expect("a summary").clone());
        Self { ran, leak, summary }
    }

    fn unknown_because(&self) -> &Value {
        &self.leak["unknown_because"]
    }

    /// The reasons in the summary, as one text.
    fn because(&self) -> String {
        self.summary["not_looked_at"]["because"].to_string()
    }

    fn ends_with(&self, code: i32) {
        assert_eq!(self.ran.code, Some(code), "{}\n{}", self.summary, self.ran.messages);
    }
}

fn records(ran: &Ran) -> Vec<Value> {
    ran.output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The network namespace of the tests, so that those of other tests do not matter.
const OWN: [&str; 2] = ["--netns", "/proc/self/ns/net"];

fn now(port: &str) -> Vec<&str> {
    [&["now", "--format", "jsonl", "--lport", port][..], &OWN].concat()
}

fn port(truth: &Truth) -> String {
    truth.lport.to_string()
}

fn where_everything_can_be_seen_nothing_is_missing() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let said = Said::of(run(&now(&port)), leaky.truth());
    said.ends_with(0);
    assert_eq!(*said.unknown_because(), Value::Null);
    let expected = serde_json::json!({"everything": false, "namespaces": 0, "processes": 0, "because": []});
    assert_eq!(said.summary["not_looked_at"], expected);
    assert!(!said.ran.messages.contains("ncomplete"), "{}", said.ran.messages);
}

fn a_user_namespace_is_no_all_clear() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let said = Said::of(Confined::UserNamespace.run(&now(&port)), leaky.truth());
    // It is this process's own network namespace, which takes no setns(2).
    said.ends_with(4);
    assert_eq!(said.leak["verdict"], Value::Null, "who knows whether nobody holds it: {}", said.leak);
    assert_eq!(*said.unknown_because(), "processes_not_read");
    assert_eq!(said.leak["owners"], serde_json::json!([]));
    assert!(said.summary["not_looked_at"]["processes"].as_u64() > Some(0), "{}", said.summary);
    assert!(said.because().contains("CAP_SYS_PTRACE"), "{}", said.because());
    assert!(said.ran.messages.contains("incomplete: "), "{}", said.ran.messages);

    let text = Confined::UserNamespace.run(&["now", "--lport", &port, "-v"]);
    assert_eq!(text.code, Some(4));
    let first = text.output.lines().next().unwrap_or_default();
    assert!(first.starts_with("Incomplete: ") && first.contains("not read"), "{}", text.output);
    assert!(text.output.contains("not every process could be read"), "{}", text.output);
    assert!(!text.output.contains("MPTCP") && !text.output.contains("nobody"), "{}", text.output);
    let holder = leaky.truth().holders[0].pid.to_string();
    let names_holder =
        |line: &str| line.contains("not looked at") && line.split([' ', ',']).any(|word| word == holder);
    assert!(text.messages.lines().any(names_holder), "{holder}\n{}", text.messages);
    // A health check is not green.
    let check = Confined::UserNamespace.run(&["now", "--lport", &port, "--exit-code"]);
    assert_eq!(check.code, Some(1), "{}", check.output);
}

fn without_descriptors_nothing_is_called_well() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    for limit in 6..24 {
        let few = Confined::Descriptors { soft: limit, hard: limit };
        let ran = few.run(&[&now(&port)[..], &["--exit-code"]].concat());
        let has_leak = ran.output.contains("\"type\":\"leak\"");
        let code = ran.code.expect("an exit code");
        assert_eq!(code == 1, has_leak, "{limit} descriptors: {code}\n{}\n{}", ran.output, ran.messages);
        assert!(has_leak || matches!(code, 3 | 4), "{limit} descriptors: {code}\n{}", ran.messages);
        assert!(!ran.output.contains("no_holder"), "{limit} descriptors: {}", ran.output);
        // Its holder may be known by number, and its name be out of reach.
        let is_unowned = ran.output.contains("\"owners\":[],\"opened_by\"");
        assert!(
            !is_unowned || ran.output.contains("EMFILE"),
            "{limit} descriptors, nobody is named, and nothing is said to be missing: {}\n{}",
            ran.output,
            ran.messages
        );
        if !has_leak {
            let is_said = ["Too many open files", "EMFILE"].iter().any(|word| ran.messages.contains(word));
            assert!(is_said && ran.messages.contains("ulimit -n"), "{limit} descriptors: {}", ran.messages);
        }
    }
}

fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let ran = Confined::Descriptors { soft: 4, hard: 1024 }.run(&now(&port));
    let said = Said::of(ran, leaky.truth());
    said.ends_with(0);
    assert_eq!(said.leak["owners"][0]["pid"], leaky.truth().holders[0].pid);
}

/// A leaking program in a network namespace of its own.
fn leaky_in(netns: &Netns) -> Leaky {
    Leaky::start_by("accepted_kept", &[], |command| Process::start(netns.enter(command)))
}

/// Has a command find these namespaces, and no other, under /run/netns.
fn bind(namespaces: &[Netns], command: &mut Command) {
    let paths: Vec<(CString, CString)> = namespaces
        .iter()
        .enumerate()
        .map(|(nth, netns)| {
            let (from, to) = (netns.path(), format!("/run/netns/{nth}"));
            (CString::new(from).unwrap(), CString::new(to).unwrap())
        })
        .collect();
    let mount = move || {
        // SAFETY: a child that has one thread shares nothing.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        rustix::mount::mount(c"tmpfs", c"/run/netns", c"tmpfs", MountFlags::empty(), c"")?;
        for (from, to) in &paths {
            let (flags, mode) = (rustix::fs::OFlags::CREATE, rustix::fs::Mode::RUSR);
            rustix::fs::openat(rustix::fs::CWD, to, flags, mode)?;
            rustix::mount::mount_bind(from, to)?;
        }
        Ok(())
    };
    fs::create_dir_all("/run/netns").unwrap();
    // SAFETY: the closure makes system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(mount) };
}

fn a_host_with_many_namespaces_is_looked_at_with_few_descriptors() {
    const COUNT: usize = 150;
    let namespaces: Vec<Netns> = (0..COUNT).map(|_| Netns::new()).collect();
    let pairs: Vec<Leaky> = namespaces[COUNT - 2..].iter().map(leaky_in).collect();
    let mut command = Command::new(TCPTRACE);
    command.args(["now", "--format", "jsonl"]);
    for netns in &namespaces {
        command.args(["--netns", &netns.inode().to_string()]);
    }
    // First the mounts, which take more descriptors than the tool is to have.
    bind(&namespaces, &mut command);
    Confined::Descriptors { soft: 32, hard: 64 }.confine(&mut command);
    let ran = run_command(&mut command);
    for leaky in &pairs {
        let said = Said::of(ran.clone(), leaky.truth());
        said.ends_with(0);
        assert_eq!(said.leak["verdict"], "eof_read");
    }
}

fn a_namespace_that_cannot_be_entered_is_counted_and_the_own_one_is_listed() {
    let netns = Netns::new();
    let elsewhere = leaky_in(&netns);
    let here = Leaky::start("accepted_kept", &[]);
    let inode = netns.inode().to_string();
    let arguments = ["now", "--holders", "proc", "--format", "jsonl", "--netns"];
    let asked = |more: &[&str]| NO_ADMIN.run(&[&arguments, more].concat());
    // Sockets of other tests may have holders that cannot be read.
    let port = here.truth().lport.to_string();
    let said = Said::of(asked(&["/proc/self/ns/net", "--lport", &port]), here.truth());
    said.ends_with(0);
    assert_eq!(said.leak["verdict"], "eof_read");

    let both = ["/proc/self/ns/net", "--netns", &inode, "--lport", &port, "-v"];
    let said = Said::of(asked(&both), here.truth());
    said.ends_with(4);
    assert_eq!(said.summary["not_looked_at"]["namespaces"], 1);
    assert!(
        said.because().contains("EPERM") && said.because().contains("CAP_SYS_ADMIN"),
        "{}",
        said.because()
    );
    let named = format!("network namespace {inode} was not looked at");
    assert!(said.ran.messages.contains(&named), "{}", said.ran.messages);

    let nothing = asked(&[&inode]);
    assert_eq!(nothing.code, Some(3), "{}", nothing.messages);
    let summary = records(&nothing).pop().expect("a summary");
    assert_eq!(summary["not_looked_at"]["everything"], true);
    let text = NO_ADMIN.run(&["now", "--holders", "proc", "--netns", &inode, "--exit-code"]);
    assert_eq!(text.code, Some(3));
    assert!(text.output.starts_with("Nothing could be looked at: "), "{}", text.output);
    assert!(!text.output.contains("No socket"), "{}", text.output);

    // The iterator sees what is held there: a part of the answer.
    let held = NO_ADMIN.run(&["now", "--format", "jsonl", "--netns", &inode]);
    let said = Said::of(held, elsewhere.truth());
    said.ends_with(4);
    assert_eq!(said.leak["owners"][0]["pid"], elsewhere.truth().holders[0].pid);
    assert_eq!(
        (&said.leak["verdict"], said.unknown_because()),
        (&Value::Null, &"namespace_not_listed".into())
    );
}

fn a_namespace_that_nobody_leads_to_is_not_called_empty() {
    // Numbers are given from the lowest that is free (`proc_alloc_inum` of fs/proc/generic.c): this one never.
    let inode = "4027580415";
    let ran = run(&["now", "--netns", inode]);
    assert_eq!(ran.code, Some(3), "{}", ran.output);
    assert!(ran.output.starts_with("Nothing could be looked at: "), "{}", ran.output);
}

fn connections_that_wait_where_only_a_descriptor_leads_to_are_not_called_none() {
    let netns = Netns::new();
    let inode = netns.inode().to_string();
    let _listener = netns.within(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        listener
    });
    // Of the namespace nothing is left but the listener, whose queue has a connection that its client has closed.
    drop(netns);
    let ran = run(&["now", "--format", "jsonl"]);
    assert_eq!(ran.code, Some(4), "{}", ran.messages);
    let summary = records(&ran).pop().expect("a summary");
    assert!(summary["not_looked_at"]["namespaces"].as_u64() > Some(0), "{summary}");
    let ran = run(&["now", "-v"]);
    assert!(ran.messages.contains(&inode), "{inode} is named: {}", ran.messages);
}

fn without_proc_the_verdict_stands_and_the_holder_is_not_known() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let ran = Confined::NoProc.run(&["now", "--format", "jsonl", "--lport", &port]);
    let said = Said::of(ran, leaky.truth());
    said.ends_with(4);
    assert_eq!(said.leak["netns"], leaky.truth().netns, "its own namespace is asked of a socket");
    assert_eq!(
        (&said.leak["verdict"], said.unknown_because()),
        (&"eof_read".into(), &"processes_not_read".into())
    );
    assert!(said.because().contains("/proc is missing"), "{}", said.because());
}

fn a_proc_that_hides_processes_is_said() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let hides = Confined::ProcUntraced(c"hidepid=ptraceable");
    let ran = hides.run(&["now", "--holders", "proc", "--format", "jsonl", "--lport", &port]);
    let said = Said::of(ran, leaky.truth());
    said.ends_with(4);
    assert_eq!((&said.leak["verdict"], said.unknown_because()), (&Value::Null, &"processes_not_read".into()));
    assert!(said.because().contains("hidepid"), "{}", said.because());
}

/// The kernel shows who has the listener, and /proc does not say who that is.
fn who_listens_behind_a_proc_that_hides_it_is_not_nobody() {
    let leaky = Leaky::start("never_accepted", &[]);
    let port = port(leaky.truth());
    let hides = Confined::ProcUntraced(c"hidepid=ptraceable");
    let said = Said::of(hides.run(&["now", "--format", "jsonl", "--lport", &port]), leaky.truth());
    assert_eq!(
        (&said.leak["verdict"], said.unknown_because()),
        (&"never_accepted".into(), &"processes_not_read".into()),
        "{}",
        said.leak
    );
}

fn leaks_is_no_all_clear_where_a_holder_could_not_be_read() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let (port, netns) = (port(leaky.truth()), leaky.truth().netns.to_string());
    let asked = ["leaks", "--older-than", "200ms", "--duration", "2s", "--lport", &port, "--netns", &netns];
    for of_whom in [&[][..], &["--comm", "leaky-holder"]] {
        let ran = in_pid_namespace(true, &[&asked[..], of_whom].concat());
        assert_eq!(ran.code, Some(4), "{of_whom:?}\n{}\n{}", ran.output, ran.messages);
    }
}

fn what_is_over_and_cannot_be_seen_is_not_called_none() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let netns = leaky.truth().netns.to_string();
    let ran = run(&["now", "--holders", "proc", "--state", "CLOSE", "--netns", &netns]);
    assert_eq!(ran.code, Some(4), "{}\n{}", ran.output, ran.messages);
    assert!(ran.output.contains("connections that are over"), "{}", ran.output);
}

fn a_proc_that_shows_processes_only_is_enough() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let said = Said::of(Confined::Proc(c"subset=pid").run(&now(&port)), leaky.truth());
    said.ends_with(0);
    assert_eq!(said.leak["owners"][0]["pid"], leaky.truth().holders[0].pid);
}

fn in_a_pid_namespace_the_proc_of_the_host_shows_the_holder() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    let said = Said::of(in_pid_namespace(false, &now(&port)), leaky.truth());
    said.ends_with(0);
    assert_eq!(said.leak["owners"][0]["pid"], leaky.truth().holders[0].pid);
    assert_eq!(said.leak["verdict"], "eof_read");
}

fn in_a_pid_namespace_with_its_own_proc_nobody_is_said_to_hold_nothing() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = port(leaky.truth());
    for holders in ["iterator", "proc"] {
        let arguments = [&now(&port)[..], &["--holders", holders]].concat();
        let said = Said::of(in_pid_namespace(true, &arguments), leaky.truth());
        said.ends_with(4);
        assert_eq!((&said.leak["verdict"], &said.leak["owners"]), (&Value::Null, &serde_json::json!([])));
        assert_eq!(*said.unknown_because(), "processes_not_read", "{holders}");
        assert!(said.because().contains("pid namespaces"), "{}", said.because());
    }
}

fn leaks_says_at_its_start_and_end_what_it_could_not_list() {
    let netns = Netns::new();
    let _elsewhere = leaky_in(&netns);
    let inode = netns.inode().to_string();
    let leaks = [
        "leaks",
        "--older-than",
        "0s",
        "--duration",
        "1s",
        "--netns",
        &inode,
        "--netns",
        "/proc/self/ns/net",
    ];
    let text = NO_ADMIN.run(&[&leaks[..], &["--lport", "1"]].concat());
    assert_eq!(text.code, Some(4), "{}", text.messages);
    for said in [&text.messages, &text.output] {
        let line =
            said.lines().find(|line| line.to_lowercase().contains("of the sockets that were there first"));
        assert!(line.is_some_and(|line| line.contains("1 network namespace")), "{said}");
    }
    // A leak is a leak, whatever else there may be.
    let here = Leaky::start("accepted_kept", &[]);
    let mut command = Command::new(TCPTRACE);
    command.args(["leaks", "--older-than", "0s", "--exit-code", "--format", "jsonl", "--netns", &inode]);
    command.args(OWN).args(["--lport", &port(here.truth())]);
    let (mut process, stdout) = Process::start(NO_ADMIN.confine(&mut command));
    let output = Stream::of(stdout);
    output
        .wait(|lines| lines.iter().find(|line| line["type"] == "leak").cloned())
        .unwrap_or_else(|came| panic!("no leak: {came}\n{}", process.messages()));
    process.signal(Signal::INT);
    assert_eq!(process.wait().code(), Some(1), "{}", process.messages());
}

fn time_wait_and_clear_say_what_they_could_not_look_at() {
    let netns = Netns::new();
    let _elsewhere = leaky_in(&netns);
    let inode = netns.inode().to_string();
    for arguments in [
        &["time-wait", "--exit-code"][..],
        &["clear", "--older-than", "1h"],
        &["clear", "--older-than", "1h", "--yes"],
    ] {
        let of_two = [arguments, &["--netns", &inode], &OWN].concat();
        let ran = NO_ADMIN.run(&of_two);
        assert_eq!(ran.code, Some(4), "{arguments:?}: {}\n{}", ran.output, ran.messages);
        if !arguments.contains(&"--yes") {
            assert!(ran.output.starts_with("Incomplete: 1 network namespace"), "{}", ran.output);
        }
        let ran = NO_ADMIN.run(&[arguments, &OWN].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}\n{}", ran.output, ran.messages);
    }
    let nothing = NO_ADMIN.run(&["time-wait", "--netns", &inode]);
    assert_eq!(nothing.code, Some(3), "{}\n{}", nothing.output, nothing.messages);
}

fn a_report_says_what_its_recording_could_not_look_at() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.jsonl", "x.tct"] {
        let path = folder.path().join(name);
        let file = path.to_str().unwrap();
        let ran = in_pid_namespace(true, &["now", "--lport", "1", "-o", file]);
        assert_eq!(ran.code, Some(4), "{}", ran.messages);
        let report = run(&["report", file]);
        assert_eq!(report.code, Some(0), "{}", report.messages);
        assert!(report.output.contains("in what could be looked at"), "{}", report.output);
        let document: Value =
            serde_json::from_str(&run(&["report", "--format", "json", file]).output).unwrap();
        let caveats = document["cannot_claim"].as_array().unwrap();
        let caveat = caveats.iter().find(|caveat| caveat["id"] == "not_looked_at").expect("a caveat");
        assert!(
            caveat["is_loss"] == true && caveat["text"].to_string().contains("pid namespace"),
            "{caveat}"
        );
    }
}
