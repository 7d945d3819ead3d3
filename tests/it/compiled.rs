//! Lines of code of programs as a C compiler makes them by default: optimised, without frame pointers, without line
//! tables, or stripped. `cargo xtask test --real` has many more.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};

use serde_json::Value;

use crate::support::compare::Comparison;
use crate::support::process::Process;
use crate::support::tracer::Tracer;

live_tests! {
    the_function_that_connects_is_named_whatever_the_compiler_leaves_out,
    callers_are_found_beyond_pages_of_the_stack_that_were_never_written_to,
    callers_are_found_in_code_without_unwind_information,
    a_process_that_has_ended_has_a_line,
    files_are_known_when_a_process_that_had_them_too_has_ended,
    a_library_that_has_taken_the_place_of_another_is_not_named_for_it,
}

/// Options of the compiler, the way, and what has to be said: the function, whether its line is known; without a function
/// the program is stripped.
const WAYS: [(&[&str], &str, Option<&str>, bool); 7] = [
    (&["-O2"], "retry", Some("open_ledger"), false),
    (&["-O2"], "deep", Some("open_ledger"), false),
    (&["-O2"], "callback", Some("compare"), false),
    (&["-O2", "-g"], "signal", Some("open_ledger"), true),
    (&["-O2", "-g"], "buffer", Some("open_with_buffer"), true),
    (&["-O2", "-g"], "jump", Some("open_by_jump"), true),
    (&["-O2", "-s"], "retry", None, false),
];

fn the_function_that_connects_is_named_whatever_the_compiler_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let programs: Vec<PathBuf> = WAYS.iter().map(|(options, ..)| compile(folder.path(), options)).collect();
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
    let mut comparison = Comparison::of("the lines of compiled programs");
    for ((_, way, function, has_line), program) in WAYS.iter().zip(&programs) {
        let (process, _output) = start(program, way, &port);
        drop(listener.accept().unwrap());
        let pid = Value::from(process.pid());
        let is_it = |record: &Value| record["type"] == "leak" && record["owners"][0]["pid"] == pid;
        let opened = &tracer.wait_for(way, is_it)["opened_by"];
        let what = || format!("{way} of {}: {opened:#}", program.display());
        match function {
            Some(function) => {
                let name = program.file_name().unwrap().to_string_lossy();
                let place = if *has_line { mark(function) } else { name.into_owned() };
                comparison.holds(opened["site"] == format!("{function} ({place})"), what);
            }
            None => comparison.holds(opened["no_site"]["because"] == "stripped", what),
        }
    }
    tracer.stop().summary();
    comparison.finish(&[]);
}

fn callers_are_found_beyond_pages_of_the_stack_that_were_never_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let program = compile(folder.path(), &["-O2", "-g"]);
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
    let (_process, _output) = start(&program, "array", &port);
    drop(listener.accept().unwrap());
    let leak = tracer.wait_for("its leak", |record| record["type"] == "leak");
    let frames = leak["opened_by"]["stack"].as_array().cloned().unwrap_or_default();
    let mut rest = frames.iter().filter_map(Value::as_str);
    for function in ["open_ledger", "retry", "open_below_array", "above_array", "start_thread"] {
        assert!(
            rest.any(|frame| frame.starts_with(function)),
            "{function} is not in its place in {frames:#?}"
        );
    }
}

#[cfg(target_arch = "x86_64")]
const WITHOUT_TABLES: &[&str] = &["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];
/// What GCC makes for arm64 keeps frame pointers.
#[cfg(not(target_arch = "x86_64"))]
const WITHOUT_TABLES: &[&str] = &["-O2"];

fn callers_are_found_in_code_without_unwind_information() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let program = compile(folder.path(), WITHOUT_TABLES);
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
    let (_process, _output) = start(&program, "array", &port);
    drop(listener.accept().unwrap());
    let leak = tracer.wait_for("its leak", |record| record["type"] == "leak");
    let frames = leak["opened_by"]["stack"].as_array().cloned().unwrap_or_default();
    let functions = frames.iter().filter_map(Value::as_str).filter_map(|frame| frame.split(' ').next());
    let expected = ["open_ledger", "retry", "open_below_array", "above_array"];
    let own: Vec<&str> = functions.filter(|function| expected.contains(function)).collect();
    assert_eq!(own, expected, "{frames:#?}");
    assert!(leak["opened_by"]["site"].as_str().unwrap().starts_with("open_ledger "));
    let found = &leak["opened_by"]["found_by"];
    assert_eq!((&found["callers"][0], &found["name"]), (&"unwind_information".into(), &"symbols".into()));
}

/// Opens a connection that a child of it keeps, and ends.
const IN_RUST: &str = r#"
#[inline(never)]
fn open_ledger(port: u16) -> std::net::TcpStream {
    std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).unwrap()
}

fn main() {
    use std::os::fd::OwnedFd;
    let port = std::env::args().nth(2).unwrap().parse().unwrap();
    let kept: OwnedFd = open_ledger(port).into();
    std::process::Command::new("sleep").arg("60").stdin(kept).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
}
"#;

