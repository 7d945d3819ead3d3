//! puma, with a thread that works for a client that left.

use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::{Stage, app};
use crate::support::truth::Truth;
use crate::support::{free_port, request};

scenes! {
    puma_busy_thread,
}

fn puma_busy_thread() {
    let (stage, port) = (Stage::new(), free_port());
    let mut command = Command::new("/usr/bin/puma");
    command.args(["--threads", "1:1", "--bind", &format!("tcp://127.0.0.1:{port}")]).arg(app("slow.ru"));
    let puma = stage.start("puma", command.current_dir(stage.folder()));
    let client = request(port, "/");
    stage.until_says("puma", "working");
    drop(client);
    judge(&[Truth::accepted("puma, client left a busy thread", port)
        .owners(&[puma])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["old_generation", "spins_on_eof", "holder_running"])]);
}
