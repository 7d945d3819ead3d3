//! C, C++, Rust and Go, built as people build them: optimised, without frame pointers.

use std::process::Command;

use super::build::{app, built, compile, run};
use super::peer::Peer;
use super::way::{Group, Way};
use crate::support::stage::Stage;

pub(crate) fn groups(stage: &Stage) -> Vec<(Group, Vec<Way>)> {
    vec![c(stage), cpp(stage), rust(stage), go(stage)]
}

fn c(stage: &Stage) -> (Group, Vec<Way>) {
    let builds: [(&str, &[&str]); 9] = [
        ("-O2", &["-O2"]),
        ("-O2 -g", &["-O2", "-g"]),
        ("-O0 -g", &["-O0", "-g"]),
        ("-O3 -g -flto", &["-O3", "-g", "-flto"]),
        ("-O2 without unwind tables", &["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]),
        ("-O2 -g -no-pie", &["-O2", "-g", "-no-pie"]),
        ("-O2 -g -static", &["-O2", "-g", "-static"]),
        ("-O2 stripped", &["-O2", "-s"]),
        ("-O2 -static stripped", &["-O2", "-static", "-s"]),
    ];
    let program = |build: &str| built(&format!("c{}", build.replace(' ', "")));
    for (name, options) in builds {
        compile(stage, &[&["gcc", "-o", &program(name), "ledger.c"], options].concat());
    }
    compile(
        stage,
        &["gcc", "-O2", "-shared", "-fPIC", "-o", &(program("-O2 -g") + "-plugin.so"), "plugin.c"],
    );
    // A library of the application's own, beside it; symbols that it exports stay when it is stripped.
    compile(stage, &["gcc", "-O2", "-s", "-shared", "-fPIC", "-o", &built("libtill.so"), "plugin.c"]);
    let library = ["-L", &*built(""), "-ltill", "-Wl,-rpath,$ORIGIN"];
    compile(stage, &[&["gcc", "-O2", "-s", "-o", &*built("till"), "till.c"], &library[..]].concat());
    let (clients, libraries) = (built("clients"), ["-lcurl", "-lssl", "-lcrypto", "-lhiredis", "-lpq"]);
    let headers = ["-O2", "-g", "-I/usr/include/postgresql", "-o", &*clients, "clients.c"];
    compile(stage, &[&["gcc"], &headers[..], &libraries].concat());
    let mut ways = Vec::new();
    for (name, _) in builds {
        let way = Way::connects(format!("gcc {name}"), &[&program(name), "retry", "PORT"]);
        ways.push(match name {
            _ if name.contains("stripped") => way.or(&["stripped"]),
            _ if name.contains("-g") => way.own("open_ledger", "ledger.c"),
            _ => way.own("open_ledger", "ledger.c").without_lines(),
        });
    }
    let usual = program("-O2 -g");
    let connecting = [
        ("pthread", "pthread", "open_ledger"),
        ("nonblocking", "nonblocking", "connect_soon"),
        ("signal handler", "signal", "open_ledger"),
        ("36 KiB below main", "deep", "open_ledger"),
        ("callback of qsort", "callback", "compare"),
        ("array of variable length", "buffer", "open_with_buffer"),
        ("call that became a jump", "jump", "call_jumper"),
        ("syscall()", "raw", "open_raw"),
        ("makecontext", "coroutine", "open_ledger"),
    ];
    for (name, way, function) in connecting {
        ways.push(Way::connects(name, &[&usual, way, "PORT"]).own(function, "ledger.c"));
    }
    let accepting = [
        ("accept", "serve", "serve"),
        ("epoll and accept4", "epoll", "event_loop"),
        ("pool of threads in accept", "pool", "take_next"),
        ("prefork", "prefork", "take_next"),
    ];
    for (name, way, function) in accepting {
        ways.push(Way::accepts(name, &[&usual, way, "PORT"], "").own(function, "ledger.c"));
    }
    let plugin = Way::connects("plugin by dlopen", &[&usual, "plugin", "PORT"]);
    ways.push(plugin.own("plugin_open", "plugin.c").without_lines());
    let library = Way::connects("own library, stripped", &[&built("till"), "connect", "PORT"]);
    ways.push(library.own("plugin_open", "plugin.c").without_lines());
    let of_libraries = [
        ("libcurl", "curl", "fetch_price", Peer::HTTP),
        ("libcurl multi", "multi", "fetch_all", Peer::HTTP),
        ("libcurl CONNECT_ONLY", "connect-only", "fetch_connect_only", Peer::CLOSES),
        ("OpenSSL BIO", "bio", "dial_bio", Peer::CLOSES),
        ("hiredis", "redis", "dial_redis", Peer::CLOSES),
        ("libpq", "database", "dial_database", Peer::CLOSES),
    ];
    for (name, way, function, peer) in of_libraries {
        ways.push(Way::asks(name, &[&clients, way, "PORT"], peer).own(function, "clients.c"));
    }
    for (name, way, function) in [("read()", "read", "read_all"), ("recv()", "recv", "receive_all")] {
        let way = Way::connects(format!("{name} of the end"), &[&usual, way, "PORT"]);
        ways.push(way.reader(function, "ledger.c"));
    }
    (Group::new("C", &[("gcc", &["gcc", "--version"]), ("glibc", &["ldd", "--version"])]), ways)
}

fn cpp(stage: &Stage) -> (Group, Vec<Way>) {
    let program = built("cpp");
    compile(stage, &["g++", "-std=c++20", "-O2", "-g", "-pthread", "-o", &program, "ledger.cpp"]);
    let plain = built("cpp-plain");
    compile(stage, &["g++", "-std=c++20", "-O2", "-pthread", "-o", &plain, "ledger.cpp"]);
    let ways = [
        ("virtual method", "method", "shop::Ledger::open"),
        ("template", "template", "fill"),
        ("lambda in std::function", "lambda", "operator()"),
        ("lambda in std::thread", "thread", "operator()"),
        ("std::async", "async", "shop::Ledger::open"),
        ("catch block", "exception", "shop::fail_over"),
        ("constructor", "constructor", "shop::Guard::Guard"),
        ("coroutine", "coroutine", "settle"),
    ];
    let way =
        |(name, way, function)| Way::connects(name, &[&program, way, "PORT"]).own(function, "ledger.cpp");
    let mut ways: Vec<Way> = ways.into_iter().map(way).collect();
    let accept = Way::accepts("std::thread in accept", &[&program, "accept", "PORT"], "");
    ways.push(accept.own("shop::accept_for_ever", "ledger.cpp"));
    for (name, way, function) in
        [("template", "template", "fill"), ("method", "method", "shop::Ledger::open")]
    {
        let way = Way::connects(format!("{name}, without -g"), &[&plain, way, "PORT"]);
        ways.push(way.own(function, "ledger.cpp").without_lines());
    }
    (Group::new("C++", &[("g++", &["g++", "--version"])]), ways)
}

fn rust(stage: &Stage) -> (Group, Vec<Way>) {
    const SOURCE: &str = "rust/src/main.rs";
    // What line tables call an async function.
    const ASYNC: &str = "{async_fn#0}";
    let folder = built("rust");
    for profile in ["lines", "small"] {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--locked", "--quiet", "--profile", profile, "--target-dir", &folder]);
        // What cargo tells the tests is not for these programs.
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
        run(stage, cargo.current_dir(app("rust")));
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
    let small = Way::connects("lto, panic=abort", &[&program("small"), "connect", "PORT"]);
    ways.push(small.own("open_ledger", SOURCE).without_lines());
    ways.push(Way::connects("strip", &[&program("stripped"), "connect", "PORT"]).or(&["stripped"]));
    (Group::new("Rust", &[("rustc", &["rustc", "--version"])]), ways)
}

fn go(stage: &Stage) -> (Group, Vec<Way>) {
    let builds: [(&str, &[&str]); 4] = [
        ("go", &[]),
        ("go-stripped", &["-ldflags", "-s -w"]),
        ("go-trimmed", &["-trimpath"]),
        ("go-pie", &["-buildmode=pie", "-ldflags", "-s -w"]),
    ];
    let build = |folder: &str, name: &str, options: &[&str]| {
        let mut compiler = Command::new("go");
        compiler.args(["build", "-o", &built(name)]).args(options).arg(".").current_dir(app(folder));
        // No version control, no network.
        compiler.env("GOFLAGS", "-buildvcs=false").env("GOPROXY", "off");
        run(stage, &mut compiler);
    };
    for (name, options) in builds {
        build("go", name, options);
    }
    build("go-cgo", "go-cgo", &[]);
    let usual = built("go");
    let connecting = [
        ("net.Dial", "dial", "main.openLedger"),
        ("net.DialTimeout", "timeout", "main.openInTime"),
        ("DialContext", "context", "main.openWithContext"),
        ("goroutine", "goroutine", "main.openLedger"),
        ("closure", "closure", "main.main.func1"),
        ("method", "method", "main.(*till).open"),
        ("generic function", "generic", "main.openAny"),
        ("deferred function after panic", "defer", "main.openAtTheEnd"),
        ("pool of a vendored package", "vendored", "main.takeFromPool"),
        ("database/sql", "sql", "main.ledgerDriver.Open"),
    ];
    let mut ways: Vec<Way> = connecting
        .map(|(name, way, function)| Way::connects(name, &[&usual, way, "PORT"]).own(function, "go/main.go"))
        .into();
    for (name, title) in
        [("go-stripped", "-ldflags '-s -w'"), ("go-trimmed", "-trimpath"), ("go-pie", "PIE, -s -w")]
    {
        let way = Way::connects(title, &[&built(name), "dial", "PORT"]);
        ways.push(way.own("main.openLedger", "go/main.go"));
    }
    ways.push(Way::accepts("accept loop", &[&usual, "accept", "PORT"], "").own("main.serve", "go/main.go"));
    let server = Way::accepts("http.ListenAndServe", &[&usual, "http-server", "PORT"], REQUEST);
    ways.push(server.own("main.serveHTTP", "go/main.go"));
    // On a goroutine of the library's own.
    let client = Way::asks("http.Get", &[&usual, "http-client", "PORT"], Peer::ENDLESS);
    ways.push(client.or(&["library_thread"]));
    let dialer = Way::asks("http.Transport with DialContext", &[&usual, "own-dialer", "PORT"], Peer::ENDLESS);
    ways.push(dialer.own("main.fetchByOwnDialer", "go/main.go"));
    let background =
        Way::connects("pool that dials in the background", &[&usual, "vendored-background", "PORT"]);
    ways.push(background.or(&["library_thread"]));
    let cgo = built("go-cgo");
    ways.push(Way::connects("cgo: C connects", &[&cgo, "c", "PORT"]).own("open_in_c", "go-cgo/main.go"));
    ways.push(Way::connects("cgo: Go connects", &[&cgo, "go", "PORT"]).own("main.main", "go-cgo/main.go"));
    let reader = Way::connects("io.Copy of the end", &[&usual, "read", "PORT"]);
    ways.push(reader.reader("main.readAll", "go/main.go"));
    (Group::new("Go", &[("go", &["go", "version"])]), ways)
}

/// A request of HTTP, which nobody answers.
pub(crate) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: way\r\n\r\n";
