//! haproxy in front of a backend that neither answers nor closes: as a relay of bytes, for HTTP, and its old process.

use std::net::TcpStream;
use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, kernel, request, request_through, until, until_listens};

scenes! {
    haproxy_tcp_waits_for_its_backend,
    haproxy_tcp_waits_for_two_backends,
    haproxy_http_whose_client_left,
    haproxy_old_process,
}

struct Haproxy {
    stage: Stage,
    configuration: String,
    port: u16,
    backend_port: u16,
    backend: i32,
    other: u16,
    other_backend: i32,
    pid: i32,
}

impl Haproxy {
    fn start(mode: &str) -> Self {
        let stage = Stage::new();
        let [port, backend_port, other, other_port] = [(); 4].map(|()| free_port());
        let [backend, other_backend] = [backend_port, other_port].map(|port| {
            let pid = stage.python("backend", &[&port.to_string()]);
            until_listens(port);
            pid
        });
        let ports = [port, backend_port, other, other_port].map(|port| port.to_string());
        let keys = ["PORT", "BACKEND", "OTHER", "OTHER_BACKEND"];
        let mut values: Vec<(&str, &str)> = keys.into_iter().zip(ports.iter().map(String::as_str)).collect();
        values.push(("MODE", mode));
        let configuration = stage.configuration("haproxy.cfg", &values);
        let pid = stage.start("haproxy", Command::new("haproxy").args(["-db", "-f", &configuration]));
        Self { stage, configuration, port, backend_port, backend, other, other_backend, pid }
    }

    /// A client whose request has reached the backend.
    fn client(&self) -> TcpStream {
        request_through(self.port, self.backend_port)
    }
}

fn haproxy_tcp_waits_for_its_backend() {
    let haproxy = Haproxy::start("tcp");
    drop(haproxy.client());
    judge(&[
        Truth::accepted("haproxy tcp, backend does not close", haproxy.port)
            .owners(&[haproxy.pid])
            .verdict(&["eof_read"])
            .first(&["waits_for_other_leg"])
            .number("waits_for_other_leg", "pid", haproxy.pid)
            .number("waits_for_other_leg", "far_pid", haproxy.backend)
            .never(&["old_generation"])
            .never_says(&["look for the path that returns without"]),
        // Its peer, haproxy, has only shut down.
        Truth::accepted("haproxy tcp, the backend itself", haproxy.backend_port)
            .owners(&[haproxy.backend])
            .verdict(&["half_open"])
            .never(&["waits_for_other_leg", "old_generation"]),
    ]);
}

fn haproxy_tcp_waits_for_two_backends() {
    let haproxy = Haproxy::start("tcp");
    drop(haproxy.client());
    let first = format!("sport = :{}", haproxy.port);
    let has_left = || !kernel::close_wait(None, &first).is_empty();
    until("the first client has left", has_left, || kernel::shown(None, &first));
    // Of another length, as requests are.
    drop(request(haproxy.other, "/another/path"));
    let truth = |scene, port, backend: i32| {
        Truth::accepted(scene, port)
            .owners(&[haproxy.pid])
            .verdict(&["eof_read"])
            .first(&["waits_for_other_leg"])
            .number("waits_for_other_leg", "far_pid", backend)
            .never_says(&["look for the path that returns without"])
    };
    judge(&[
        truth("haproxy tcp, first of two backends", haproxy.port, haproxy.backend),
        truth("haproxy tcp, second of two backends", haproxy.other, haproxy.other_backend),
    ]);
}

fn haproxy_http_whose_client_left() {
    let haproxy = Haproxy::start("http");
    drop(haproxy.client());
    judge(&[Truth::accepted("haproxy http, client left", haproxy.port)
        .owners(&[haproxy.pid])
        .unread(0..=1)
        .verdict(&["eof_read", "eof_unread"])
        .first(&["client_left"])
        .never(&["old_generation"])]);
}

fn haproxy_old_process() {
    let haproxy = Haproxy::start("tcp");
    let client = haproxy.client();
    let old = haproxy.pid.to_string();
    let mut command = Command::new("haproxy");
    let newer =
        haproxy.stage.start("newer", command.args(["-db", "-f", &haproxy.configuration, "-sf", &old]));
    let listeners = || kernel::listeners(None, haproxy.port);
    until("the newer haproxy alone listens", || listeners() == [newer], || format!("{:?}", listeners()));
    drop(client);
    // Both are true: it drains, and what it still has waits for the backend.
    judge(&[Truth::accepted("haproxy tcp, old process", haproxy.port)
        .owners(&[haproxy.pid])
        .verdict(&["eof_read"])
        .first(&["old_generation", "waits_for_other_leg"])
        .also(&["old_generation", "waits_for_other_leg"])
        .number("old_generation", "newer", newer)
        .number("waits_for_other_leg", "far_pid", haproxy.backend)
        .never_says(&["look for the path that returns without"])]);
}
