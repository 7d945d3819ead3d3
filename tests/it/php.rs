//! Lines of code of PHP, whose frames are read at the call: of functions, of methods, of forked workers, and of the
//! application below what Composer installed. `cargo xtask test --real` has more ways.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::support::compare::Comparison;
use crate::support::process::Process;
use crate::support::shop::{Shop, of_listener, opener};
use crate::support::tracer::Tracer;
use crate::support::{free_port, until};

live_tests! {
    the_line_of_php_that_opened_a_socket_is_the_applications_own,
    the_line_of_php_that_accepted_a_socket_is_the_applications_own,
    what_php_accepted_before_any_line_ran_has_none,
}

const PHP: &str = "/usr/bin/php";

/// What opens a socket: the way, the function, and the one that it called.
const WAYS: [(&str, &str, &str); 8] = [
    ("method", "Shop\\Ledger::open", "stream_socket_client"),
    ("static", "Shop\\Ledger::dial", "fsockopen"),
    // PHP 8.4 says more of a closure.
    ("closure", "{closure", "stream_socket_client"),
    ("callback", "Shop\\charge", "stream_socket_client"),
    ("main", "{main}", "stream_socket_client"),
    ("included", "{main}", "stream_socket_client"),
    ("library", "refund", "Acme\\Client::connect"),
    ("forked", "Shop\\fork", "stream_socket_client"),
];

/// The comments name the ways.
const SHOP: &str = r#"<?php
namespace Shop;

require __DIR__ . '/vendor/autoload.php';
[, $way, $port] = $argv;
$kept = [];

class Ledger
{
    public function open(int $port)
    {
        return stream_socket_client("tcp://127.0.0.1:$port"); // opened here: method
    }

    public static function dial(int $port)
    {
        return fsockopen('127.0.0.1', $port); // opened here: static
    }
}

function nested(int $port)
{
    return (new Ledger())->open($port);
}

function charge(int $port)
{
    return
        stream_socket_client("tcp://127.0.0.1:$port"); // opened here: callback
}

function fork(int $port)
{
    if (pcntl_fork() === 0) {
        return stream_socket_client("tcp://127.0.0.1:$port"); // opened here: forked
    }
}

$closure = function (int $port) {
    return stream_socket_client("tcp://127.0.0.1:$port"); // opened here: closure
};

switch ($way) {
    case 'method': $kept[] = nested($port); break;
    case 'static': $kept[] = Ledger::dial($port); break;
    case 'closure': $kept[] = $closure($port); break;
    case 'callback': $kept[] = array_map('Shop\charge', [$port]); break;
    case 'main':
        $kept[] = stream_socket_client("tcp://127.0.0.1:$port"); // opened here: main
        break;
    case 'forked': $kept[] = fork($port); break;
    default: require __DIR__ . "/$way.php";
}
fread(STDIN, 1);
"#;

/// Code outside of functions, which is gone when the file has been run.
const INCLUDED: &str = r#"<?php
$kept[] = stream_socket_client("tcp://127.0.0.1:$port"); // opened here: included
"#;

const REFUND: &str = r"<?php
function refund(int $port)
{
    return (new Acme\Client())->connect($port); // opened here: library
}

$kept[] = refund($port);
";

const SERVE: &str = r#"<?php
function serve($listener)
{
    return stream_socket_accept($listener, 60); // opened here: accept
}

$listener = stream_socket_server("tcp://127.0.0.1:$port");
echo "listening\n";
$kept[] = serve($listener);
"#;

const LIBRARY: &str = r#"<?php
namespace Acme;

class Client
{
    public function connect(int $port)
    {
        return $this->dial($port);
    }

    private function dial(int $port)
    {
        return stream_socket_client("tcp://127.0.0.1:$port");
    }
}
"#;

const AUTOLOAD: &str = r"<?php
spl_autoload_register(function (string $class) {
    if ($class === 'Acme\Client') {
        require __DIR__ . '/acme/client/src/Client.php';
    }
});
";

/// The files of the shop, with its library where Composer would have installed it.
const FILES: [(&str, &str); 7] = [
    ("shop.php", SHOP),
    ("included.php", INCLUDED),
    ("library.php", REFUND),
    ("accept.php", SERVE),
    ("vendor/autoload.php", AUTOLOAD),
    ("vendor/composer/installed.json", "{}"),
    ("vendor/acme/client/src/Client.php", LIBRARY),
];

fn the_line_of_php_that_opened_a_socket_is_the_applications_own() {
    let shop = Shop::new(PHP, &FILES);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
    let mut comparison = Comparison::of("the lines of PHP");
    for (way, function, called) in WAYS {
        let (_process, _output) = shop.start(way, &port);
        let (accepted, peer) = listener.accept().unwrap();
        drop(accepted);
        let opened = opener(&tracer, way, "lport", peer.port());
        let is_site = opened["site"]
            .as_str()
            .is_some_and(|told| told.contains(function) && told.ends_with(&shop.place(way)));
        comparison.holds(is_site, || format!("{way}: {opened:#}"));
        let has = |list: &Value, begin: &str| {
            list.as_array().is_some_and(|list| {
                list.iter().filter_map(Value::as_str).any(|entry| entry.starts_with(begin))
            })
        };
        comparison.holds(has(&opened["stack"], called), || format!("{way}: no {called} in {opened:#}"));
        let is_whole = has(&opened["stack"], "{main} (shop.php:");
        comparison.holds(is_whole, || format!("{way}: where it began is not in {opened:#}"));
        let found_by = &opened["found_by"];
        let is_by_php = found_by["name"] == "php" && has(&found_by["callers"], "php");
        comparison.holds(is_by_php, || format!("{way}: found by {found_by}"));
    }
    tracer.stop().summary();
    comparison.finish(&[]);
}

fn the_line_of_php_that_accepted_a_socket_is_the_applications_own() {
    Shop::new(PHP, &FILES).is_told_by_the_line_that_accepts();
}

fn what_php_accepted_before_any_line_ran_has_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("slow.php"), "<?php sleep(60);\n").unwrap();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let tracer = of_listener(port);
    let (_process, _output) =
        Process::start(Command::new(PHP).args(["-S", &address, "-t"]).arg(folder.path()));
    until("the server listens", || TcpStream::connect(&address).is_ok());
    let mut client = TcpStream::connect(&address).unwrap();
    client.write_all(b"GET /slow.php HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    let peer = client.local_addr().unwrap().port();
    drop(client);
    let opened = opener(&tracer, "php -S", "rport", peer);
    assert!(opened["site"].is_null(), "{opened:#}");
    assert_eq!(opened["no_site"]["because"], "interpreted_php", "{opened:#}");
    tracer.stop().summary();
}
