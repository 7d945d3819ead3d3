//! The rooms of `tcptrace/src`: which may import which, what only one of them names, and that no two files need each
//! other. Reads the source as text; code that is compiled for tests only is left out.
#![expect(clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod imports;

use std::collections::{BTreeMap, BTreeSet};

use imports::{SourceFile, source_files};

/// The rooms from the ground up, each with those that it may import. A room may always import itself.
const FLOORS: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("diagnosis", &["model"]),
    ("host", &["model"]),
    ("kernel", &["model", "host"]),
    ("netlink", &["model", "host"]),
    ("process", &["model", "host"]),
    ("stacks", &["model", "host", "process"]),
    ("inspect", &["model", "diagnosis", "host", "kernel", "netlink", "process", "stacks"]),
    ("forms", &["model", "diagnosis"]),
    ("output", &["model", "host", "forms"]),
    ("report", &["model", "diagnosis", "forms", "output"]),
    (
        "commands",
        &[
            "model",
            "diagnosis",
            "host",
            "kernel",
            "netlink",
            "process",
            "stacks",
            "inspect",
            "forms",
            "output",
            "report",
        ],
    ),
];

/// What only one place may name: the beginning of a path, and where.
const ONLY: [(&str, &str); 5] = [
    ("aya", "kernel/"),
    ("aya_log", "kernel/"),
    ("netlink_sys", "netlink/"),
    ("netlink_packet_sock_diag", "netlink/"),
    ("rustix::mount", "host/tracefs.rs"),
];

/// Functions that end a socket, and the only place that may call them.
const ENDS_SOCKETS: [&str; 2] = ["destroy", "shutdown"];

#[test]
fn no_import_points_up() {
    let mut wrong = Vec::new();
    for SourceFile { path, imports, .. } in source_files() {
        let Some((room, _)) = path.split_once('/') else { continue };
        let (_, allowed) =
            FLOORS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("no floor for {room}/"));
        for target in imports {
            let to = target.split('/').next().unwrap_or_default();
            if to != room && !allowed.contains(&to) {
                wrong.push(format!("{path} imports {target}: {room} may import {allowed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn commands_stand_beside_each_other() {
    let mut wrong = Vec::new();
    for SourceFile { path, imports, .. } in source_files() {
        let command =
            |path: &str| path.strip_prefix("commands/")?.split_once('/').map(|(name, _)| name.to_owned());
        let Some(own) = command(&path) else { continue };
        for target in imports {
            if command(&target).is_some_and(|other| other != own && other != "shared") {
                wrong.push(format!("{path} imports {target}: what commands have in common is in shared/"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_need_each_other() {
    let needs: BTreeMap<String, BTreeSet<String>> =
        source_files().into_iter().map(|file| (file.path, file.imports)).collect();
    let needed_by: BTreeMap<&str, BTreeSet<&str>> =
        needs.keys().map(|path| (path.as_str(), reached_from(path, &needs))).collect();
    let mut circles = BTreeSet::new();
    for (path, reached) in needed_by.iter().filter(|(path, reached)| reached.contains(*path)) {
        let circle: Vec<&str> =
            reached.iter().filter(|other| needed_by[*other].contains(path)).copied().collect();
        circles.insert(circle.join(", "));
    }
    let lines: Vec<String> = circles.into_iter().collect();
    assert!(lines.is_empty(), "each of a line needs the others:\n{}", lines.join("\n"));
}

/// All files that one needs, by whatever way.
fn reached_from<'a>(path: &str, needs: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![path]);
    while let Some(path) = next.pop() {
        for target in needs.get(path).into_iter().flatten() {
            if reached.insert(target.as_str()) {
                next.push(target);
            }
        }
    }
    reached
}

#[test]
fn each_door_has_one_room() {
    let mut wrong = Vec::new();
    for SourceFile { path, outside, calls, .. } in source_files() {
        for (name, place) in ONLY {
            let names = outside.iter().any(|used| used == name || used.starts_with(&format!("{name}::")));
            if names && !path.starts_with(place) {
                wrong.push(format!("{path} names {name}, which only {place} may"));
            }
        }
        let ends = ENDS_SOCKETS.iter().filter(|name| calls.contains(**name));
        if !path.starts_with("commands/clear/") && !path.starts_with("netlink/") {
            wrong
                .extend(ends.map(|name| format!("{path} calls {name}(): only commands/clear/ ends sockets")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
