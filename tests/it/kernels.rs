//! What the tool can do on the kernel that runs, whatever that has: who is named is right, and each thing that it does
//! without is one line. The last line of its output has what was found, for `cargo xtask test --kernel`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::TCPTRACE;
use crate::support::clear::{Clear, command};
use crate::support::leaky::Leaky;
use crate::support::process::Process;
use crate::support::run::{Ran, run};
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

live_tests! {
    what_is_named_is_right_and_what_is_lacking_is_one_line,
}

/// What a line of messages has at most: an operator's window is 24 lines of 80.
const LONGEST_MESSAGE: usize = 480;

fn what_is_named_is_right_and_what_is_lacking_is_one_line() {
    let mut words = Vec::new();
    let tried = run(&["leaks", "--duration", "100ms", "--format", "jsonl"]);
    note(&mut words, &tried);
    let live = match tried.code {
        Some(0 | 4) => live(&mut words),
        // Locked down, no program may read the kernel's memory.
        Some(3) => json!({ "transitions": "no" }),
        code => panic!("leaks ended with {code:?}: {}", tried.messages),
    };
    let leaky = Leaky::start("accepted_kept", &[]);
    let looked = Command::new(TCPTRACE).args(["now", "--format", "jsonl"]).output().expect("tcptrace now");
    let records: Vec<Value> = String::from_utf8_lossy(&looked.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    note_lines(&mut words, &String::from_utf8_lossy(&looked.stderr));
    let tables = match looked.status.code() {
        Some(0 | 4) => {
            names_the_holder(leaky.truth(), &records);
            records[0]["backend"].clone()
        }
        Some(3) => "no".into(),
        code => panic!("now ended with {code:?}: {words:?}"),
    };
    let destroy = destroy(leaky.truth(), &mut words);
    let mut found = live;
    found["release"] = rustix::system::uname().release().to_string_lossy().into();
    found["tables"] = tables;
    found["destroy"] = destroy.into();
    found["words"] = words.into();
    println!("kernel: {found}");
}

/// What a session finds out of sockets that are opened during it.
fn live(words: &mut Vec<String>) -> Value {
    let deep = run(&["leaks", "--deep", "--duration", "100ms", "--format", "jsonl"]);
    let has_deep = deep.code == Some(0);
    if !has_deep {
        note(words, &deep);
    }
    let options: &[&str] = if has_deep { &["--deep"] } else { &[] };
    let tracer = Tracer::start_plain(&[&["leaks", "--older-than", "2s"], options].concat());
    let python = Python::start();
    let programs = ["connect_kept", "accepted_kept", "opener_frameless"].map(|case| Leaky::start(case, &[]));
    let truths = programs.each_ref().map(|program| program.truth().clone());
    let leaks = tracer.wait_for_each("leak", &truths);
    let of_python = python.as_ref().map(|python| {
        tracer.wait_for("the leak of Python", |record| {
            record["type"] == "leak" && record["lport"] == python.lport
        })
    });
    let session = tracer.stop();
    for truth in &truths {
        names_the_holder(truth, &session.records);
    }
    let [connect, accept, frameless] = &leaks[..] else { panic!("three leaks, not {}", leaks.len()) };
    let knows = |is_known: bool| if is_known { "yes" } else { "no" };
    let has_caller = frameless["opened_by"]["stack"].as_array().is_some_and(|stack| {
        stack.iter().filter_map(Value::as_str).any(|frame| frame.contains("accept_below"))
    });
    json!({
        "transitions": session.records[0]["backend"],
        "connect": knows(is_opened_by(connect, &truths[0])),
        "accept": knows(is_opened_by(accept, &truths[1])),
        "frameless": knows(has_caller),
        "python": of_python.as_ref().map(|leak| {
            let site = leak["opened_by"]["site"].to_string();
            assert!(site == "null" || site.contains("open_ledger"), "{leak}");
            knows(site != "null")
        }),
        "deep": knows(has_deep && accept["eof_read_by"]["pid"] == truths[1].holders[0].pid),
    })
}

/// Whether the opener is known. One that is, is the right one.
fn is_opened_by(leak: &Value, truth: &Truth) -> bool {
    let opener = &leak["opened_by"]["pid"];
    let expected = truth.opener.as_ref().map(|opener| opener.pid);
    assert!(opener.is_null() || *opener == json!(expected), "opened by {expected:?}: {leak}");
    !opener.is_null()
}

fn names_the_holder(truth: &Truth, records: &[Value]) {
    let leaks = truth.records("leak", records);
    let [leak] = leaks[..] else { panic!("{} is reported {} times", truth.name(), leaks.len()) };
    assert_eq!(leak["owners"][0]["pid"], truth.holders[0].pid, "{}: {leak}", truth.name());
    // Without sock_diag, a descriptor in /proc does not tell which connection it is.
    let evidence = leak["owners"][0]["evidence"].as_str();
    assert!(matches!(evidence, Some("fd_table" | "opened")), "{}: {leak}", truth.name());
}

/// What becomes of an attempt to destroy a stuck socket.
fn destroy(truth: &Truth, words: &mut Vec<String>) -> String {
    let typed = ["--older-than", "0s", "--method", "destroy", "--yes", "--format", "jsonl"];
    let truths = [truth.clone()];
    let session = Clear::of(&mut command(&truths, &typed));
    note(words, &session.ran);
    match truth.records("cleared", &session.records)[..] {
        [record] if record["outcome"] == "gone" => "yes".to_owned(),
        [record] => record["outcome"].as_str().unwrap_or("no").to_owned(),
        _ => "no".to_owned(),
    }
}

/// Keeps what a command said of this kernel.
fn note(words: &mut Vec<String>, ran: &Ran) {
    note_lines(words, &ran.messages);
}

fn note_lines(words: &mut Vec<String>, messages: &str) {
    assert!(!messages.contains("panicked"), "{messages}");
    for line in messages.lines().filter(|line| line.starts_with("tcptrace: ")) {
        assert!(line.len() <= LONGEST_MESSAGE, "a message of {} bytes: {line}", line.len());
        if !words.iter().any(|word| word == line) {
            words.push(line.to_owned());
        }
    }
    let verifier = messages.lines().find(|line| line.contains("insns") && !line.starts_with("tcptrace: "));
    assert_eq!(verifier, None, "the verifier's log is shown:\n{messages}");
}

/// A program in Python whose function `open_ledger` has opened a socket that its peer has closed.
struct Python {
    lport: u16,
    _process: Process,
    _listener: TcpListener,
    _folder: tempfile::TempDir,
}

impl Python {
    /// `None` where there is no Python of the system's.
    fn start() -> Option<Self> {
        const PYTHON: &str = "/usr/bin/python3";
        const SCRIPT: &str = "import socket, sys\n\n\
            def open_ledger(port):\n    return socket.create_connection(('127.0.0.1', port))\n\n\
            ledger = open_ledger(int(sys.argv[1]))\nsys.stdin.read()\n";
        if !std::path::Path::new(PYTHON).exists() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("ledger.py");
        fs::write(&script, SCRIPT).expect("the script");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        let (process, _) =
            Process::start(Command::new(PYTHON).args(["-S", "-E"]).arg(&script).arg(port.to_string()));
        let (accepted, peer) = listener.accept().expect("the connection of Python");
        drop(accepted);
        Some(Self { lport: peer.port(), _process: process, _listener: listener, _folder: folder })
    }
}
