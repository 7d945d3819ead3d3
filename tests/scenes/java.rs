//! Java: the line of code that opened a socket, of a program that was started without any option, and of compiled code.

use std::process::Command;

use rustix::process::Signal;

use crate::support::board::Row;
use crate::support::stage::{Stage, app};
use crate::support::truth::Side;
use crate::support::{connect, free_port, processes, tool, until_listens};

scenes! {
    java_accepts_on_a_pool,
    java_connects_in_compiled_code,
}

fn java_accepts_on_a_pool() {
    let (stage, port) = (Stage::new(), free_port());
    let mut command = Command::new("java");
    stage.start("java", command.arg(app("Leak.java")).args(["serve", &port.to_string()]));
    stage.until_says("java", "ready");
    judge(
        "java, accepts on a pool of threads",
        Side::At(port),
        "Leak.lambda$serve$0",
        "accepted here",
        || {
            drop(connect(port));
        },
    );
}

fn java_connects_in_compiled_code() {
    let stage = Stage::new();
    let [port, trigger] = [(); 2].map(|()| free_port());
    let backend = stage.python("backend", &[&port.to_string()]);
    until_listens(port);
    let mut command = Command::new("java");
    command.args(["-Xcomp", "-XX:CompileCommand=quiet", "-XX:CompileCommand=compileonly,Leak.*"]);
    command.args([
        "-XX:CompileCommand=compileonly,java.net.*::*",
        "-XX:CompileCommand=compileonly,sun.nio.ch.*::*",
    ]);
    command.arg(app("Leak.java")).args(["connect", &port.to_string(), &trigger.to_string()]);
    stage.start("java", &mut command);
    stage.until_says("java", "ready");
    judge("java, connects in compiled code", Side::To(port), "Leak.refund", "connected here", || {
        drop(connect(trigger));
        stage.until_says("java", "connected");
        processes::send(backend, Signal::TERM);
    });
}

/// The line has to be that of the source that says `words`, in this function.
fn judge(scene: &'static str, side: Side, function: &str, words: &str, provoke: impl FnOnce()) {
    let source = std::fs::read_to_string(app("Leak.java")).expect("the program");
    let line = source.lines().position(|line| line.ends_with(&format!("// {words}"))).expect("the line") + 1;
    let expected = format!("{function} (Leak.java:{line})");
    let (leaks, _) = tool::leaks_of(side, 1, provoke);
    let site = leaks.first().and_then(|leak| leak["opened_by"]["site"].as_str().map(str::to_owned));
    let mut row = Row::of(scene);
    let is_right = site.as_deref() == Some(expected.as_str());
    let judged = if is_right { Ok(()) } else { Err(format!("{expected} is expected: {leaks:?}")) };
    row.cell("leaks", judged);
    row.finish().unwrap();
}
