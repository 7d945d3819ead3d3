//! Several outputs at once, in every form, and what happens to files that exist already.

use std::fs;
use std::io::{BufRead as _, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Uid, chownat};
use serde_json::Value;

use crate::support::calls::Calls;
use crate::support::churn::churn;
use crate::support::leaky::Leaky;
use crate::support::process::close_for_all;
use crate::support::recorder::{Recorder, content, lines, read, report_a_leak};
use crate::support::run::run;
use crate::support::until;

live_tests! {
    several_outputs_agree_with_each_other,
    a_leak_in_a_table_names_its_holder_and_how_it_was_opened,
    an_earlier_session_makes_room_is_added_to_or_replaced_and_strangers_files_are_not,
    what_another_user_planted_is_not_written_to,
    two_sessions_do_not_write_to_one_file,
    a_killed_reader_of_standard_output_does_not_end_a_session_that_has_a_file,
    what_is_written_is_on_the_disk_in_time_where_that_is_asked_for,
}

const CONNECTIONS: u64 = 50;
const TRANSITIONS: usize = 502;

fn several_outputs_agree_with_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = ["x.jsonl", "x.jsonl.zst", "x.csv", "x.csv.zst", "x.txt", "x.txt.zst", "x.tct", "x.tct.zst"];
    let paths = names.map(path);
    let outputs: Vec<&Path> = paths.iter().map(std::path::PathBuf::as_path).chain([Path::new("-")]).collect();
    let mut recorder = Recorder::start(&outputs, &["--format", "jsonl"]);
    churn(CONNECTIONS, recorder.port, 4);
    recorder.process.signal(rustix::process::Signal::INT);
    let stdout: Vec<u8> = std::io::BufReader::new(&mut recorder.stdout)
        .lines()
        .flat_map(|line| line.unwrap().into_bytes().into_iter().chain([b'\n']))
        .collect();
    let ended = recorder.finish();
    ended.says(0, &["x.csv", "502 read", "0 lost", "0 dropped"]);

    let records = lines(&path("x.jsonl"));
    assert_eq!(records.len(), 1 + TRANSITIONS + 1, "header, transitions, summary");
    assert_eq!(stdout, content(&path("x.jsonl")), "standard output");
    for form in ["jsonl", "csv", "txt"] {
        let (plain, compressed) = (path(&format!("x.{form}")), path(&format!("x.{form}.zst")));
        assert_eq!(content(&plain), content(&compressed), "{form}");
        assert!(fs::metadata(&compressed).unwrap().len() * 4 < fs::metadata(&plain).unwrap().len(), "{form}");
    }
    for recording in ["x.tct", "x.tct.zst"] {
        let (read, losses) = read(&path(recording));
        assert_eq!(read, records, "{recording}");
        assert!(
            losses.has_ended && losses.missing == 0 && losses.damaged == 0 && !losses.is_cut,
            "{losses:?}"
        );
    }
    agrees_with_table(&records, &content(&path("x.csv")));
    let text = String::from_utf8(content(&path("x.txt"))).unwrap();
    assert!(text.starts_with("tcptrace "), "the first line of a file does not name the tool: {text:?}");
    assert_eq!(text.lines().filter(|line| line.contains(" -> ")).count(), TRANSITIONS);
    for output in &paths {
        assert_eq!(
            fs::metadata(output).unwrap().permissions().mode() & 0o7777,
            0o600,
            "{}",
            output.display()
        );
    }
}

/// Expects every cell of a table to equal the record's field of that name.
fn agrees_with_table(records: &[Value], table: &[u8]) {
    let mut reader = csv::Reader::from_reader(table);
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    let in_table = |record: &&Value| record["type"] != "header" && record["type"] != "summary";
    let records: Vec<&Value> = records.iter().filter(in_table).collect();
    assert_eq!(rows.len(), records.len(), "rows");
    for (row, record) in rows.iter().zip(records) {
        for (name, cell) in columns.iter().zip(row) {
            assert_eq!(cell, spelled(field(record, name)), "{name} of {record}");
        }
    }
}