fn a_process_that_has_ended_has_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("brief.rs");
    std::fs::write(&source, IN_RUST).unwrap();
    let rust = folder.path().join("brief");
    let mut compiler = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"));
    let output = compiler.args(["-O", "-o"]).args([&rust, &source]).output().expect("a Rust compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let programs = [
        (compile(folder.path(), &["-O2", "-g"]), format!("open_ledger ({})", mark("open_ledger"))),
        (rust, "brief::open_ledger (brief)".to_owned()),
    ];
    for (program, expected) in programs {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
        let (process, _output) = start(&program, "brief", &port);
        drop(listener.accept().unwrap());
        let leak = tracer.wait_for("its leak", |record| record["type"] == "leak");
        assert_eq!(leak["opened_by"]["pid"], process.pid());
        assert_ne!(leak["owners"][0]["pid"], process.pid(), "a child keeps it");
        assert_eq!(leak["opened_by"]["site"], expected, "{leak:#}");
        let child = leak["owners"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let child = child.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    }
}

/// Opens a connection; `brief` leaves it to a child and ends.
const IN_PERL: &str = r#"
use Socket;
$| = 1;
my ($way, $port) = @ARGV;
socket(my $peer, PF_INET, SOCK_STREAM, 0) or die $!;
connect($peer, sockaddr_in($port, INADDR_LOOPBACK)) or die $!;
if ($way eq "brief" && fork) { sleep 1; exit }
print "ready\n";
sleep 60;
"#;

fn files_are_known_when_a_process_that_had_them_too_has_ended() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "2s", "--rport", &port]);
    for way in ["brief", "stays"] {
        let (process, _output) = Process::start(Command::new("perl").args(["-e", IN_PERL, way, &port]));
        drop(listener.accept().unwrap());
        let pid = process.pid();
        let leak =
            tracer.wait_for(way, |record| record["type"] == "leak" && record["opened_by"]["pid"] == pid);
        assert_eq!(leak["opened_by"]["no_site"]["because"], "interpreted_perl", "{way}: {leak:#}");
        let holder = leak["owners"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let holder = holder.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(holder, rustix::process::Signal::KILL).unwrap();
    }
}

/// Opens a connection by a library that it closes then, to load another one in its place.
const WITH_PLUGINS: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    void *plugin = dlopen(arguments[1], RTLD_NOW);
    int (*open_by)(int) = dlsym(plugin, "open_by_plugin");
    int failed = open_by(atoi(arguments[2]));
    usleep(300000);
    dlclose(plugin);
    if (count > 3) dlopen(arguments[3], RTLD_NOW);
    puts("ready");
    fflush(stdout);
    pause();
    return failed;
}
"#;
const PLUGIN: &str = r"
#include <arpa/inet.h>
#include <sys/socket.h>

int open_by_plugin(int port) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int failed = connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&peer, sizeof peer);
    return failed + 1;
}
";

fn a_library_that_has_taken_the_place_of_another_is_not_named_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let compile = |name: &str, source: &str, options: &[&str]| {
        let (file, made) = (folder.path().join(format!("{name}.c")), folder.path().join(name));
        std::fs::write(&file, source).unwrap();
        let output =
            Command::new("cc").args(options).arg("-o").args([&made, &file]).arg("-ldl").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made.to_string_lossy().into_owned()
    };
    let program = compile("shop", WITH_PLUGINS, &["-O2"]);
    let plugin = compile("plugin.so", PLUGIN, &["-O2", "-shared", "-fPIC"]);
    let innocent = PLUGIN.replace("open_by_plugin", "innocent");
    let innocent = compile("innocent.so", &innocent, &["-O2", "-shared", "-fPIC"]);
    for plugins in [&[][..], &[innocent]] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let tracer = Tracer::start_plain(&["leaks", "--older-than", "1s", "--rport", &port]);
        let (_process, _output) = Process::start(Command::new(&program).args([&plugin, &port]).args(plugins));
        drop(listener.accept().unwrap());
        let leak = tracer.wait_for("its leak", |record| record["type"] == "leak");
        assert_eq!(leak["opened_by"]["site"], "open_by_plugin (plugin.so)", "{leak:#}");
    }
}

fn start(program: &Path, way: &str, port: &str) -> (Process, ChildStdout) {
    Process::start(Command::new(program).args([way, port]))
}

/// The program that leaks in C.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenes/lines/apps/ledger.c")
}

/// Compiles it; Rust needs a C compiler too.
fn compile(folder: &Path, options: &[&str]) -> PathBuf {
    let program = folder.join(format!("ledger{}", options.concat()));
    if !program.exists() {
        let mut compiler = Command::new("cc");
        compiler.args(options).arg("-o").arg(&program).arg(source()).args(["-lpthread", "-ldl"]);
        let output = compiler.output().expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    program
}

/// `ledger.c:32`, where the source marks this function.
fn mark(function: &str) -> String {
    let text = std::fs::read_to_string(source()).unwrap();
    let end = format!("// opened here: {function}");
    let line = text.lines().position(|line| line.ends_with(&end)).expect("a marked line");
    format!("ledger.c:{}", line + 1)
}
