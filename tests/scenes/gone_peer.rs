//! gunicorn answers a client that is gone without a trace: in a network namespace of its own, whose only link goes down.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::support::judge::judge;
use crate::support::processes::{self, only_child};
use crate::support::stage::{PYTHON, Stage, app};
use crate::support::truth::Truth;
use crate::support::{free_port, kernel, until};

scenes! {
    gunicorn_sends_to_nobody,
}

fn gunicorn_sends_to_nobody() {
    let (stage, port) = (Stage::new(), free_port());
    let server =
        "ip link set lo up && exec /usr/bin/gunicorn --timeout 0 --chdir $0 --bind 127.0.0.1:$1 slow:app";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", server]).arg(app("")).arg(port.to_string());
    let master = stage.start("gunicorn", &mut command);
    let listens = || kernel::listeners(Some(master), port).contains(&master);
    until("gunicorn listens", listens, || stage.log("gunicorn"));
    let there = |program: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &master.to_string(), program]);
        command
    };
    let goes_on = stage.folder().join("goes-on");
    let mut client = there(PYTHON);
    client.arg(app("half_closing_client.py")).arg(port.to_string());
    let client = stage.start("client", client.arg(format!("/later?{}", goes_on.display())));
    stage.until_says("client", "ready");
    stage.run("ip", there("ip").args(["link", "set", "lo", "down"]));
    processes::send(client, Signal::KILL);
    fs::write(&goes_on, "").unwrap();
    let worker = only_child(master, &[]);
    judge(&[Truth::accepted("gunicorn, sends to nobody", port)
        .place(master)
        .owners(&[worker])
        .unread(1..=1)
        // What it has written in two seconds, while the kernel repeats the first of it.
        .unsent(20_000..)
        .verdict(&["eof_unread"])
        .first(&["sends_to_nobody"])
        .never(&["blocked_in_write", "old_generation"])]);
}
