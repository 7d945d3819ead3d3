//! PostgreSQL, on both sides: a pool whose server ended its sessions, and a server whose client was killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::support::judge::judge;
use crate::support::stage::Stage;
use crate::support::truth::Truth;
use crate::support::{free_port, processes, until};

scenes! {
    postgresql_pool_after_a_restart,
    postgresql_whose_client_was_killed,
}

struct Postgresql {
    stage: Stage,
    port: u16,
}

impl Postgresql {
    fn start() -> Self {
        let stage = Stage::new();
        let data = stage.folder().join("data").display().to_string();
        stage.run("folder", Command::new("install").args(["-d", "-o", "postgres", &data]));
        let initialise = ["-D", &data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--no-locale"];
        stage.run("initdb", as_postgres("initdb").args(initialise));
        let port = free_port();
        let server =
            ["-D", &data, "-k", &data, "-h", "127.0.0.1", "-c", "fsync=off", "-p", &port.to_string()];
        stage.start("postgres", as_postgres("postgres").args(server));
        stage.until_says("postgres", "ready to accept connections");
        Self { stage, port }
    }

    fn query(&self, query: &str) {
        let port = self.port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", query];
        self.stage.run("psql", Command::new("psql").args(arguments));
    }
}

/// A program of the server, which refuses to run as root.
pub(crate) fn as_postgres(program: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: cargo xtask scenes installs it");
    let programs = versions.flatten().map(|version| version.path().join("bin").join(program));
    let program: PathBuf = programs.filter(|path| path.exists()).max().expect("a server of PostgreSQL");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
    command
}

fn postgresql_pool_after_a_restart() {
    let server = Postgresql::start();
    let pool = server.stage.python("postgresql_pool", &[&server.port.to_string()]);
    server.stage.until_says("postgresql_pool", "ready");
    server.query(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where backend_type = 'client backend' and pid <> pg_backend_pid()",
    );
    judge(&[Truth::connected("psycopg2 pool, server restarted", server.port)
        .count(3)
        .owners(&[pool])
        // An ErrorResponse, and the FIN.
        .unread(50..=400)
        .verdict(&["eof_unread"])
        .first(&["last_words", "idle_in_pool"])
        .also(&["last_words", "idle_in_pool"])
        .number("last_words", "protocol", "postgresql")
        .never_says(&["blocked or gone"])]);
}

fn postgresql_whose_client_was_killed() {
    let server = Postgresql::start();
    let client = server.stage.python("postgresql_query", &[&server.port.to_string()]);
    server.stage.until_says("postgresql_query", "ready");
    let said = server.stage.log("postgresql_query");
    let backend: i32 = said.split(' ').nth(1).unwrap().parse().unwrap();
    let does = || fs::read_to_string(format!("/proc/{backend}/cmdline")).unwrap_or_default();
    until("the backend runs the query", || does().contains("SELECT"), does);
    processes::send(client, Signal::KILL);
    judge(&[Truth::accepted("postgres, client killed in a query", server.port)
        .owners(&[backend])
        .unread(1..=1)
        .verdict(&["eof_unread"])
        .first(&["client_left"])
        .never(&["last_words", "old_generation"])
        .says("SELECT")]);
}
