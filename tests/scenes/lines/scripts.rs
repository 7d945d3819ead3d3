//! Node.js, Ruby, PHP, Erlang, Perl, Lua, .NET and the shell: their code is interpreted or compiled at run time.

use super::build::{app, built, compile};
use super::peer::{Peer, REQUEST};
use super::way::{Group, Way};
use crate::support::stage::{PYTHON, Stage};

pub(crate) fn groups(stage: &Stage) -> Vec<(Group, Vec<Way>)> {
    vec![node(stage), ruby(), php(), erlang(), perl(), lua(), dotnet(stage), shell()]
}

fn script(name: &str) -> String {
    app(name).display().to_string()
}

fn node(stage: &Stage) -> (Group, Vec<Way>) {
    // Node connects and accepts from its event loop, after the function that asked for it has returned.
    let interpreted = ["interpreted_node", "library_thread"];
    let script = script("ledger.js");
    let mut ways: Vec<Way> = [
        ("net.connect", "connect"),
        ("after await", "promise"),
        ("setTimeout", "timer"),
        ("hot function", "hot"),
    ]
    .map(|(title, way)| Way::connects(title, &["node", &script, way, "PORT"]).or(&interpreted))
    .into();
    let mapped =
        ["node", "--perf-basic-prof", "--interpreted-frames-native-stack", &script, "connect", "PORT"];
    ways.push(Way::connects("with a perf map", &mapped).or(&interpreted));
    for (title, way) in [("net.createServer", "server"), ("http.createServer", "http-server")] {
        let way = Way::accepts(title, &["node", &script, way, "PORT"], REQUEST);
        ways.push(way.or(&interpreted));
    }
    // As people pack it into one file with their program.
    let renamed = built("ledger-node");
    compile(stage, &["sh", "-c", &format!("cp $(command -v node) {renamed}")]);
    ways.push(Way::connects("under another name", &[&renamed, &script, "connect", "PORT"]).or(&interpreted));
    let agent = Way::asks("http.Agent", &["node", &script, "agent", "PORT"], Peer::HTTP);
    ways.push(agent.or(&interpreted));
    (Group::new("Node.js", &[("node", &["node", "--version"])]), ways)
}

fn ruby() -> (Group, Vec<Way>) {
    const SOURCE: &str = "ledger.rb";
    let script = script(SOURCE);
    let ways = [
        ("TCPSocket", "connect", "open_ledger", Peer::CLOSES),
        ("thread", "thread", "open_ledger", Peer::CLOSES),
        ("fiber", "fiber", "open_ledger", Peer::CLOSES),
        ("Socket.tcp", "socket", "open_socket", Peer::CLOSES),
        ("block", "block", "block in open_each", Peer::CLOSES),
        ("class method", "class_method", "open", Peer::CLOSES),
        ("define_method", "define_method", "block in <class:Ledger>", Peer::CLOSES),
        ("fork", "fork", "block in open_forked", Peer::CLOSES),
        ("Net::HTTP", "http", "fetch", Peer::HTTP),
    ];
    let mut ways: Vec<Way> = ways
        .map(|(title, way, method, peer)| {
            let way = Way::asks(title, &["ruby", &script, way, "PORT"], peer);
            way.own(method, SOURCE).or(&["interpreted_ruby"])
        })
        .into();
    let compiled =
        Way::connects("YJIT", &["ruby", "--yjit", "--yjit-call-threshold=2", &script, "hot", "PORT"]);
    ways.push(compiled.own("open_hot", SOURCE).or(&["interpreted_ruby"]));
    let server = Way::accepts("TCPServer", &["ruby", &script, "accept", "PORT"], "");
    ways.push(server.own("block in serve", SOURCE).or(&["interpreted_ruby"]));
    (Group::new("Ruby", &[("ruby", &["ruby", "--version"])]), ways)
}

fn php() -> (Group, Vec<Way>) {
    const SOURCE: &str = "ledger.php";
    let script = script(SOURCE);
    let ways = [
        ("fsockopen", "fsockopen", "openLedger", Peer::CLOSES),
        ("stream_socket_client", "stream", "openStream", Peer::CLOSES),
        ("method", "method", "Ledger::open", Peer::CLOSES),
        ("generator", "generator", "opened", Peer::CLOSES),
        ("fiber", "fiber", "openStream", Peer::CLOSES),
        ("socket_connect", "sockets", "openSocket", Peer::CLOSES),
        ("curl", "curl", "fetch", Peer::HTTP),
    ];
    let mut ways: Vec<Way> = ways
        .map(|(title, way, function, peer)| {
            let way = Way::asks(title, &["php", &script, way, "PORT"], peer);
            way.own(function, SOURCE).or(&["interpreted_php"])
        })
        .into();
    let jit =
        ["php", "-d", "opcache.enable_cli=1", "-d", "opcache.jit_buffer_size=16M", &script, "hot", "PORT"];
    let jit = Way::connects("opcache, JIT", &jit).own("openHot", SOURCE);
    ways.push(jit.or(&["interpreted_php"]));
    let server = Way::accepts("stream_socket_accept", &["php", &script, "accept", "PORT"], "");
    ways.push(server.own("serve", SOURCE).or(&["interpreted_php"]));
    // The server itself accepts, before any script runs.
    let folder = app("").display().to_string();
    let own_server = ["php", "-S", "127.0.0.1:PORT", "-t", &folder];
    let own_server = Way::accepts("php -S", &own_server, "GET /ledger.php HTTP/1.1\r\nHost: way\r\n\r\n");
    ways.push(own_server.or(&["interpreted_php"]));
    (Group::new("PHP", &[("php", &["php", "--version"])]), ways)
}

