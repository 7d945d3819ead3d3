//! A pool of Redis connections whose server ended them, or ended itself.

use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, until_listens};

scenes! {
    redis_pool_after_client_kill,
    redis_pool_after_shutdown,
}

fn redis_pool_after_client_kill() {
    pool_after("redis pool, CLIENT KILL", &["client", "kill", "type", "normal"]);
}

fn redis_pool_after_shutdown() {
    pool_after("redis pool, server shut down", &["shutdown", "nosave"]);
}

fn pool_after(scene: &'static str, command: &[&str]) {
    let stage = Stage::new();
    let port = free_port().to_string();
    let folder = stage.folder().display().to_string();
    let options = ["--bind", "127.0.0.1", "--save", "", "--dir", &folder, "--port", &port];
    stage.start("redis-server", Command::new("redis-server").args(options));
    until_listens(port.parse().unwrap());
    let pool = stage.python("redis_pool", &[&port]);
    stage.until_says("redis_pool", "ready");
    stage.run("redis-cli", Command::new("redis-cli").args(["-p", &port]).args(command));
    judge(&[Truth::connected(scene, port.parse().unwrap())
        .count(3)
        .owners(&[pool])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["idle_in_pool"])
        .never(&["last_words"])
        .never_says(&["blocked or gone"])]);
}
