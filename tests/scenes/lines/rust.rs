//! Rust: the standard library, tokio, and what is built on it, as cargo builds a release.

use std::process::Command;

use super::build::{app, built, compile, run};
use super::peer::{Peer, REQUEST};
use super::way::{Group, Way};
use crate::support::stage::Stage;

pub(crate) fn rust(stage: &Stage) -> (Group, Vec<Way>) {
    const SOURCE: &str = "rust/src/main.rs";
    // What line tables call an async function.
    const ASYNC: &str = "{async_fn#0}";
    let folder = built("rust");
    for profile in ["lines", "small"] {
        cargo(stage, "rust", profile);
    }
    let program = |profile: &str| format!("{folder}/{profile}/ledger");
    // As cargo does by default, and with `strip = true`.
    for (profile, option) in [("release", "--strip-debug"), ("stripped", "--strip-all")] {
        std::fs::create_dir_all(format!("{folder}/{profile}")).expect("a folder beside the tool");
        compile(stage, &["strip", option, "-o", &program(profile), &program("lines")]);
    }
    let connecting = [
        ("TcpStream::connect", "connect", "open_ledger"),
        ("connect_timeout", "timeout", "open_in_time"),
        ("generic ToSocketAddrs", "generic", "open_any"),
        ("thread", "thread", "open_ledger"),
        ("thread pool", "pool", "open_ledger"),
        ("dyn trait", "dyn", "open"),
        ("tokio spawn_blocking", "tokio-blocking", "open_ledger"),
    ];
    let mut ways = Vec::new();
    for (name, way, function) in connecting {
        let with_lines = Way::connects(format!("{name}, line tables"), &[&program("lines"), way, "PORT"]);
        ways.push(with_lines.own(function, SOURCE));
        let plain = Way::connects(name, &[&program("release"), way, "PORT"]);
        ways.push(plain.own(function, SOURCE).without_lines());
    }
    // What was inlined without line tables can be told by the function that has it.
    for (name, way, has_it) in
        [("tokio task", "tokio-task", "keep_async"), ("tokio, one thread", "tokio-main", "main")]
    {
        let with_lines = Way::connects(format!("{name}, line tables"), &[&program("lines"), way, "PORT"]);
        ways.push(with_lines.own("open_async", SOURCE).called(ASYNC));
        let plain = Way::connects(name, &[&program("release"), way, "PORT"]);
        ways.push(plain.own("open_async", SOURCE).called(has_it).without_lines());
    }
    for (name, way, function, called) in
        [("accept", "accept", "serve", "serve"), ("tokio accept", "tokio-accept", "serve_async", ASYNC)]
    {
        let with_lines = Way::accepts(format!("{name}, line tables"), &[&program("lines"), way, "PORT"], "");
        ways.push(with_lines.own(function, SOURCE).called(called));
        let plain = Way::accepts(name, &[&program("release"), way, "PORT"], "");
        ways.push(plain.own(function, SOURCE).without_lines());
    }
    ways.push(Way::asks("ureq", &[&program("lines"), "ureq", "PORT"], Peer::HTTP).own("fetch", SOURCE));
    ways.push(
        Way::asks("ureq, without", &[&program("release"), "ureq", "PORT"], Peer::HTTP)
            .own("fetch", SOURCE)
            .without_lines(),
    );
    let thin = Way::connects("wrapper that became a jump", &[&program("release"), "thin", "PORT"]);
    ways.push(thin.own("open_thin", SOURCE).without_lines());
    let closure = |profile: &str| [program(profile), "closure".to_owned(), "PORT".to_owned()];
    let with_lines = closure("lines");
    let with_lines =
        Way::connects("closure of a thread, line tables", &with_lines.each_ref().map(|word| &**word));
    ways.push(with_lines.own("closure", SOURCE));
    let plain = closure("release");
    let plain = Way::connects("closure of a thread", &plain.each_ref().map(|word| &**word));
    ways.push(plain.or(&["inlined"]));
    let small = Way::connects("lto, panic=abort", &[&program("small"), "connect", "PORT"]);
    ways.push(small.own("open_ledger", SOURCE).without_lines());
    ways.push(Way::connects("strip", &[&program("stripped"), "connect", "PORT"]).or(&["stripped"]));
    cargo(stage, "rust-web", "release");
    let web = built("rust-web/release/web");
    // hyper connects and serves on tasks of its own.
    let client = Way::asks("reqwest, line tables", &[&web, "reqwest", "PORT"], Peer::ENDLESS);
    ways.push(client.own("fetch", "rust-web/src/main.rs").called(ASYNC));
    let server = Way::accepts("axum, line tables", &[&web, "axum", "PORT"], REQUEST);
    ways.push(server.own("serve", "rust-web/src/main.rs").called(ASYNC));
    (Group::new("Rust", &[("rustc", &["rustc", "--version"])]), ways)
}

/// Builds a crate of the ways, in the folder that [`built`] names for it.
fn cargo(stage: &Stage, name: &str, profile: &str) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--quiet", "--profile", profile, "--target-dir", &built(name)]);
    // What cargo tells the tests is not for these programs.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
    run(stage, cargo.current_dir(app(name)));
}