fn erlang() -> (Group, Vec<Way>) {
    let script = script("ledger.erl");
    // A driver connects on a scheduler of the machine, not on the stack of the process that asked for it.
    let interpreted = ["interpreted_erlang"];
    let mut ways: Vec<Way> = [("gen_tcp:connect", "connect"), ("process", "process")]
        .map(|(title, way)| Way::connects(title, &["escript", &script, way, "PORT"]).or(&interpreted))
        .into();
    ways.push(Way::accepts("gen_tcp:accept", &["escript", &script, "accept", "PORT"], "").or(&interpreted));
    let version = "io:format(\"~s\", [erlang:system_info(otp_release)]), halt().";
    (Group::new("Erlang", &[("OTP", &["erl", "-noshell", "-eval", version])]), ways)
}

fn perl() -> (Group, Vec<Way>) {
    const SOURCE: &str = "ledger.pl";
    let script = script(SOURCE);
    let interpreted = ["interpreted_perl"];
    let connect = Way::connects("IO::Socket::INET", &["perl", &script, "connect", "PORT"]);
    let accept = Way::accepts("accept", &["perl", &script, "accept", "PORT"], "");
    let ways = vec![
        connect.own("open_ledger", SOURCE).or(&interpreted),
        accept.own("serve", SOURCE).or(&interpreted),
    ];
    (Group::new("Perl", &[("perl", &["perl", "-e", "print $^V"])]), ways)
}

fn lua() -> (Group, Vec<Way>) {
    const SOURCE: &str = "ledger.lua";
    let script = script(SOURCE);
    let interpreted = ["interpreted_lua"];
    let connect = Way::connects("socket.connect", &["lua5.4", &script, "connect", "PORT"]);
    let accept = Way::accepts("accept", &["lua5.4", &script, "accept", "PORT"], "");
    let ways = vec![
        connect.own("open_ledger", SOURCE).or(&interpreted),
        accept.own("serve", SOURCE).or(&interpreted),
    ];
    (Group::new("Lua", &[("lua", &["lua5.4", "-v"])]), ways)
}

/// Debian has Mono, and PyPI a runtime of Microsoft's, which runs what Mono's compiler made.
fn dotnet(stage: &Stage) -> (Group, Vec<Way>) {
    const SOURCE: &str = "Till.cs";
    let program = built("Till.exe");
    compile(stage, &["mcs", &format!("-out:{program}"), SOURCE]);
    let interpreted = ["interpreted_dotnet"];
    let connect = Way::connects("Mono, TcpClient", &["mono", &program, "connect", "PORT"]);
    let accept = Way::accepts("Mono, TcpListener", &["mono", &program, "accept", "PORT"], "");
    let mut ways = vec![
        connect.own("Till:Open", SOURCE).or(&interpreted),
        accept.own("Till:Serve", SOURCE).or(&interpreted),
    ];
    let core = core(stage);
    let mapped = ["DOTNET_PerfMapEnabled=1", "COMPlus_PerfMapEnabled=1"];
    for (title, options) in [("", &[][..]), (", with a perf map", &mapped)] {
        // It has no library for the languages of people.
        let run =
            [&["env", "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1"], options, &[&*core, &*program]].concat();
        let connect =
            Way::connects(format!("Core, TcpClient{title}"), &[&run[..], &["connect", "PORT"]].concat());
        ways.push(connect.own("Till:Open", SOURCE).called("Till::Open").without_lines().or(&interpreted));
        let accept = [&run[..], &["accept", "PORT"]].concat();
        let accept = Way::accepts(format!("Core, TcpListener{title}"), &accept, "");
        ways.push(accept.own("Till:Serve", SOURCE).called("Till::Serve").without_lines().or(&interpreted));
    }
    (Group::new(".NET", &[("mono", &["mono", "--version"]), (".NET Core", &["echo", CORE])]), ways)
}

/// The version of the runtime on PyPI.
const CORE: &str = "3.1.23";

/// Fetches the runtime, once, and returns its path.
fn core(stage: &Stage) -> String {
    let folder = built("dotnet");
    let core = format!("{folder}/dotnetcore2/bin/dotnet");
    if !std::path::Path::new(&core).exists() {
        let fetch = format!(
            "{PYTHON} -m pip download --quiet --no-deps --dest {folder} dotnetcore2=={CORE} && \
             {PYTHON} -m zipfile -e {folder}/dotnetcore2-*.whl {folder} && chmod +x {core}"
        );
        compile(stage, &["sh", "-c", &fetch]);
    }
    let framework = format!("{{\"name\":\"Microsoft.NETCore.App\",\"version\":\"{CORE}\"}}");
    let settings = format!("{{\"runtimeOptions\":{{\"framework\":{framework}}}}}");
    std::fs::write(built("Till.runtimeconfig.json"), settings).expect("a folder beside the tool");
    core
}

/// A shell that connects by itself: its own functions have names, and are not those of the script.
fn shell() -> (Group, Vec<Way>) {
    let script = script("ledger.sh");
    let way = Way::connects("/dev/tcp", &["bash", &script, "connect", "PORT"]).or(&["interpreted"]);
    (Group::new("Bash", &[("bash", &["bash", "--version"])]), vec![way])
}
