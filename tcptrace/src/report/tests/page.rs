//! The page: whole, complete in itself, and harmless whatever strangers named.

use jiff::tz::TimeZone;

use super::*;
use crate::{
    model::{
        ended::EndedHow,
        escape::Escaped,
        record::{Leak, Record, Timed, Totals},
        state::State,
    },
    report::{assemble, html, input::FileState, model::Report},
};

/// Elements that have no end.
const VOID: [&str; 4] = ["meta", "wbr", "br", "!DOCTYPE"];

/// Checks that each element ends, within the one it began in, and that nothing is outside of the page. Texts
/// and attributes have `<` and `"` escaped, so that the marks of elements can be found without a parser.
fn check(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let tag = &rest[at + 1..at + rest[at..].find('>').expect("a tag has an end")];
        rest = &rest[at + tag.len() + 2..];
        if tag.contains('"') {
            assert!(tag.matches('"').count().is_multiple_of(2), "an attribute without an end: <{tag}>");
        }
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> ends another element");
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
    for outside in [
        "http://",
        "https://",
        "src=",
        "href=",
        "url(",
        "@import",
        "<script",
        "<link",
        "<iframe",
        "javascript:",
    ] {
        assert!(!page.contains(outside), "the page has {outside:?} in it");
    }
    for event in [" onload", " onclick", " onerror"] {
        assert!(!page.contains(event), "the page has {event:?} in it");
    }
    assert_eq!(Escaped(&page.replace('\n', "")).to_string(), page.replace('\n', ""), "control characters");
}

fn page(report: &Report) -> String {
    let page = html::page(report, &TimeZone::UTC).into_string();
    check(&page);
    page
}

const ESTABLISHED: (State, Option<f64>) = (State::Established, Some(1.0));

/// A session with something of everything.
fn eventful(name: &str) -> Vec<Record> {
    let mut records = vec![header(name, "tcptrace trace --owners -o </title><b>")];
    for n in 0..40 {
        let second = n as f64;
        let ends = towards("10.9.9.9:443", 50_000 + u16::try_from(n).unwrap());
        records.push(step(n, second, (State::SynSent, None), State::Established, ends));
        let new = if n % 3 == 0 { State::FinWait1 } else { State::CloseWait };
        records.push(step_by(7, name, step(n, second, ESTABLISHED, new, ends)));
        if n % 3 == 1 {
            let mut owner = owner(70 + (n % 2) as u32, name);
            let process = std::sync::Arc::make_mut(&mut owner.process);
            process.cmdline = vec![name.to_owned(), "--password".to_owned()];
            process.exe = Some(name.to_owned());
            process.container = Some(name.to_owned());
            let leak = leak_of(n, second + 12.0, exactly(12.0), vec![owner], ends);
            let (opened, read) = (opened_at(name, second - 1.0), opened_at(name, second));
            let read = Timed { time: read.time, what: read.what.called };
            records.push(Record::Leak(Box::new(Leak {
                opened_by: Some(opened),
                eof_read_by: Some(read),
                ..leak
            })));
        }
        if n == 4 {
            records.push(leak_end(n, second + 20.0, exactly(20.0), EndedHow::OwnerExited));
        }
    }
    records.push(summary(100.0, Totals { lost: 312, ..Totals::default() }));
    records
}

#[test]
fn the_page_is_whole_and_complete_in_itself() {
    let text = page(&reported(everything(), &eventful("refund-worker")));
    for sentence in [
        "2 processes of refund",
        "312 records were lost in the ring: counts are lower bounds",
        "look for the path that returns without it",
        "10.9.9.9:443",
        "prefers-color-scheme: dark",
        "name=\"viewport\"",
    ] {
        assert!(text.contains(sentence), "the page does not say {sentence:?}");
    }
    assert!(text.len() < 200_000, "{} bytes", text.len());
}

#[test]
fn hostile_names_do_no_harm_on_the_page() {
    for name in [
        "<script>alert(1)</script>",
        "\"onload=x\" '><img src=x onerror=y>",
        "</style></title><h1>",
        "\u{1b}[2J\r\n\u{202e}x\u{0}",
        "&lt;b&gt; `code` {{x}}",
    ] {
        let text = html::page(&reported(everything(), &eventful(name)), &TimeZone::UTC).into_string();
        let unmarked = text.replace("&lt;img src=x onerror=y&gt;", "").replace("onload=x", "");
        check(&unmarked);
        assert!(!text.contains("<script>") && !text.contains("<img") && !text.contains("<h1><"), "{name:?}");
    }
}

#[test]
fn a_page_about_nothing_says_so_everywhere() {
    let quiet =
        page(&reported(everything(), &[header("a", "tcptrace trace"), summary(60.0, Totals::default())]));
    assert!(
        quiet.contains("No socket was stuck in CLOSE_WAIT") && quiet.contains("No connection was closed")
    );
    let empty = page(&reported(everything(), &[]));
    assert!(empty.contains("There is nothing in the recordings"));
    let leak = leak(1, 0.1, exactly(20.0), vec![owner(1, "a")]);
    let moment =
        page(&reported(everything(), &[header("a", "tcptrace now"), leak, summary(0.2, Totals::default())]));
    assert!(moment.contains("Only single moments were recorded"));
    let unknown = step(1, 1.0, ESTABLISHED, State::CloseWait, ends(1));
    let unknown = page(&reported(
        everything(),
        &[header("a", "tcptrace trace"), unknown, summary(60.0, Totals::default())],
    ));
    assert!(unknown.contains("look for who holds a stuck socket"), "holders were not recorded");
}

#[test]
fn the_document_for_scripts_has_what_the_page_has() {
    let aggregator = taken(everything(), &eventful("refund-worker"));
    let report = assemble::report(&aggregator, &[FileState::default()], 10);
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["type"], "tcptrace-report");
    assert_eq!(document["schema"], 1);
    assert_eq!(document["close_wait"]["stuck"], report.close_wait.stuck);
    assert_eq!(document["processes"]["top"][0]["comm"], "refund-worker");
    assert_eq!(document["processes"]["top"][0]["verdicts"][0]["verdict"], "eof_read");
    assert_eq!(document["peers"]["top"][0]["raddr"], "10.9.9.9");
    assert_eq!(document["sessions"][0]["lost"]["lost"], 312);
    assert_eq!(document["cannot_claim"][0]["id"], "lost_in_ring");
    assert_eq!(document["span"]["first"], "2027-01-15T08:00:00Z");
}
