//! Java: of each JDK that is installed the same ways, interpreted and compiled.

use std::fs;

use super::build::{built, compile};
use super::peer::{Peer, REQUEST};
use super::way::{Group, Way};
use crate::support::stage::Stage;

const SOURCE: &str = "Ledger.java";

pub(crate) fn groups(stage: &Stage) -> Vec<(Group, Vec<Way>)> {
    let mut homes: Vec<String> = fs::read_dir("/usr/lib/jvm")
        .expect("a JDK: cargo xtask test --real installs one")
        .flatten()
        .filter(|home| home.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|home| home.path().display().to_string())
        .filter(|home| std::path::Path::new(home).join("bin/javac").exists())
        .collect();
    homes.sort();
    let (first, others) = homes.split_first().expect("a JDK: cargo xtask test --real installs one");
    let javas: Vec<String> = homes.iter().map(|home| format!("{home}/bin/java")).collect();
    let versions: Vec<[&str; 2]> = javas.iter().map(|java| [&**java, "--version"]).collect();
    let versions: Vec<_> = versions.iter().map(|command| ("OpenJDK", &command[..])).collect();
    let jdk = prepare(stage, first);
    let mut ways = all(&jdk);
    ways.extend(of_libraries(stage, &jdk));
    for home in others {
        ways.extend(some(&prepare(stage, home)));
    }
    vec![(Group::new("Java", &versions), ways)]
}

/// A JDK, with the classes that it compiled.
struct Jdk {
    home: String,
    classes: String,
}

impl Jdk {
    fn java<'a>(&'a self, java: &'a str, options: &[&'a str], way: &'a str) -> Vec<&'a str> {
        [&[java], options, &["-cp", &self.classes, "Ledger", way, "PORT"]].concat()
    }

    fn name(&self) -> &str {
        self.home.rsplit('/').next().unwrap_or_default()
    }
}

fn prepare(stage: &Stage, home: &str) -> Jdk {
    let name = home.rsplit('/').next().unwrap_or_default();
    let classes = built(&format!("classes-{name}"));
    compile(stage, &[&format!("{home}/bin/javac"), "-d", &classes, SOURCE]);
    Jdk { home: home.to_owned(), classes }
}

/// Without a name for an interpreted method, this is the truth.
const INTERPRETED: &[&str] = &["interpreted_java"];

fn connects(jdk: &Jdk, title: &str, options: &[&str], way: &str, method: &'static str, peer: Peer) -> Way {
    let java = format!("{}/bin/java", jdk.home);
    Way::asks(title, &jdk.java(&java, options, way), peer).own(method, SOURCE).or(INTERPRETED)
}

fn accepts(jdk: &Jdk, title: &str, way: &str, method: &'static str) -> Way {
    let java = format!("{}/bin/java", jdk.home);
    Way::accepts(title, &jdk.java(&java, &[], way), REQUEST).own(method, SOURCE).or(INTERPRETED)
}

fn all(jdk: &Jdk) -> Vec<Way> {
    let mut ways: Vec<Way> = [
        ("new Socket", "connect", "Ledger.openLedger"),
        ("Socket.connect", "later", "Ledger.openLater"),
        ("thread", "thread", "Ledger.openLedger"),
        ("executor", "executor", "Ledger.openLedger"),
        ("CompletableFuture", "future", "Ledger.openLedger"),
        ("lambda", "lambda", "lambda$main"),
        ("nested class", "inner", "Ledger$Till.open"),
        ("static initialiser", "initialiser", "Ledger$Early.<clinit>"),
        ("reflection", "reflection", "Ledger.openLater"),
        ("400 calls deep", "recursion", "Ledger.openLedger"),
        ("SocketChannel", "channel", "Ledger.openChannel"),
        ("hot method", "hot", "Ledger.openHot"),
    ]
    .map(|(title, way, method)| connects(jdk, title, &[], way, method, Peer::CLOSES))
    .into();
    let options: [(&str, &[&str], &str, &str); 4] = [
        ("-Xint", &["-Xint"], "connect", "Ledger.openLedger"),
        ("-Xcomp", &["-Xcomp"], "connect", "Ledger.openLedger"),
        ("-XX:+UseSerialGC, small stack", &["-XX:+UseSerialGC", "-Xss256k"], "thread", "Ledger.openLedger"),
        ("-XX:-TieredCompilation, hot", &["-XX:-TieredCompilation"], "hot", "Ledger.openHot"),
    ];
    for (title, options, way, method) in options {
        ways.push(connects(jdk, title, options, way, method, Peer::CLOSES));
    }
    let mapped = ["-XX:+PreserveFramePointer", "-Xcomp"];
    let mapped =
        connects(jdk, "-Xcomp with a perf map", &mapped, "connect", "Ledger.openLedger", Peer::CLOSES);
    ways.push(mapped.without_lines().afterwards(&["jcmd", "PID", "Compiler.perfmap"]));
    ways.push(connects(jdk, "HttpURLConnection", &[], "url", "Ledger.fetch", Peer::ENDLESS));
    let async_channel =
        connects(jdk, "AsynchronousSocketChannel", &[], "async", "Ledger.openAsync", Peer::CLOSES);
    ways.push(async_channel);
    ways.push(accepts(jdk, "ServerSocket, thread per connection", "accept", "Ledger.serve"));
    ways.push(accepts(jdk, "Selector", "select", "Ledger.select"));
    // It may connect on a worker of its own.
    let client = connects(jdk, "HttpClient", &[], "client", "Ledger.fetchByClient", Peer::ENDLESS);
    ways.push(client.or(&["library_thread"]));
    let java = format!("{}/bin/java", jdk.home);
    let reader = Way::connects("InputStream.read of the end", &jdk.java(&java, &[], "read"));
    ways.push(reader.reader("Ledger.readAll", SOURCE).or(INTERPRETED));
    ways
}

