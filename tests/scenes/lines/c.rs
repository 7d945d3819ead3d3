//! C and C++, built as people build them: optimised, without frame pointers.

use std::fs;

use super::build::{built, compile};
use super::peer::Peer;
use super::way::{Group, Way};
use crate::support::stage::Stage;

pub(crate) fn c(stage: &Stage) -> (Group, Vec<Way>) {
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
    let mut ways = of_other_libraries(stage);
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
        ("call that became a jump", "jump", "open_by_jump"),
        ("two calls that became jumps", "jumps", "open_by_jump"),
        ("syscall()", "raw", "open_raw"),
        ("makecontext", "coroutine", "open_ledger"),
    ];
    for (name, way, function) in connecting {
        ways.push(Way::connects(name, &[&usual, way, "PORT"]).own(function, "ledger.c"));
    }
    for (name, way) in [("call that became a jump", "jump"), ("two calls that became jumps", "jumps")] {
        let way = Way::connects(format!("{name}, static"), &[&program("-O2 -g -static"), way, "PORT"]);
        ways.push(way.own("open_by_jump", "ledger.c"));
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

/// Of another C library, for 32 bits, and in a container.
fn of_other_libraries(stage: &Stage) -> Vec<Way> {
    const SOURCE: &str = "ledger.c";
    let [musl, shared, narrow] = ["musl-static", "musl", "c32"].map(built);
    compile(stage, &["musl-gcc", "-O2", "-static", "-o", &musl, SOURCE]);
    compile(stage, &["musl-gcc", "-O2", "-g", "-o", &shared, SOURCE]);
    compile(stage, &["gcc", "-m32", "-O2", "-g", "-o", &narrow, SOURCE]);
    let mut ways = Vec::new();
    for (name, way, function) in
        [("retry", "retry", "open_ledger"), ("callback of qsort", "callback", "compare")]
    {
        let way_of =
            |title, program: &str| Way::connects(format!("{title}, {name}"), &[program, way, "PORT"]);
        ways.push(way_of("musl, static", &musl).own(function, SOURCE).without_lines());
        ways.push(way_of("musl", &shared).own(function, SOURCE));
        ways.push(way_of("-m32", &narrow).own(function, SOURCE));
    }
    ways.push(Way::accepts("musl, accept", &[&shared, "serve", "PORT"], "").own("serve", SOURCE));
    ways.push(Way::accepts("-m32, accept", &[&narrow, "serve", "PORT"], "").or(&["accept32_bit"]));
    // As a container runs it: below another root, as the first process.
    let root = built("root");
    fs::create_dir_all(&root).expect("a folder beside the tool");
    let inside = format!("{root}/ledger");
    compile(stage, &["gcc", "-O2", "-g", "-static", "-o", &inside, SOURCE]);
    let contained = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", &root, "/ledger"];
    let connect = Way::connects("in a container", &[&contained[..], &["retry", "PORT"]].concat());
    ways.push(connect.own("open_ledger", SOURCE));
    let loops = built("loops");
    let libraries = "$(pkg-config --cflags --libs gio-2.0 libuv libevent)";
    compile(stage, &["sh", "-c", &format!("gcc -O2 -g -o {loops} loops.c {libraries}")]);
    for (name, way, function) in [
        ("libuv", "uv", "connect_uv"),
        ("libevent", "event", "connect_event"),
        ("GIO", "glib", "connect_glib"),
    ] {
        ways.push(Way::connects(name, &[&loops, way, "PORT"]).own(function, "loops.c"));
    }
    // Without line tables, names are all that tells whose code was linked in.
    let linked = built("loops-linked");
    let libraries = "$(pkg-config --cflags --libs gio-2.0 libuv libevent | sed s/-luv/-l:libuv_a.a/)";
    compile(stage, &["sh", "-c", &format!("gcc -O2 -o {linked} loops.c {libraries}")]);
    let way = Way::connects("libuv, linked in, without -g", &[&linked, "uv", "PORT"]);
    ways.push(way.own("connect_uv", "loops.c").without_lines());
    for (name, way, function) in
        [("libuv accept", "uv-accept", "serve_uv"), ("libevent accept", "event-accept", "serve_event")]
    {
        ways.push(Way::accepts(name, &[&loops, way, "PORT"], "").own(function, "loops.c"));
    }
    ways
}

pub(crate) fn cpp(stage: &Stage) -> (Group, Vec<Way>) {
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
    // It is inlined in what runs the thread, whose name has its own.
    let thread = Way::connects("lambda in std::thread, without -g", &[&plain, "thread", "PORT"]);
    ways.push(thread.own("operator()", "ledger.cpp").called("{lambda").without_lines());
    // Of headers alone: what it inlines lies in /usr/include.
    let asio = built("asio");
    compile(stage, &["g++", "-std=c++20", "-O2", "-g", "-pthread", "-o", &asio, "asio.cpp"]);
    for (name, way, function) in
        [("asio", "connect", "shop::open_ledger"), ("asio, asynchronous", "later", "shop::open_later")]
    {
        ways.push(Way::connects(name, &[&asio, way, "PORT"]).own(function, "asio.cpp"));
    }
    ways.push(Way::accepts("asio accept", &[&asio, "accept", "PORT"], "").own("shop::serve", "asio.cpp"));
    (Group::new("C++", &[("g++", &["g++", "--version"])]), ways)
}
