//! Python's own servers: an event loop that spins on the end of a connection, and one without free descriptors; and the
//! lines of Python that open connections.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::judge::judge;
use crate::support::processes::only_child;
use crate::support::stage::{PYTHON, Stage, app};
use crate::support::truth::{Side, Truth};
use crate::support::{connect, free_port, request, tool, until_listens};

scenes! {
    asyncio_spins,
    asyncio_spins_on_a_busy_host,
    multiprocessing_inherits_a_connection,
    lines_that_asked_for_connections,
    http_server_without_descriptors,
}

fn asyncio_spins() {
    spins("asyncio, reader ignores the end", &Stage::new());
}

fn asyncio_spins_on_a_busy_host() {
    let stage = Stage::new();
    stage.keep_processors_busy();
    spins("asyncio, likewise on a busy host", &stage);
}

fn spins(scene: &'static str, stage: &Stage) {
    let port = free_port();
    let server = stage.python("asyncio_spin", &[&port.to_string()]);
    drop(connect(port));
    judge(&[Truth::accepted(scene, port)
        .owners(&[server])
        .verdict(&["eof_read"])
        .first(&["spins_on_eof"])
        .number("spins_on_eof", "pid", server)
        .never(&["holder_stopped", "old_generation"])]);
}

fn multiprocessing_inherits_a_connection() {
    let (stage, port) = (Stage::new(), free_port());
    let parent = stage.python("inheritor", &[&port.to_string()]);
    let client = request(port, "/");
    stage.until_says("inheritor", "ready");
    let child = only_child(parent, &[]);
    drop(client);
    // Its parent has read everything and closed it.
    judge(&[Truth::accepted("multiprocessing, inherited connection", port)
        .owners(&[child])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["old_generation", "waits_for_other_leg"])]);
}

fn lines_that_asked_for_connections() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let source = fs::read_to_string(app("opener.py")).unwrap();
    // Each way is a function that asks in its first line.
    let lines = source.lines().zip(2..).filter_map(|(line, next)| {
        let name = line.trim_start_matches("async ").strip_prefix("def by_")?.split('(').next()?;
        Some(format!("by_{name} (opener.py:{next})"))
    });
    let expected: BTreeSet<String> = lines.collect();
    assert_eq!(expected.len(), 5);
    let (leaks, _) = tool::leaks_of(Side::To(port), expected.len(), || {
        stage.python("opener", &[&port.to_string()]);
        let connections: Vec<_> = expected.iter().map(|_| listener.accept().unwrap()).collect();
        stage.until_says("opener", "ready");
        drop(connections);
    });
    let line = |leak: &Value| leak["opened_by"]["site"].as_str().unwrap_or_default().to_owned();
    let lines: BTreeSet<String> = leaks.iter().map(line).collect();
    assert_eq!(lines, expected, "{leaks:#?}");
}

fn http_server_without_descriptors() {
    const LIMIT: usize = 10;
    let (stage, port) = (Stage::new(), free_port());
    let limit = format!("--nofile={LIMIT}");
    let arguments = [&*limit, PYTHON, "-m", "http.server", "--bind", "127.0.0.1", &port.to_string()];
    let server = stage.start("http.server", Command::new("prlimit").args(arguments));
    until_listens(port);
    // Each takes a descriptor, as long as there are some.
    let _waiting: Vec<_> = (0..LIMIT).map(|_| connect(port)).collect();
    drop(connect(port));
    judge(&[Truth::accepted("http.server, no descriptors left", port)
        .owners(&[server])
        .unread(1..=1)
        .verdict(&["never_accepted"])
        .first(&["no_descriptors_left"])
        .also(&["holder_running"])
        .number("no_descriptors_left", "limit", LIMIT)
        .never(&["nobody_accepts", "holder_sleeping"])]);
}
