//! What a terminal of 80 × 24 shows, line by line.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::leaky::Leaky;
use crate::support::terminal::SlowTerminal;
use crate::support::{TCPTRACE, golden};

live_tests! {
    one_look_ends_with_the_answer,
}

/// Fast enough to hold up nobody, in bytes a second.
const FAST: usize = 1 << 20;

/// What is shown until the command has ended, without colours.
fn shown(command: &mut Command) -> String {
    let mut terminal = SlowTerminal::start(command);
    let first = terminal.read_slowly(FAST, Duration::from_secs(30), "no text has this");
    assert_eq!(terminal.code_within(Duration::from_secs(5)), Some(0), "{first}");
    let shown = first + &terminal.rest();
    let mut plain = String::new();
    let mut parts = shown.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once(|end: char| end.is_alphabetic()).unwrap_or_default().1);
    }
    plain.replace("\r\n", "\n")
}

fn one_look_ends_with_the_answer() {
    let leaky = Leaky::start("accepted_kept", &["--count", "60"]);
    let (port, pid) = (leaky.truths[0].lport.to_string(), leaky.truths[0].holders[0].pid);
    let text = shown(Command::new(TCPTRACE).args(["now", "--lport", &port]));
    assert!(text.lines().count() > 24, "more than the window holds:\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "a line is wider than the window:\n{text}");
    let window: Vec<&str> = text.lines().rev().take(5).collect();
    let last = window.into_iter().rev().map(str::trim).collect::<Vec<_>>().join(" ");
    for expected in [
        "60 sockets stuck in CLOSE_WAIT: ",
        &format!("({pid}) with 60, "),
        &format!("Next: `tcptrace leaks --pid {pid}`"),
    ] {
        assert!(last.contains(expected), "no {expected:?} at the end of\n{text}");
    }
}

#[test]
fn a_report_that_is_followed_takes_the_echo_of_ctrl_c_away() {
    let mut command = Command::new(TCPTRACE);
    let mut terminal = SlowTerminal::start(command.args(["report", "--follow"]).arg(golden("v1.tct")));
    let drawn = "\u{1b}[J\u{1b}[?7h";
    let text = terminal.read_slowly(FAST, Duration::from_secs(30), drawn);
    assert!(text.contains(drawn), "{text}");
    terminal.press_ctrl_c();
    let echoed = terminal.read_slowly(FAST, Duration::from_secs(30), "^C");
    assert!(echoed.contains("^C"), "{echoed}");
    terminal.signal(Signal::INT);
    assert_eq!(terminal.code_within(Duration::from_secs(5)), Some(0));
    let rest = terminal.rest();
    assert!(rest.ends_with(drawn), "it is not drawn over: {rest:?}");
}

#[test]
fn a_terminal_without_utf8_gets_ascii() {
    let replayed = |locale: &str| {
        let mut command = Command::new(TCPTRACE);
        shown(command.env("LC_ALL", locale).args(["trace", "--replay"]).arg(golden("v1.tct")))
    };
    let (latin, unicode) = (replayed("de_DE.ISO-8859-1"), replayed("C.UTF-8"));
    assert!(unicode.contains(" µs") && !unicode.is_ascii(), "{unicode}");
    assert!(latin.contains(" us") && latin.is_ascii(), "{latin}");
    assert_eq!(latin.lines().count(), unicode.lines().count());
}
