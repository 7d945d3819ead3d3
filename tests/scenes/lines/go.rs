//! Go: the standard library, a vendored module and cgo, with symbols and without.

use std::process::Command;

use super::build::{app, built, compile, run};
use super::peer::{Peer, REQUEST};
use super::way::{Group, Way};
use crate::support::stage::Stage;

pub(crate) fn go(stage: &Stage) -> (Group, Vec<Way>) {
    let builds: [(&str, &[&str]); 4] = [
        ("go", &[]),
        ("go-stripped", &["-ldflags", "-s -w"]),
        ("go-trimmed", &["-trimpath"]),
        ("go-pie", &["-buildmode=pie", "-ldflags", "-s -w"]),
    ];
    let build = |folder: &str, name: &str, options: &[&str], cgo: &str| {
        let mut compiler = Command::new("go");
        compiler.args(["build", "-o", &built(name)]).args(options).arg(".").current_dir(app(folder));
        // No version control, no network.
        compiler.env("GOFLAGS", "-buildvcs=false").env("GOPROXY", "off").env("CGO_ENABLED", cgo);
        run(stage, &mut compiler);
    };
    for (name, options) in builds {
        // As images are built, which have no C library.
        build("go", name, options, if name == "go-stripped" { "0" } else { "1" });
    }
    build("go-cgo", "go-cgo", &[], "1");
    let without_modules = without_modules(stage);
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
    let way = Way::connects("pool of a package, without modules", &[&without_modules, "vendored", "PORT"]);
    ways.push(way.own("main.takeFromPool", "go/main.go"));
    let cgo = built("go-cgo");
    ways.push(Way::connects("cgo: C connects", &[&cgo, "c", "PORT"]).own("open_in_c", "go-cgo/main.go"));
    ways.push(Way::connects("cgo: Go connects", &[&cgo, "go", "PORT"]).own("main.main", "go-cgo/main.go"));
    let reader = Way::connects("io.Copy of the end", &[&usual, "read", "PORT"]);
    ways.push(reader.reader("main.readAll", "go/main.go"));
    let inside = built("root/go");
    std::fs::create_dir_all(built("root")).expect("a folder beside the tool");
    compile(stage, &["cp", &built("go-stripped"), &inside]);
    let root = built("root");
    let contained = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", &root, "/go"];
    let contained = Way::connects("-s -w, in a container", &[&contained[..], &["dial", "PORT"]].concat());
    ways.push(contained.own("main.openLedger", "go/main.go"));
    (Group::new("Go", &[("go", &["go", "version"])]), ways)
}

/// The same program as distributions build: all packages lie in one folder.
fn without_modules(stage: &Stage) -> String {
    let (path, program) = (built("gopath"), built("go-without-modules"));
    let commands = format!(
        "mkdir -p {path}/src/example.com/ledger && cp go/main.go {path}/src/example.com/ledger && \
         cp -r go/vendor/example.com/pool {path}/src/example.com"
    );
    compile(stage, &["sh", "-c", &commands]);
    let mut compiler = Command::new("go");
    compiler.args(["build", "-o", &program, "example.com/ledger"]);
    compiler.env("GO111MODULE", "off").env("GOPATH", &path).env("GOFLAGS", "");
    run(stage, &mut compiler);
    program
}
