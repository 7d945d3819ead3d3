//! nginx as a proxy whose upstream does not answer: a client that left, one that only half-closed, and an old worker.

use std::net::Shutdown;
use std::process::Command;

use crate::support::judge::judge;
use crate::support::processes::{children, only_child};
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, kernel, request, until, until_listens};

scenes! {
    nginx_whose_client_left,
    nginx_whose_client_half_closed,
    nginx_old_worker,
}

struct Nginx {
    stage: Stage,
    configuration: String,
    port: u16,
    backend: u16,
    master: i32,
}

impl Nginx {
    fn start() -> Self {
        let stage = Stage::new();
        let [port, backend] = [(); 2].map(|()| free_port());
        stage.python("backend", &[&backend.to_string()]);
        until_listens(backend);
        let values = [("PORT", &*port.to_string()), ("BACKEND", &*backend.to_string())];
        let configuration = stage.configuration("nginx.conf", &values);
        let master = stage.start("nginx", Command::new("nginx").args(["-c", &configuration]));
        Self { stage, configuration, port, backend, master }
    }

    /// A client whose request has reached the upstream.
    fn client(&self) -> std::net::TcpStream {
        let client = request(self.port, "/");
        let filter = format!("dport = :{}", self.backend);
        let is_passed_on = || kernel::shown(None, &filter).contains("ESTAB");
        until("nginx asks its upstream", is_passed_on, || kernel::shown(None, &filter));
        client
    }
}

fn nginx_whose_client_left() {
    let nginx = Nginx::start();
    let client = nginx.client();
    let worker = only_child(nginx.master, &[]);
    drop(client);
    judge(&[Truth::accepted("nginx, client left", nginx.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["old_generation", "waits_for_other_leg"])]);
}

fn nginx_whose_client_half_closed() {
    let nginx = Nginx::start();
    let client = nginx.client();
    let worker = only_child(nginx.master, &[]);
    client.shutdown(Shutdown::Write).unwrap();
    judge(&[Truth::accepted("nginx, client half-closed", nginx.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["half_open"])
        .never(&["client_left", "old_generation"])]);
}

fn nginx_old_worker() {
    let nginx = Nginx::start();
    let client = nginx.client();
    let old = only_child(nginx.master, &[]);
    nginx.stage.run("reload", Command::new("nginx").args(["-c", &nginx.configuration, "-s", "reload"]));
    let new = only_child(nginx.master, &[old]);
    let has_let_go = || !kernel::listeners(None, nginx.port).contains(&old);
    until("the old worker stops listening", has_let_go, || format!("{:?}", children(nginx.master)));
    drop(client);
    judge(&[Truth::accepted("nginx, old worker", nginx.port)
        .owners(&[old])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["old_generation"])
        .number("old_generation", "pid", old)
        .number("old_generation", "newer", new)]);
}
