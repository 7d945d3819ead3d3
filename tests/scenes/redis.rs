//! Redis: a pool whose server ended its connections or itself, a subscriber that does not read, and a server asleep.

use std::process::Command;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{connect, free_port, kernel, request, until, until_listens};

scenes! {
    redis_pool_after_client_kill,
    redis_pool_after_shutdown,
    redis_pool_beside_a_blocked_thread,
    redis_subscriber_that_does_not_read,
    redis_server_asleep,
}

fn redis_pool_after_client_kill() {
    pool_after("redis pool, CLIENT KILL", &["client", "kill", "type", "normal"]);
}

fn redis_pool_after_shutdown() {
    pool_after("redis pool, server shut down", &["shutdown", "nosave"]);
}

fn redis_pool_beside_a_blocked_thread() {
    let redis = Redis::start();
    let web = free_port();
    let server = redis.stage.python("web_with_pool", &[&redis.port.to_string(), &web.to_string()]);
    redis.stage.until_says("web_with_pool", "ready");
    // Another thread answers it, and it reads nothing.
    let _client = request(web, "/");
    let from = format!("sport = :{web}");
    let is_blocked = || kernel::established(&from).iter().any(|seen| seen.send_q > 1_000_000);
    until("a thread is blocked in writing", is_blocked, || kernel::shown(None, &from));
    redis.command(&["client", "kill", "type", "normal"]);
    judge(&[Truth::connected("redis pool beside a blocked thread", redis.port)
        .count(3)
        .owners(&[server])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["idle_in_pool"])
        .never(&["behind_blocked_write", "blocked_in_write", "last_words"])]);
}

fn redis_subscriber_that_does_not_read() {
    let redis = Redis::start();
    let subscriber = redis.client("redis_subscriber");
    for message in ["one", "two", "three"] {
        redis.command(&["publish", "channel", message]);
    }
    // What comes long before the end is no word of goodbye.
    let to = format!("dport = :{}", redis.port);
    let are_old = || kernel::quiet_ms(&to).is_some_and(|ms| ms > 3_000);
    until("the messages are seconds old", are_old, || kernel::shown(None, &to));
    redis.command(&["client", "kill", "type", "pubsub"]);
    judge(&[Truth::connected("redis subscriber that does not read", redis.port)
        .owners(&[subscriber])
        .unread(100..=300)
        .verdict(&["data_unread"])
        .first(&["connected"])
        .also(&["holder_sleeping"])
        .never(&["last_words", "idle_in_pool"])]);
}

fn redis_server_asleep() {
    let redis = Redis::start();
    let port = redis.port.to_string();
    let mut asleep = Command::new("redis-cli");
    redis.stage.start("asleep", asleep.args(["-p", &port, "debug", "sleep", "3600"]));
    let from = format!("sport = :{port}");
    let is_asked = || !kernel::established(&from).is_empty();
    until("the server is asked to sleep", is_asked, || kernel::shown(None, &from));
    // It may accept some more before it falls asleep.
    let never_accepted = || {
        drop(connect(redis.port));
        kernel::close_wait(None, &from).iter().any(|seen| seen.holders.is_empty())
    };
    until("a connection is not accepted", never_accepted, || kernel::shown(None, &from));
    judge(&[Truth::accepted("redis, server asleep", redis.port)
        .count(kernel::close_wait(None, &from).len())
        .owners(&[redis.server])
        .unread(1..=1)
        .verdict(&["never_accepted"])
        .first(&["accept_queue"])
        .never(&["nobody_accepts", "no_descriptors_left", "client_left"])]);
}

struct Redis {
    stage: Stage,
    port: u16,
    server: i32,
}

impl Redis {
    fn start() -> Self {
        let (stage, port) = (Stage::new(), free_port());
        let folder = stage.folder().display().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes"]);
        let server =
            stage.start("redis-server", command.args(["--dir", &folder, "--port", &port.to_string()]));
        until_listens(port);
        Self { stage, port, server }
    }

    /// Starts one of the Python programs.
    fn client(&self, name: &str) -> i32 {
        let pid = self.stage.python(name, &[&self.port.to_string()]);
        self.stage.until_says(name, "ready");
        pid
    }

    fn command(&self, words: &[&str]) {
        let port = self.port.to_string();
        self.stage.run("redis-cli", Command::new("redis-cli").args(["-p", &port]).args(words));
    }
}

fn pool_after(scene: &'static str, command: &[&str]) {
    let redis = Redis::start();
    let pool = redis.client("redis_pool");
    redis.command(command);
    judge(&[Truth::idle_pool(scene, redis.port, pool)]);
}
