//! Python: what Debian packages, with the libraries that people use, and every version that pyenv has here.

use std::fs;

use super::build::{app, built, compile};
use super::peer::{Peer, REQUEST};
use super::way::{Group, Way};
use crate::support::stage::{PYTHON, Stage};

const SOURCE: &str = "ledger.py";

/// Without a name for what is interpreted, this is the truth.
const INTERPRETED: &[&str] = &["interpreted_python"];

pub(crate) fn groups(stage: &Stage) -> Vec<(Group, Vec<Way>)> {
    let pythons = of_pyenv();
    let mut versions: Vec<[&str; 2]> = vec![[PYTHON, "--version"]];
    versions.extend(pythons.iter().map(|python| [&**python, "--version"]));
    let versions: Vec<_> = versions.iter().map(|command| ("CPython", &command[..])).collect();
    let mut ways = of_debian();
    ways.push(own_extension(stage));
    ways.push(cython(stage));
    ways.push(packages_beside_it(stage));
    for python in &pythons {
        ways.extend(of_version(python));
    }
    vec![(Group::new("Python", &versions), ways)]
}

fn of_debian() -> Vec<Way> {
    let script = app(SOURCE).display().to_string();
    let connects = |(title, way, function, peer): (&str, &str, &'static str, Peer)| {
        Way::asks(title, &[PYTHON, &script, way, "PORT"], peer).own(function, SOURCE).or(INTERPRETED)
    };
    let mut ways: Vec<Way> = [
        ("create_connection", "connect", "open_ledger", Peer::CLOSES),
        ("socket.connect", "socket", "connect_socket", Peer::CLOSES),
        ("200 calls deep", "recursion", "open_ledger", Peer::CLOSES),
        ("subclass of socket", "subclass", "open", Peer::CLOSES),
        ("generator", "generator", "generator", Peer::CLOSES),
        ("context manager", "context", "ledger", Peer::CLOSES),
        ("decorator", "decorator", "open_decorated", Peer::CLOSES),
        ("thread", "thread", "open_ledger", Peer::CLOSES),
        ("ThreadPoolExecutor", "executor", "open_ledger", Peer::CLOSES),
        ("multiprocessing, fork", "child", "open_ledger", Peer::CLOSES),
        ("http.client", "http.client", "fetch", Peer::HTTP),
        ("urllib", "urllib", "fetch_url", Peer::ENDLESS),
        ("requests", "requests", "fetch_by_requests", Peer::HTTP),
        ("httpx", "httpx", "fetch_by_httpx", Peer::ENDLESS),
        ("psycopg2", "psycopg2", "dial_database", Peer::POSTGRESQL),
        ("redis", "redis", "dial_redis", Peer::REDIS),
        ("asyncio streams", "asyncio", "open_async", Peer::CLOSES),
        ("asyncio sock_connect", "asyncio-sock", "open_sock_async", Peer::CLOSES),
        ("gevent", "gevent", "spawned", Peer::CLOSES),
        ("aiohttp", "aiohttp", "fetched", Peer::ENDLESS),
        ("ctypes", "ctypes", "open_by_ctypes", Peer::CLOSES),
    ]
    .map(connects)
    .into();
    let accepting = [
        ("accept", "accept", "serve"),
        ("accept in a thread", "accept-thread", "serve"),
        ("socketserver with threads", "socketserver", "serve_in_threads"),
        ("http.server", "http.server", "serve_http"),
        // The loop accepts; whoever runs it is the application.
        ("asyncio server", "asyncio-server", "run_async"),
        ("uvloop", "uvloop", "serve_by_uvloop"),
        ("tornado", "tornado", "serve_by_tornado"),
        ("twisted", "twisted", "serve_by_twisted"),
    ];
    for (title, way, function) in accepting {
        let way = Way::accepts(title, &[PYTHON, &script, way, "PORT"], REQUEST);
        ways.push(way.own(function, SOURCE).or(INTERPRETED));
    }
    // Whoever runs the loop has not asked for it.
    let later = Way::asks("httpx, asynchronous", &[PYTHON, &script, "httpx-async", "PORT"], Peer::ENDLESS);
    ways.push(later.or(&["library_thread"]).or(INTERPRETED));
    let reader = Way::connects("recv() of the end", &[PYTHON, &script, "read", "PORT"]);
    ways.push(reader.reader("read_all", SOURCE).or(INTERPRETED));
    ways
}