/// The field that a column stands for. Columns of inner objects begin with the object's name; of the owners,
/// a table has the first.
fn field<'a>(record: &'a Value, name: &str) -> &'a Value {
    for (prefix, inner) in [
        ("oncpu_", &record["oncpu"]),
        ("owner_", &record["owners"][0]),
        ("opened_by_", &record["opened_by"]),
        ("eof_read_by_", &record["eof_read_by"]),
        ("closed_by_", &record["closed_by"]),
    ] {
        if let Some(name) = name.strip_prefix(prefix) {
            return &inner[name];
        }
    }
    &record[name]
}

fn spelled(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn a_leak_in_a_table_names_its_holder_and_how_it_was_opened() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let port = leaky.truth().lport.to_string();
    for command in ["now", "leaks"] {
        let folder = tempfile::tempdir().unwrap();
        let (table, jsonl) = (folder.path().join("x.csv"), folder.path().join("x.jsonl"));
        let arguments =
            vec![command, "--lport", &port, "-o", table.to_str().unwrap(), "-o", jsonl.to_str().unwrap()];
        report_a_leak(&arguments, &jsonl);
        let leaks: Vec<Value> = lines(&jsonl).into_iter().filter(|record| record["type"] == "leak").collect();
        assert_eq!(leaks.len(), 1, "{command}: leaks");
        let mut reader = csv::Reader::from_path(&table).unwrap();
        let columns = reader.headers().unwrap().clone();
        let row = reader.records().next().expect("a row").unwrap();
        let cell = |name: &str| {
            row.get(columns.iter().position(|column| column == name).expect("a column")).unwrap().to_owned()
        };
        let holder = &leaky.truth().holders[0];
        assert_eq!(cell("owner_pid"), holder.pid.to_string());
        assert_eq!(cell("owner_pids"), holder.pid.to_string());
        assert_eq!(cell("owner_fds"), holder.fds[0].to_string());
        assert_eq!(cell("owners"), "1");
        for name in [
            "type",
            "verdict",
            "close_wait_ns",
            "close_wait_is",
            "cookie",
            "owner_comm",
            "owner_evidence",
            "owner_exe",
        ] {
            assert_eq!(cell(name), spelled(field(&leaks[0], name)), "{command}: {name}");
        }
    }
}

fn an_earlier_session_makes_room_is_added_to_or_replaced_and_strangers_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let now = |name: &str, options: &[&str]| {
        let path = folder.path().join(name);
        run(&[&["now", "--lport", "1", "-o", path.to_str().unwrap()], options].concat())
    };
    for (name, headers) in [("x.jsonl", 2), ("x.txt", 2), ("x.csv", 1)] {
        let path = folder.path().join(name);
        let count = || {
            let content = String::from_utf8(content(&path)).unwrap();
            content
                .lines()
                .filter(|line| {
                    ["{\"type\":\"header\"", "tcptrace ", "type,time"]
                        .iter()
                        .any(|start| line.starts_with(start))
                })
                .count()
        };
        assert_eq!(now(name, &[]).code, Some(0));
        assert_eq!(now(name, &[]).code, Some(0), "an earlier session makes room");
        assert_eq!(count(), 1, "{name}");
        // As if its writer had been killed in the middle of a line.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.trim_end()).unwrap();
        assert_eq!(now(name, &["--append"]).code, Some(0));
        assert_eq!(count(), headers, "{name}: headers after another session was added");
    }
    for name in ["x.tct", "x.jsonl.zst"] {
        now(name, &["--append"]).refuses(2, &[name, "cannot be added"]);
    }
    let strangers =
        [("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("other.jsonl", "{\"type\":\"event\"}\n")];
    for (name, before) in strangers {
        let path = folder.path().join(name);
        fs::write(&path, before).unwrap();
        for option in [&["--format", "jsonl"][..], &["--format", "jsonl", "--append"]] {
            now(name, option).refuses(2, &[name, "did not write", "--force"]);
            assert_eq!(fs::read_to_string(&path).unwrap(), before);
        }
        let mut old = fs::File::open(&path).unwrap();
        assert_eq!(now(name, &["--format", "jsonl", "--force", "--mode", "0640"]).code, Some(0));
        let metadata = fs::metadata(&path).unwrap();
        assert_ne!(metadata.ino(), old.metadata().unwrap().ino(), "a new file took its place");
        let mut content = String::new();
        old.read_to_string(&mut content).unwrap();
        assert_eq!(content, before, "the file that had the name before was changed");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
        assert_eq!(lines(&path)[0]["type"], "header");
    }
}

