//! socat as a relay: in front of a backend that does not close, and of one that does not read.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::support::judge::judge;
use crate::support::processes::only_child;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{connect, free_port, kernel, until_listens};

scenes! {
    socat_waits_for_its_backend,
    socat_blocked_by_its_backend,
}

fn socat_waits_for_its_backend() {
    let stage = Stage::new();
    let [port, backend_port] = [(); 2].map(|()| free_port());
    let backend = stage.python("backend", &[&backend_port.to_string()]);
    until_listens(backend_port);
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr");
    // By default it gives the other side half a second.
    let arguments = ["-t", "3600", &listen, &format!("TCP:127.0.0.1:{backend_port}")];
    let parent = stage.start("socat", Command::new("socat").args(arguments));
    let client = connect(port);
    let relay = only_child(parent, &[]);
    drop(client);
    judge(&[Truth::accepted("socat, backend does not close", port)
        .owners(&[relay])
        .verdict(&["eof_read"])
        .first(&["waits_for_other_leg"])
        .number("waits_for_other_leg", "pid", relay)
        .number("waits_for_other_leg", "far_pid", backend)
        .never_says(&["look for the path that returns without"])]);
}

fn socat_blocked_by_its_backend() {
    let stage = Stage::new();
    let [port, sink_port] = [(); 2].map(|()| free_port());
    stage.python("sink", &[&sink_port.to_string()]);
    until_listens(sink_port);
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr");
    let arguments = ["-t", "3600", &listen, &format!("TCP:127.0.0.1:{sink_port},sndbuf=8192")];
    let parent = stage.start("socat", Command::new("socat").args(arguments));
    let mut client = connect(port);
    let relay = only_child(parent, &[]);
    let unread = || kernel::established(&format!("sport = :{port}")).first().map_or(0, |seen| seen.recv_q);
    // It reads 8 KiB at a time, as long as it can write them.
    while unread() < 16_384 {
        client.write_all(&[0; 1024]).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(client);
    judge(&[Truth::accepted("socat, backend does not read", port)
        .owners(&[relay])
        .unread(8_192..=65_536)
        .verdict(&["data_unread"])
        .first(&["behind_blocked_write"])
        .number("behind_blocked_write", "pid", relay)
        .number("behind_blocked_write", "address", format!("127.0.0.1:{sink_port}"))
        .never(&["waits_for_other_leg", "blocked_in_write"])]);
}
