//! gunicorn with a sync worker: busy, stopped, frozen, debugged, blocked in writing, with a client in the queue, and
//! without any worker.

use std::io::Read as _;
use std::net::Shutdown;
use std::process::Command;

use rustix::process::Signal;

use crate::support::freezer::Freezer;
use crate::support::judge::judge;
use crate::support::processes::{self, only_child};
use crate::support::stage::{Stage, app};
use crate::support::truth::Truth;
use crate::support::{connect, free_port, kernel, request, until};

scenes! {
    gunicorn_busy_worker,
    gunicorn_stopped_worker,
    gunicorn_frozen_worker,
    gunicorn_worker_under_gdb,
    gunicorn_blocked_in_write,
    gunicorn_queue_behind_a_busy_worker,
    gunicorn_without_workers,
}

struct Gunicorn {
    stage: Stage,
    port: u16,
    master: i32,
}

impl Gunicorn {
    fn start(workers: &str) -> Self {
        let (stage, port) = (Stage::new(), free_port());
        let mut command = Command::new("/usr/bin/gunicorn");
        command.args(["--workers", workers, "--timeout", "0", "--bind", &format!("127.0.0.1:{port}")]);
        let master = stage.start("gunicorn", command.arg("--chdir").arg(app("")).arg("slow:app"));
        let listens = || kernel::listeners(None, port).contains(&master);
        until("gunicorn listens", listens, || stage.log("gunicorn"));
        Self { stage, port, master }
    }

    /// A client whom the worker works for.
    fn client(&self) -> std::net::TcpStream {
        let client = request(self.port, "/");
        self.stage.until_says("gunicorn", "working");
        client
    }
}

fn gunicorn_busy_worker() {
    let gunicorn = Gunicorn::start("1");
    let client = gunicorn.client();
    let worker = only_child(gunicorn.master, &[]);
    drop(client);
    judge(&[Truth::accepted("gunicorn, client left a busy worker", gunicorn.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .also(&["holder_sleeping"])
        .never(&["old_generation", "holder_stopped", "spins_on_eof"])]);
}

fn gunicorn_stopped_worker() {
    let gunicorn = Gunicorn::start("1");
    let client = gunicorn.client();
    let worker = only_child(gunicorn.master, &[]);
    processes::send(worker, Signal::STOP);
    let state = || format!("{:?}", processes::state(worker));
    until("the worker stops", || processes::state(worker) == Some('T'), state);
    drop(client);
    judge(&[Truth::accepted("gunicorn, worker stopped", gunicorn.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["holder_stopped"])
        .number("holder_stopped", "pid", worker)
        .never(&["old_generation", "holder_traced"])]);
}

fn gunicorn_frozen_worker() {
    let gunicorn = Gunicorn::start("1");
    let client = gunicorn.client();
    let worker = only_child(gunicorn.master, &[]);
    // As `docker pause` does.
    let _freezer = Freezer::freeze(worker);
    drop(client);
    judge(&[Truth::accepted("gunicorn, worker frozen", gunicorn.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["holder_frozen"])
        .number("holder_frozen", "pid", worker)
        .never(&["old_generation", "holder_stopped", "holder_uninterruptible"])]);
}

fn gunicorn_worker_under_gdb() {
    let gunicorn = Gunicorn::start("1");
    let client = gunicorn.client();
    let worker = only_child(gunicorn.master, &[]);
    let arguments = ["-nx", "-p", &worker.to_string(), "-ex", "shell sleep 3600"];
    let debugger = gunicorn.stage.start("gdb", Command::new("gdb").args(arguments));
    let state = || format!("{:?}\n{}", processes::state(worker), gunicorn.stage.log("gdb"));
    until("gdb stops the worker", || processes::state(worker) == Some('t'), state);
    drop(client);
    judge(&[Truth::accepted("gunicorn, worker under gdb", gunicorn.port)
        .owners(&[worker])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["holder_traced"])
        .number("holder_traced", "pid", worker)
        .number("holder_traced", "tracer", debugger)
        .never(&["old_generation", "holder_stopped", "holder_frozen"])]);
}

fn gunicorn_blocked_in_write() {
    let gunicorn = Gunicorn::start("1");
    let mut client = request(gunicorn.port, "/large");
    client.read_exact(&mut [0]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let worker = only_child(gunicorn.master, &[]);
    // The client still has it, and reads nothing.
    judge(&[Truth::accepted("gunicorn, client does not read", gunicorn.port)
        .owners(&[worker])
        .unread(1..=1)
        .unsent(1..)
        .verdict(&["half_open", "eof_unread"])
        .first(&["blocked_in_write"])
        .never(&["client_left", "sends_to_nobody", "behind_blocked_write"])]);
}

fn gunicorn_queue_behind_a_busy_worker() {
    let gunicorn = Gunicorn::start("1");
    let _busy = gunicorn.client();
    let worker = only_child(gunicorn.master, &[]);
    drop(request(gunicorn.port, "/"));
    judge(&[Truth::accepted("gunicorn, queue behind a busy worker", gunicorn.port)
        .owners(&[gunicorn.master, worker])
        .unread(20..=100)
        .verdict(&["never_accepted"])
        .first(&["accept_queue"])
        .never(&["nobody_accepts", "no_descriptors_left", "client_left"])]);
}

fn gunicorn_without_workers() {
    let gunicorn = Gunicorn::start("0");
    drop(connect(gunicorn.port));
    judge(&[Truth::accepted("gunicorn, no worker left", gunicorn.port)
        .owners(&[gunicorn.master])
        .unread(1..=1)
        .verdict(&["never_accepted"])
        .first(&["nobody_accepts"])
        .number("nobody_accepts", "pid", gunicorn.master)
        .never(&["no_descriptors_left", "client_left"])]);
}