/// A module in C beside the script.
fn own_extension(stage: &Stage) -> Way {
    let folder = built("python");
    fs::create_dir_all(&folder).expect("a folder beside the tool");
    let headers = "$(/usr/bin/python3-config --includes)";
    let compiler = format!("gcc -O2 -g -shared -fPIC {headers} -o {folder}/till.so tillmodule.c");
    compile(stage, &["sh", "-c", &compiler]);
    let script = format!("{folder}/{SOURCE}");
    compile(stage, &["cp", SOURCE, &script]);
    Way::connects("own module in C", &[PYTHON, &script, "extension", "PORT"]).own("open_till", "tillmodule.c")
}

/// A module that Cython has compiled, beside the script.
fn cython(stage: &Stage) -> Way {
    let folder = built("python");
    let headers = "$(/usr/bin/python3-config --includes)";
    let compiler = format!(
        "cython3 -3 -o {folder}/tillcython.c tillcython.pyx && \
         gcc -O2 -shared -fPIC {headers} -o {folder}/tillcython.so {folder}/tillcython.c"
    );
    compile(stage, &["sh", "-c", &compiler]);
    let script = format!("{folder}/{SOURCE}");
    let way = Way::connects("module of Cython", &[PYTHON, &script, "cython", "PORT"]);
    way.own("open_by_cython", "tillcython.pyx").without_lines()
}

/// Packages where `pip install --target` puts them.
fn packages_beside_it(stage: &Stage) -> Way {
    let folder = built("python/packages");
    let copy = format!("mkdir -p {folder} && cp -r /usr/lib/python3/dist-packages/redis* {folder}");
    compile(stage, &["sh", "-c", &copy]);
    let (script, path) = (app(SOURCE).display().to_string(), format!("PYTHONPATH={folder}"));
    let way = Way::asks("packages beside it", &["env", &path, PYTHON, &script, "redis", "PORT"], Peer::REDIS);
    way.own("dial_redis", SOURCE).or(INTERPRETED)
}

/// The interpreters that pyenv has installed, the oldest first.
fn of_pyenv() -> Vec<String> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let folder = std::path::Path::new(&home).join(".pyenv/versions");
    let versions = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, String)> = versions
        .map(|version| {
            let numbers = version
                .file_name()
                .to_string_lossy()
                .split('.')
                .map(|part| part.parse().unwrap_or(0))
                .collect();
            (numbers, version.path().join("bin/python").display().to_string())
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, python)| python).collect()
}

fn of_version(python: &str) -> Vec<Way> {
    let version = python.split('/').rev().nth(2).unwrap_or_default();
    if version.starts_with('2') {
        let script = app("ledger2.py").display().to_string();
        let way =
            Way::connects(format!("{version}: create_connection"), &[python, &script, "connect", "PORT"]);
        return vec![way.own("open_ledger", "ledger2.py").or(INTERPRETED)];
    }
    let script = app(SOURCE).display().to_string();
    let connect =
        Way::connects(format!("{version}: create_connection"), &[python, &script, "connect", "PORT"]);
    let accept = Way::accepts(format!("{version}: accept"), &[python, &script, "accept", "PORT"], "");
    let mut ways =
        vec![connect.own("open_ledger", SOURCE).or(INTERPRETED), accept.own("serve", SOURCE).or(INTERPRETED)];
    // As people who want names start it; earlier versions know no such variable.
    if ["3.12", "3.13"].iter().any(|minor| version.starts_with(minor)) {
        let mapped =
            Way::connects(format!("{version}: PYTHONPERFSUPPORT=1"), &[python, &script, "connect", "PORT"]);
        let mapped = mapped.own("open_ledger", SOURCE).without_lines().or(INTERPRETED);
        ways.push(mapped.with("PYTHONPERFSUPPORT", "1"));
    }
    ways
}
