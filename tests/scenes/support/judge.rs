//! Judges what the tool says of a scene, against the truth and against the kernel: right or wrong, nothing in between.

use std::fmt::Write as _;

use serde_json::Value;

use super::board::Row;
use super::truth::{Side, Truth};
use super::{kernel, tool, until};

/// Waits until the kernel has the sockets as they should be, then judges every answer of the tool.
///
/// # Panics
/// When a cell is wrong.
pub(crate) fn judge(truths: &[Truth]) {
    truths.iter().for_each(await_in_kernel);
    let wrong: Vec<String> = truths.iter().filter_map(|truth| row(truth).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn row(truth: &Truth) -> Result<(), String> {
    let records = tool::now(truth.side);
    let text = tool::now_in_text(truth.side);
    let mut row = Row::of(truth.scene);
    row.cell("owners", each(truth, &records, owners));
    row.cell("verdict", each(truth, &records, verdict));
    row.cell("reason", each(truth, &records, reasons));
    row.cell("text", in_text(truth, &text));
    // Less is to be found so, and connections that are over are not.
    if !truth.is_over() {
        row.cell("proc", each(truth, &tool::now_from_proc(truth.side), nothing_false));
    }
    if truth.is_leak() {
        let (leaks, text) = tool::leaks(truth.side, truth.count);
        row.cell("leaks", each(truth, &leaks, everything).and_then(|()| in_text(truth, &text)));
        println!("{text}");
    }
    let judged = row.finish();
    println!("{text}");
    let facts = || kernel::shown_of(truth.place, &truth.owners);
    judged.map_err(|wrong| format!("{wrong}\nBy ss and /proc:\n{}", facts()))
}

/// The scene is what it claims to be: so many sockets, with so many bytes unread, held by those.
fn await_in_kernel(truth: &Truth) {
    let filter = truth.side.filter();
    if truth.is_over() {
        let what = format!("{}: the kernel lists none of them any more", truth.scene);
        return until(
            &what,
            || !kernel::has_connections(truth.place, &filter),
            || kernel::shown(truth.place, &filter),
        );
    }
    let is_so = || {
        let seen = kernel::close_wait(truth.place, &filter);
        let are_right = seen.iter().all(|socket| {
            let holders = match truth.side {
                // Nobody holds what nobody accepted.
                Side::At(port) if socket.holders.is_empty() => kernel::listeners(truth.place, port),
                Side::At(_) | Side::To(_) => socket.holders.clone(),
            };
            truth.unread.contains(&socket.recv_q)
                && truth.unsent.contains(&socket.send_q)
                && holders == truth.owners
        });
        seen.len() == truth.count && are_right
    };
    let Truth { scene, count, owners, unread, .. } = truth;
    let what = format!("{scene}: {count} in CLOSE_WAIT of {owners:?} with {unread:?} bytes unread");
    until(&what, is_so, || kernel::shown(truth.place, &filter));
}

/// Applies a rule to each record, of which there has to be one a socket.
fn each(
    truth: &Truth,
    records: &[Value],
    rule: fn(&Truth, &Value) -> Result<(), String>,
) -> Result<(), String> {
    if records.len() != truth.count {
        return Err(format!("{} records, expected {}", records.len(), truth.count));
    }
    records.iter().try_for_each(|record| rule(truth, record).map_err(|why| format!("{why}\n      {record}")))
}

fn everything(truth: &Truth, record: &Value) -> Result<(), String> {
    owners(truth, record)?;
    verdict(truth, record)?;
    reasons(truth, record)
}

fn owners(truth: &Truth, record: &Value) -> Result<(), String> {
    let owners = record["owners"].as_array().into_iter().flatten();
    let mut pids: Vec<i64> = owners.filter_map(|owner| owner["pid"].as_i64()).collect();
    pids.sort_unstable();
    let expected: Vec<i64> = truth.owners.iter().copied().map(i64::from).collect();
    if pids == expected { Ok(()) } else { Err(format!("owners {pids:?}, expected {expected:?}")) }
}

fn verdict(truth: &Truth, record: &Value) -> Result<(), String> {
    let said = record["verdict"].as_str().unwrap_or("null");
    if truth.verdict.contains(&said) {
        return Ok(());
    }
    Err(format!("verdict {said}, expected {}", truth.verdict.join(" or ")))
}

fn reasons(truth: &Truth, record: &Value) -> Result<(), String> {
    let Some(because) = record["because"].as_array() else { return Err("no reasons at all".to_owned()) };
    let mut wrong = false_reasons(truth, because);
    let first = ids(because).next().unwrap_or("nothing");
    if !truth.first.is_empty() && !truth.first.contains(&first) {
        write!(wrong, "first {first}, expected {}; ", truth.first.join(" or ")).unwrap();
    }
    let numbered = truth.numbers.iter().map(|(id, ..)| id);
    for id in truth.also.iter().chain(numbered).filter(|id| ids(because).all(|said| said != **id)) {
        write!(wrong, "{id} is missing; ").unwrap();
    }
    said(&wrong, because)
}

/// Reasons that are not given are no lie.
fn nothing_false(truth: &Truth, record: &Value) -> Result<(), String> {
    owners(truth, record)?;
    verdict(truth, record)?;
    let because = record["because"].as_array().map(Vec::as_slice).unwrap_or_default();
    said(&false_reasons(truth, because), because)
}

fn false_reasons(truth: &Truth, because: &[Value]) -> String {
    let mut wrong = String::new();
    for id in truth.never.iter().filter(|id| ids(because).any(|said| said == **id)) {
        write!(wrong, "{id} is false; ").unwrap();
    }
    for (id, field, value) in &truth.numbers {
        let said = because.iter().find(|reason| reason["id"] == *id).map(|reason| &reason[field]);
        if let Some(said) = said.filter(|said| *said != value) {
            write!(wrong, "{id}.{field} is {said}, expected {value}; ").unwrap();
        }
    }
    wrong
}

fn ids(because: &[Value]) -> impl Iterator<Item = &str> {
    because.iter().filter_map(|reason| reason["id"].as_str())
}

fn said(wrong: &str, because: &[Value]) -> Result<(), String> {
    let all: Vec<&str> = ids(because).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong}all: {all:?}")) }
}

fn in_text(truth: &Truth, text: &str) -> Result<(), String> {
    let missing = truth.says.iter().filter(|words| !text.contains(*words));
    let missing = missing.map(|words| format!("does not say {words:?}"));
    let wrong = truth.never_says.iter().filter(|words| text.contains(**words));
    let wrong: Vec<String> = missing.chain(wrong.map(|words| format!("says {words:?}"))).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}
