//! Daemons as Debian packages them: stripped. Those that export their functions to plugins keep the names of these; of
//! others the place with the build is all that can be said.

use std::io::Write as _;
use std::process::Command;

use super::peer;
use super::way::{Group, Start, Way};
use crate::php_fpm as fpm;
use crate::postgresql::as_postgres;
use crate::support::processes::only_child;
use crate::support::stage::{Stage, app};
use crate::support::{connect, free_port, request, request_through, until, until_listens};

pub(crate) fn groups() -> Vec<(Group, Vec<Way>)> {
    let ways = vec![
        Way::new("nginx", Start::Plays(nginx)).symbol("ngx_event_accept"),
        Way::new("haproxy", Start::Plays(haproxy)).symbol("sock_accept_conn"),
        Way::new("redis", Start::Plays(redis)).symbol("anetTcpAccept"),
        Way::new("PostgreSQL", Start::Plays(postgresql)).symbol("StreamConnection"),
        Way::new("socat", Start::Plays(socat)).or(&["stripped"]),
        // What it runs on accepts; a module of its own calls that.
        Way::new("Apache", Start::Plays(apache)).symbol("ap_unixd_accept"),
        Way::new("docker-proxy", Start::Plays(docker_proxy)).symbol("main.(*TCPProxy).Run"),
        // The script that Debian installs is what runs its worker.
        Way::new("gunicorn", Start::Plays(gunicorn)).symbol("SyncWorker.accept").or(&["interpreted_python"]),
        Way::new("puma", Start::Plays(puma)).or(&["library_thread"]),
        Way::new("php-fpm", Start::Plays(php_fpm)).or(&["interpreted_php"]),
    ];
    let versions: [(&str, &[&str]); 8] = [
        ("nginx", &["nginx", "-v"]),
        ("haproxy", &["haproxy", "-v"]),
        ("redis", &["redis-server", "--version"]),
        ("PostgreSQL", &["psql", "--version"]),
        ("socat", &["socat", "-V"]),
        ("Apache", &["apache2", "-v"]),
        ("gunicorn", &["gunicorn", "--version"]),
        ("puma", &["puma", "--version"]),
    ];
    vec![(Group::new("Daemons", &versions), ways)]
}

/// A backend that neither answers nor closes.
fn backend(stage: &Stage) -> u16 {
    let port = free_port();
    stage.python("backend", &[&port.to_string()]);
    until_listens(port);
    port
}

fn configured(stage: &Stage, file: &str, port: u16, backend: u16) -> String {
    let [port, backend] = [port, backend].map(|port| port.to_string());
    let (other, others) = (free_port().to_string(), free_port().to_string());
    let values = [
        ("PORT", &*port),
        ("BACKEND", &backend),
        ("MODE", "http"),
        ("OTHER", &other),
        ("OTHER_BACKEND", &others),
    ];
    stage.configuration(file, &values)
}

fn nginx(stage: &Stage, port: u16) -> i32 {
    let backend = backend(stage);
    let configuration = configured(stage, "nginx.conf", port, backend);
    let pid = stage.start("nginx", Command::new("nginx").args(["-c", &configuration]));
    drop(request_through(port, backend));
    pid
}

fn haproxy(stage: &Stage, port: u16) -> i32 {
    let backend = backend(stage);
    let configuration = configured(stage, "haproxy.cfg", port, backend);
    let pid = stage.start("haproxy", Command::new("haproxy").args(["-db", "-f", &configuration]));
    drop(request_through(port, backend));
    pid
}

fn apache(stage: &Stage, port: u16) -> i32 {
    let backend = backend(stage);
    let configuration = configured(stage, "apache.conf", port, backend);
    let arguments = ["-D", "FOREGROUND", "-f", &configuration];
    let pid = stage.start("apache", Command::new("apache2").args(arguments));
    drop(request_through(port, backend));
    pid
}

/// It sleeps when a client asks it to, and does not see the client leave.
fn redis(stage: &Stage, port: u16) -> i32 {
    let folder = stage.folder().display().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes"]);
    let pid = stage.start("redis-server", command.args(["--dir", &folder, "--port", &port.to_string()]));
    until_listens(port);
    peer::leave(port, "DEBUG SLEEP 600\r\n");
    pid
}

fn postgresql(stage: &Stage, port: u16) -> i32 {
    let data = stage.folder().join("data").display().to_string();
    stage.run("folder", Command::new("install").args(["-d", "-o", "postgres", &data]));
    let initialise = ["-D", &data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--no-locale"];
    stage.run("initdb", as_postgres("initdb").args(initialise));
    let server = ["-D", &data, "-k", &data, "-h", "127.0.0.1", "-c", "fsync=off", "-p", &port.to_string()];
    let pid = stage.start("postgres", as_postgres("postgres").args(server));
    stage.until_says("postgres", "ready to accept connections");
    let ports = ["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"];
    let query = ["-c", "select pg_sleep(600)"];
    let client = stage.start("psql", Command::new("psql").args(ports).args(query));
    let does = || {
        let backends = crate::support::processes::children(pid);
        let lines = backends.iter().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")));
        lines.map(Result::unwrap_or_default).collect::<String>()
    };
    until("a backend runs the query", || does().contains("SELECT"), does);
    crate::support::processes::send(client, rustix::process::Signal::KILL);
    pid
}

fn socat(stage: &Stage, port: u16) -> i32 {
    let backend = backend(stage);
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr");
    let arguments = ["-t", "3600", &listen, &format!("TCP:127.0.0.1:{backend}")];
    let pid = stage.start("socat", Command::new("socat").args(arguments));
    let client = connect(port);
    only_child(pid, &[]);
    drop(client);
    pid
}

fn docker_proxy(stage: &Stage, port: u16) -> i32 {
    let backend = backend(stage);
    // It tells whoever started it on descriptor 3 that it listens.
    let command = format!(
        "exec docker-proxy -proto tcp -host-ip 127.0.0.1 -host-port {port} \
         -container-ip 127.0.0.1 -container-port {backend} 3>/dev/null"
    );
    let pid = stage.start("docker-proxy", Command::new("sh").args(["-c", &command]));
    peer::leave(port, "");
    pid
}

fn gunicorn(stage: &Stage, port: u16) -> i32 {
    let mut command = Command::new("/usr/bin/gunicorn");
    command.args(["--workers", "1", "--timeout", "0", "--bind", &format!("127.0.0.1:{port}")]);
    let pid = stage.start("gunicorn", command.arg("--chdir").arg(app("")).arg("slow:app"));
    let client = request(port, "/");
    stage.until_says("gunicorn", "working");
    drop(client);
    pid
}

fn puma(stage: &Stage, port: u16) -> i32 {
    let mut command = Command::new("/usr/bin/puma");
    command.args(["--threads", "1:1", "--bind", &format!("tcp://127.0.0.1:{port}")]).arg(app("slow.ru"));
    let pid = stage.start("puma", command.current_dir(stage.folder()));
    let client = request(port, "/");
    stage.until_says("puma", "working");
    drop(client);
    pid
}

fn php_fpm(stage: &Stage, port: u16) -> i32 {
    let configuration = stage.configuration("php-fpm.conf", &[("PORT", &port.to_string())]);
    let arguments = ["-n", "-R", "-F", "-y", &configuration];
    let pid = stage.start("php-fpm", Command::new(fpm::program()).args(arguments));
    let working = stage.folder().join("working");
    let mut client = connect(port);
    client.write_all(&fpm::request(&app("slow.php"), &working)).expect("a client may speak");
    until("the script works", || working.exists(), || stage.log("php-fpm"));
    pid
}
