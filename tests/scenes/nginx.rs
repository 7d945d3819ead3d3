//! nginx as a proxy whose upstream does not answer: a client that left, one that only half-closed, and an old worker.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use crate::support::judge::judge;
use crate::support::processes::{children, only_child};
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{connect, free_port, kernel, request_through, until, until_listens};

scenes! {
    nginx_whose_client_left,
    nginx_whose_client_left_while_others_ask,
    nginx_whose_client_half_closed,
    nginx_that_does_not_answer,
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
    fn client(&self) -> TcpStream {
        request_through(self.port, self.backend)
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

fn nginx_whose_client_left_while_others_ask() {
    let nginx = Nginx::start();
    let client = nginx.client();
    let worker = only_child(nginx.master, &[]);
    // However busy this host is, the worker gets a processor.
    let priority = ["-n", "-15", "-p", &worker.to_string()];
    nginx.stage.run("renice", Command::new("renice").args(priority));
    for _ in 0..3 {
        let other = connect(nginx.port);
        // It ends when the stage does.
        std::thread::spawn(move || ask_for_ever(other));
    }
    drop(client);
    // It is busy with them, not with the end of this one.
    judge(&[Truth::accepted("nginx, client left while others ask", nginx.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["spins_on_eof", "old_generation"])
        .never_says(&["spins"])]);
}

/// Asks many times at once, so that the server has more to do than the client.
fn ask_for_ever(mut client: TcpStream) -> std::io::Result<()> {
    const AT_ONCE: usize = 64;
    let requests = "GET /at-once HTTP/1.1\r\nHost: scene\r\n\r\n".repeat(AT_ONCE);
    let mut answers = [0; 16_384];
    loop {
        client.write_all(requests.as_bytes())?;
        // One answer is enough to ask again: what it has not read yet, it reads the next time.
        if client.read(&mut answers)? == 0 {
            return Ok(());
        }
    }
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

fn nginx_that_does_not_answer() {
    let nginx = Nginx::start();
    let client = nginx.stage.python("unanswered", &[&nginx.port.to_string()]);
    nginx.stage.until_says("unanswered", "ready");
    // It has asked, and there is no answer to read: it does not idle in a pool.
    judge(&[Truth::connected("http.client, request unanswered", nginx.port)
        .owners(&[client])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["connected"])
        .never(&["idle_in_pool", "last_words"])
        .never_says(&["has read every answer", "idle in a connection pool"])]);
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
