//! Sockets that several processes hold: each is one in every total, and the headline says who holds it.

use std::sync::Arc;

use super::*;
use crate::{
    model::{
        no_site::{NoSite, NoSiteBecause},
        owner::Owner,
        record::{Leak, Record, Totals},
        stack::Stack,
    },
    report::{assemble, input::FileState, model::Report},
};

/// The report on stuck sockets with these holders each, by pid and name.
fn held(holders: &[&[(u32, &str)]], top: usize) -> Report {
    let mut records = vec![header("a", "tcptrace leaks")];
    for (cookie, holders) in (1..).zip(holders) {
        let owners: Vec<Owner> = holders.iter().map(|(pid, comm)| owner(*pid, comm)).collect();
        records.push(leak(cookie, 30.0, exactly(10.0), owners));
    }
    records.push(summary(40.0, Totals::default()));
    let aggregator = taken(everything(), &records);
    assemble::report(&aggregator, &[FileState::default()], top)
}

#[test]
fn the_headline_names_all_holders_of_shared_sockets_or_how_many_more_there_are() {
    const A: (u32, &str) = (1, "parent");
    const B: (u32, &str) = (2, "child");
    const C: (u32, &str) = (3, "child");
    const D: (u32, &str) = (4, "child");
    for (holders, expected) in [
        (&[&[A, B, C, D][..], &[A, B, C, D]][..], "parent (pid 1) and 3 others hold all 2 stuck sockets"),
        (&[&[A, B], &[A, B], &[A, B]], "parent (pid 1) and child (pid 2) hold all 3 stuck sockets"),
        (&[&[A, B]], "parent (pid 1) and child (pid 2) hold the only stuck socket"),
        (&[&[A, B], &[A, B], &[C]], "parent (pid 1) and child (pid 2) hold 2 of 3 stuck sockets"),
        (
            &[&[A], &[A], &[A, B]],
            "parent (pid 1) holds all 3 stuck sockets, 1 of them together with child (pid 2)",
        ),
        (
            &[&[A, B], &[A, B], &[A, C], &[C]],
            "parent (pid 1) holds 3 of 4 stuck sockets, all of them together with child (pid 2) and 1 other",
        ),
        (&[&[A], &[A]], "parent (pid 1) holds all 2 stuck sockets"),
    ] {
        assert_eq!(held(holders, 10).headline.answer, expected);
    }
}

#[test]
fn processes_of_one_program_hold_a_shared_socket_once() {
    // Six sockets of three workers, two each; two more are shared by all of them, and ten are of others.
    let workers: Vec<(u32, &str)> = (1..=3).map(|pid| (pid, "worker")).collect();
    let mut holders: Vec<Vec<(u32, &str)>> =
        workers.iter().flat_map(|worker| [vec![*worker], vec![*worker]]).collect();
    holders.extend([workers.clone(), workers.clone()]);
    let others = ["a", "b", "c", "d", "e", "f"];
    holders.extend((10..).zip(others).map(|(pid, comm)| vec![(pid, comm)]));
    let holders: Vec<&[(u32, &str)]> = holders.iter().map(Vec::as_slice).collect();
    let report = held(&holders, 10);
    assert_eq!(report.close_wait.stuck, 14);
    assert_eq!(report.headline.answer, "3 processes of worker hold 8 of 14 stuck sockets");
}

#[test]
fn what_is_not_listed_counts_only_the_sockets_that_nobody_listed_holds() {
    let (a, b, c) = ((1, "a"), (2, "b"), (3, "c"));
    let holders: [&[(u32, &str)]; 5] = [&[a, b], &[a, b], &[a], &[b, c], &[c]];
    let others = |top| {
        let processes = held(&holders, top).processes;
        (processes.top.len(), processes.others, processes.other_entries)
    };
    assert_eq!(others(1), (1, 2, 2), "of five, three are of the first");
    assert_eq!(others(2), (2, 1, 1));
    assert_eq!(others(3), (3, 0, 0));
    let report = held(&[&[a, b], &[a, b]], 1);
    assert_eq!((report.processes.others, report.processes.other_entries), (0, 1), "it shares what is listed");
    let first = &report.processes.top[0];
    assert_eq!((first.sockets, first.shared, first.shared_with), (2, 2, 1));
}

#[test]
fn sockets_opened_at_one_line_are_one_entry_whatever_else_is_on_the_stack() {
    let mut records = vec![header("a", "tcptrace leaks")];
    for cookie in 0..4 {
        let mut opened = opened_at("serve (main.rs:8)", 1.0);
        if let Some(stack) = &mut opened.what.called.stack {
            let stack = Arc::make_mut(stack);
            stack.frames.push(format!("a different caller {}", cookie % 2));
        }
        let leak = leak_of(cookie, 30.0, exactly(10.0), vec![owner(1, "shop")], ends(40_000));
        records.push(Record::Leak(Box::new(Leak { opened_by: Some(opened), ..leak })));
    }
    records.push(summary(40.0, Totals::default()));
    let report = reported(everything(), &records);
    let stacks: Vec<_> =
        report.stacks.top.iter().map(|stack| (stack.site.to_string(), stack.sockets)).collect();
    assert_eq!(stacks, [("serve (main.rs:8)".to_owned(), 4)]);
    assert_eq!(
        report.headline.answer,
        "shop (pid 1) holds all 4 stuck sockets; all were opened at serve (main.rs:8)"
    );
}

#[test]
fn sockets_without_a_line_are_grouped_by_the_reason() {
    let library = NoSite { because: NoSiteBecause::Library, of: Some("libcurl.so.4".to_owned()) };
    let mut records = vec![header("a", "tcptrace leaks")];
    for cookie in 0..4 {
        let leak = leak_of(cookie, 30.0, exactly(10.0), vec![owner(1, "shop")], ends(40_000));
        let (opened_by, no_site) = if cookie == 0 {
            let mut opened = opened_at("", 1.0);
            opened.what.called.stack = Some(Arc::new(Stack::unknown(library.clone())));
            (Some(opened), None)
        } else {
            (None, Some(NoSiteBecause::BeforeStart.into()))
        };
        records.push(Record::Leak(Box::new(Leak { opened_by, no_site, ..leak })));
    }
    records.push(summary(40.0, Totals::default()));
    let report = reported(everything(), &records);
    let stacks: Vec<_> = report.stacks.top.iter().map(|stack| (&stack.site.no_site, stack.sockets)).collect();
    assert_eq!(stacks, [(&Some(NoSiteBecause::BeforeStart.into()), 3), (&Some(library), 1)]);
    assert!(report.stacks.top.iter().all(|stack| stack.site.site.is_none()));
    assert_eq!(
        report.headline.answer,
        "shop (pid 1) holds all 4 stuck sockets; the line of code of 3 is not known: opened before tcptrace watched"
    );
}

#[test]
fn a_program_with_one_socket_in_each_process_is_named_with_all_of_them() {
    let mut records = vec![header("a", "tcptrace leaks")];
    records.extend((1..46).map(|client: u16| {
        let forked = vec![owner(client.into(), "forkserver")];
        Record::Leak(Box::new(leak_of(client.into(), 30.0, exactly(10.0), forked, ends(client))))
    }));
    records.push(summary(60.0, Totals::default()));
    let report = reported(everything(), &records);
    assert!(report.processes.top.len() < 45, "not all are listed");
    assert_eq!(report.headline.answer, "45 processes of forkserver hold all 45 stuck sockets");
}
