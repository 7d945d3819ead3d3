//! What a terminal of 80 × 24 shows, line by line.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::leaky::Leaky;
use crate::support::terminal::SlowTerminal;
use crate::support::time_waits::with_ports;
use crate::support::{TCPTRACE, golden};

live_tests! {
    one_look_ends_with_the_answer,
    each_page_of_a_watch_fits_the_window_and_the_last_has_it_all,
}

/// Fast enough to hold up nobody, in bytes a second.
const FAST: usize = 1 << 20;

/// What is shown until the command has ended, without colours.
fn shown(command: &mut Command) -> String {
    let mut terminal = SlowTerminal::start(command);
    let first = terminal.read_slowly(FAST, Duration::from_secs(30), "no text has this");
    assert_eq!(terminal.code_within(Duration::from_secs(5)), Some(0), "{first}");
    plain(&(first + &terminal.rest()))
}

/// What was shown, without colours.
fn plain(shown: &str) -> String {
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

fn each_page_of_a_watch_fits_the_window_and_the_last_has_it_all() {
    const SERVICES: u16 = 30;
    const ROWS: usize = 20;
    // One destination takes nearly all ports, which is worth advice; the others have too many to look like clients.
    let netns = with_ports(20);
    let _inhabitant = netns.inhabitant();
    netns.within(|| {
        for port in 8000..8000 + SERVICES {
            let service = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
            for _ in 0..if port == 8000 { 19 } else { 2 } {
                let client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
                drop(client);
                drop(service.accept().expect("the connection"));
            }
        }
    });
    let inode = netns.inode().to_string();
    let mut command = Command::new(TCPTRACE);
    let mut terminal = SlowTerminal::start(command.args(["time-wait", "--watch", "--netns", &inode]));
    let first = terminal.read_slowly(FAST, Duration::from_secs(30), "destinations with");
    terminal.signal(Signal::INT);
    let last = terminal.read_slowly(FAST, Duration::from_secs(30), "no text has this");
    assert_eq!(terminal.code_within(Duration::from_secs(5)), Some(0), "{first}{last}");
    let all = first + &last + &terminal.rest();
    let pages: Vec<String> = all.split("\u{1b}[H\u{1b}[J").skip(1).map(plain).collect();
    let rows = |page: &str| page.matches("127.0.0.1  127.0.0.1:80").count();
    let (last, others) = pages.split_last().expect("a page");
    assert!(!others.is_empty(), "{all}");
    let below = last.split_once("destinations with").expect("a sum of the other rows").1;
    let advice = below.lines().find(|line| line.starts_with("  ")).expect("advice below the rows");
    for page in others {
        let lines: usize = page.lines().map(|line| line.chars().count().div_ceil(80).max(1)).sum();
        assert!(lines < 24 && (1..ROWS).contains(&rows(page)), "{lines} lines:\n{page}");
        assert!(page.contains(advice), "no {advice:?} in\n{page}");
    }
    assert_eq!(rows(last), ROWS, "{last}");
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