fn what_another_user_planted_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let (victim, elsewhere) = (folder.path().join("victim"), folder.path().join("elsewhere"));
    fs::write(&victim, "{\"type\":\"header\",\"schema\":1}\n").unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let planted = |name: &str, make: &dyn Fn(&Path)| {
        let path = folder.path().join(name);
        make(&path);
        chownat(CWD, &path, Some(Uid::from_raw(65_534)), None, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        path
    };
    let link = planted("link.jsonl", &|path| symlink(&victim, path).unwrap());
    let file = planted("file.jsonl", &|path| fs::write(path, "").unwrap());
    let directory = planted("directory", &|path| symlink(&elsewhere, path).unwrap());
    let fifo = planted("fifo.jsonl", &|path| {
        rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    });
    let inside = directory.join("x.jsonl");
    for (path, words) in [
        (&link, ["link.jsonl", "symbolic link"]),
        (&file, ["file.jsonl", "another user"]),
        (&fifo, ["fifo.jsonl", "another user"]),
        (&inside, ["directory", "another user"]),
    ] {
        for command in ["trace", "leaks", "now"] {
            run(&[command, "-o", path.to_str().unwrap()]).refuses(2, &words);
        }
    }
    run(&["now", "-o", inside.to_str().unwrap(), "--force"]).refuses(2, &["directory", "another user"]);
    for path in [&link, &file, &fifo] {
        assert_eq!(run(&["now", "-o", path.to_str().unwrap(), "--force"]).code, Some(0));
        let metadata = fs::symlink_metadata(path).unwrap();
        assert!(metadata.is_file() && metadata.uid() == 0 && metadata.permissions().mode() & 0o7777 == 0o600);
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "{\"type\":\"header\",\"schema\":1}\n");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

fn two_sessions_do_not_write_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let recorder = Recorder::start(&[&path], &[]);
    churn(CONNECTIONS, recorder.port, 4);
    run(&["now", "-o", path.to_str().unwrap()]).refuses(2, &["x.jsonl", "being written to already"]);
    recorder.stop().is_well();
    assert_eq!(lines(&path).len(), 1 + TRANSITIONS + 1);
}

fn a_killed_reader_of_standard_output_does_not_end_a_session_that_has_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let recorder = Recorder::start(&[&path, Path::new("-")], &[]);
    let Recorder { port, mut process, stdout } = recorder;
    close_for_all(stdout);
    churn(CONNECTIONS, port, 4);
    until("the file has the records", || fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 100_000));
    process.signal(rustix::process::Signal::INT);
    assert_eq!(process.wait().code(), Some(0), "{}", process.messages());
    assert_eq!(process.messages(), "");
    assert_eq!(lines(&path).len(), 1 + TRANSITIONS + 1);
}

fn what_is_written_is_on_the_disk_in_time_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let synced = |options: &[&str], name: &str| {
        let path = folder.path().join(name);
        let recorder = Recorder::start(&[&path], &[&["--flush", "50ms"], options].concat());
        let while_it_runs = Calls::of(recorder.process.pid(), &["fdatasync"]);
        let file_and_directory = Calls::of(recorder.process.pid(), &["fsync"]);
        churn(CONNECTIONS, recorder.port, 4);
        until("all records are written", || lines(&path).len() > TRANSITIONS);
        if !options.is_empty() {
            until("they are on the disk", || while_it_runs.count() > 0);
        }
        recorder.stop().is_well();
        (while_it_runs.count(), file_and_directory.count())
    };
    let (flushes, end) = synced(&["--fsync"], "careful.jsonl");
    assert!(flushes <= 1 + TRANSITIONS / 10, "fdatasync ran {flushes} times for {TRANSITIONS} records");
    assert!(end >= 2, "at the end, fsync of the file and of its directory ran {end} times");
    assert_eq!(synced(&[], "careless.jsonl"), (0, 0));
}
