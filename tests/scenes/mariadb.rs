//! Idle connections to MariaDB: its end makes them half-closed, its `wait_timeout` resets them.

use std::process::Command;

use rustix::process::Signal;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, processes};

scenes! {
    mariadb_shut_down,
    mariadb_wait_timeout,
}

fn mariadb_shut_down() {
    let (stage, port, server) = start();
    let pool = stage.python("mariadb_pool", &[&port.to_string(), "3600"]);
    stage.until_says("mariadb_pool", "ready");
    processes::send(server, Signal::TERM);
    judge(&[Truth::idle_pool("pymysql, server shut down", port, pool)]);
}

fn mariadb_wait_timeout() {
    let (stage, port, _server) = start();
    let pool = stage.python("mariadb_pool", &[&port.to_string(), "1"]);
    stage.until_says("mariadb_pool", "ready");
    judge(&[Truth::connected("pymysql, wait_timeout of the server", port)
        .count(3)
        .owners(&[pool])
        .verdict(&["connection_over"])
        .never(&["idle_in_pool", "last_words"])]);
}

/// A server with its port and its pid.
fn start() -> (Stage, u16, i32) {
    let stage = Stage::new();
    let port = free_port();
    let [data, socket] = ["data", "socket"].map(|name| stage.folder().join(name).display().to_string());
    let own = ["--no-defaults", "--user=root", &format!("--datadir={data}")];
    let mut install = Command::new("mariadb-install-db");
    stage.run(
        "install",
        install.args(own).args(["--skip-test-db", "--auth-root-authentication-method=normal"]),
    );
    let mut server = Command::new("mariadbd");
    server.args(own).args(["--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-networking=0"]);
    server.args([format!("--socket={socket}"), format!("--port={port}")]);
    let server = stage.start("mariadbd", &mut server);
    stage.until_says("mariadbd", "ready for connections");
    (stage, port, server)
}
