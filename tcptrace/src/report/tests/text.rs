//! The report for a terminal.

use super::*;
use crate::{
    model::{
        escape::Escaped,
        record::{Record, Totals},
    },
    output::replace::ReportDestination,
    report::text,
};

fn shown(records: &[Record], destination: &ReportDestination) -> String {
    let mut out = Vec::new();
    text::write(&mut out, &reported(everything(), records), &text::Layout::of(destination, false)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_answer_comes_first_and_what_cannot_be_claimed_last() {
    let mut records = vec![header("web-1", "tcptrace leaks")];
    records.extend((0..4).map(|n| leak(n, 30.0, exactly(10.0), vec![owner(71, "shop")])));
    records.push(summary(60.0, Totals { lost: 312, ..Totals::default() }));
    let text = shown(&records, &ReportDestination::Stdout);
    assert!(text.starts_with("shop (pid 71) holds all 4 stuck sockets\n"), "{text}");
    let order = [
        "web-1",
        "IN CLOSE_WAIT OVER TIME",
        "shop.service",
        "eof_read",
        "192.0.2.7 to port 8080",
        "312 records were lost",
    ];
    let places: Vec<usize> =
        order.map(|part| text.find(part).unwrap_or_else(|| panic!("{part} is not in\n{text}"))).to_vec();
    assert!(places.is_sorted(), "{places:?} in\n{text}");
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let name = "\u{1b}[2J\r\n\u{202e}x";
    let leak = leak_of(1, 30.0, exactly(10.0), vec![owner(71, name)], ends(40_000));
    let leak = crate::model::record::Leak { opened_by: Some(opened_at(name, 1.0)), ..leak };
    let records =
        [header(name, "tcptrace leaks"), Record::Leak(Box::new(leak)), summary(60.0, Totals::default())];
    let text = shown(&records, &ReportDestination::Stdout).replace('\n', " ");
    assert_eq!(Escaped(&text).to_string(), text);
    assert!(text.contains("\\u{1b}[2J\\r\\n\\u{202e}x (pid 71)"), "{text}");
}

#[test]
fn a_session_that_another_follows_in_its_file_says_so() {
    let records = [
        header("a", "tcptrace leaks"),
        summary(60.0, Totals::default()),
        header("b", "tcptrace leaks"),
        summary(60.0, Totals::default()),
    ];
    let text = shown(&records, &ReportDestination::Stdout);
    let sessions: Vec<&str> = text.lines().filter(|line| line.ends_with("tcptrace leaks")).collect();
    let [one, other] = sessions[..] else { panic!("{text}") };
    assert!(one.contains("in a file with a later session"), "{text}");
    assert!(other.contains("4 records in session.jsonl"), "{text}");
}

#[test]
fn a_file_says_that_it_is_a_report() {
    let file = ReportDestination::File { path: "report.txt".into(), force: false };
    assert!(shown(&[header("a", "tcptrace leaks")], &file).starts_with("tcptrace-report "));
}

#[test]
fn a_report_drawn_over_another_clears_each_line_before_it_writes_it() {
    let mut records = vec![header("web-1", "tcptrace leaks")];
    records.extend((0..4).map(|n| leak(n, 30.0, exactly(10.0), vec![owner(71, "shop")])));
    let report = reported(everything(), &records);
    let drawn = |redraw: Option<usize>| {
        let mut out = Vec::new();
        let layout = text::Layout { width: 60, is_folded: true, redraw, ..text::Layout::default() };
        text::write(&mut out, &report, &layout).unwrap();
        String::from_utf8(out).unwrap()
    };
    let plain: Vec<String> = drawn(None).lines().take(9).map(|line| format!("\u{1b}[K{line}\n")).collect();
    assert_eq!(drawn(Some(10)), format!("\u{1b}[H\u{1b}[?7l{}\u{1b}[J\u{1b}[?7h", plain.concat()));
}

#[test]
fn tables_leave_out_columns_where_a_terminal_is_narrow() {
    let mut records = vec![header("web-1", "tcptrace leaks")];
    records.extend((0..4).map(|n| leak(n, 30.0, exactly(10.0), vec![owner(71, "shop")])));
    let layout = text::Layout { width: 55, is_folded: true, ..text::Layout::default() };
    let mut out = Vec::new();
    text::write(&mut out, &reported(everything(), &records), &layout).unwrap();
    let text = String::from_utf8(out).unwrap();
    let below = |heading: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains(heading));
        lines.nth(1).unwrap_or_default().trim_start().to_owned()
    };
    assert!(below("  PROCESS ").starts_with("71  shop  "), "the heading goes on in a second line: {text}");
    assert!(below("  REMOTE ").contains("192.0.2.7"), "the heading goes on in a second line: {text}");
}