/// Libraries that most programs connect through. Their classes are not the application's, wherever their jars lie.
fn of_libraries(stage: &Stage, jdk: &Jdk) -> Vec<Way> {
    const SOURCE: &str = "Clients.java";
    const JARS: [&str; 11] = [
        "httpclient",
        "httpcore",
        "commons-logging",
        "okhttp",
        "okio",
        "postgresql",
        "netty-buffer",
        "netty-common",
        "netty-resolver",
        "netty-transport",
        "commons-pool2",
    ];
    // Copies beside the program, as it is shipped.
    let folder = built("jars");
    fs::create_dir_all(&folder).expect("a folder beside the tool");
    for jar in JARS {
        compile(stage, &["cp", "-L", &format!("/usr/share/java/{jar}.jar"), &folder]);
    }
    let path = format!("{}:{folder}/*", jdk.classes);
    compile(stage, &[&format!("{}/bin/javac", jdk.home), "-cp", &path, "-d", &jdk.classes, SOURCE]);
    let java = format!("{}/bin/java", jdk.home);
    let clients = [
        ("Apache HttpClient", "apache", "Clients.fetchByApache", Peer::ENDLESS),
        ("OkHttp", "okhttp", "Clients.fetchByOkHttp", Peer::ENDLESS),
        ("PostgreSQL JDBC", "jdbc", "Clients.dialDatabase", Peer::POSTGRESQL),
        ("commons-pool", "pool", "Clients$Factory.create", Peer::CLOSES),
    ];
    let mut ways: Vec<Way> = clients
        .map(|(title, way, method, peer)| {
            let way = Way::asks(title, &[&java, "-cp", &path, "Clients", way, "PORT"], peer);
            way.own(method, SOURCE).or(INTERPRETED)
        })
        .into();
    // It connects and accepts on its event loop.
    let threads = ["interpreted_java", "library_thread", "library"];
    ways.push(Way::connects("netty", &[&java, "-cp", &path, "Clients", "netty", "PORT"]).or(&threads));
    let server = ["-cp", &*path, "Clients", "netty-accept", "PORT"];
    ways.push(Way::accepts("netty, accept", &[&[&*java], &server[..]].concat(), "").or(&threads));
    ways
}

/// What may differ between versions.
fn some(jdk: &Jdk) -> Vec<Way> {
    let title = |what: &str| format!("{}: {what}", jdk.name());
    let mut ways: Vec<Way> = [
        ("new Socket", "connect", "Ledger.openLedger"),
        ("lambda", "lambda", "lambda$main"),
        ("SocketChannel", "channel", "Ledger.openChannel"),
        ("hot method", "hot", "Ledger.openHot"),
        ("virtual thread", "virtual", "Ledger.openLedger"),
    ]
    .map(|(what, way, method)| connects(jdk, &title(what), &[], way, method, Peer::CLOSES))
    .into();
    ways.push(accepts(jdk, &title("ServerSocket"), "accept", "Ledger.serve"));
    ways
}
