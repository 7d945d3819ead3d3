//! A wrong command line is refused with exit code 2 and a remedy. These tests need no root: nothing here touches the
//! kernel.

use std::process::Command;

use crate::support::confined::Confined;
use crate::support::run::{run, run_command};
use crate::support::{TCPTRACE, golden};

#[test]
fn an_unknown_option_is_refused_and_help_is_named() {
    run(&["leaks", "--nonsense"]).refuses(2, &["--nonsense", "--help"]);
    run(&["--nonsense"]).refuses(2, &["--nonsense", "--help"]);
}

#[test]
fn an_address_space_that_is_too_small_is_refused_before_anything_is_begun() {
    for typed in [&["now"][..], &["leaks"], &["report", "x.tct"]] {
        Confined::AddressSpace(100 << 20).run(typed).refuses(3, &["100 MiB", "256 MiB", "ulimit -v"]);
    }
}

#[test]
fn too_few_descriptors_to_trace_with_are_refused_and_the_limit_is_named() {
    for (limit, typed) in
        [(20, &["leaks"][..]), (40, &["trace"]), (40, &["time-wait", "--watch"]), (8, &["report", "x"])]
    {
        let few = Confined::Descriptors { soft: limit, hard: limit };
        few.run(typed).refuses(3, &["Too many open files", &format!("above {limit}"), "ulimit -n"]);
    }
}

#[test]
fn a_closed_standard_output_is_refused_before_anything_is_lost_in_it() {
    let recording = golden("v1.tct");
    let closed = |typed: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("exec \"$0\" {typed} >&-"), TCPTRACE]).arg(&recording);
        run_command(&mut shell)
    };
    for typed in [
        "trace --replay \"$1\"",
        "report \"$1\"",
        "report --format perfetto \"$1\"",
        "doctor",
        "now --help",
        "--version",
    ] {
        closed(typed).refuses(2, &["standard output", "closed", "-o"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.txt");
    let ran = closed(&format!("trace --replay \"$1\" -o {}", file.display()));
    assert_eq!(ran.code, Some(0), "nobody wants it: {}", ran.messages);
    assert!(std::fs::metadata(&file).is_ok_and(|file| file.len() > 0));
}

#[test]
fn what_fits_into_a_file_of_limited_size_is_there_and_the_limit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.jsonl", "x.csv", "x.txt"] {
        let file = folder.path().join(name);
        let mut shell = Command::new("/bin/sh");
        // In units of 512 bytes.
        shell.args(["-c", "ulimit -f 8; exec \"$0\" trace --replay \"$1\" -o \"$2\"", TCPTRACE]);
        shell.arg(golden("v1.tct")).arg(&file);
        run_command(&mut shell).refuses(4, &["4096 bytes", "ulimit -f", "records missing"]);
        let (cut, whole) =
            (std::fs::read(&file).unwrap(), std::fs::read(golden(&format!("v1.{}", &name[2..]))).unwrap());
        assert!((3000..=4096).contains(&cut.len()), "{name} has {} bytes", cut.len());
        assert!(
            cut.ends_with(b"\n"),
            "{name} ends with {:?}",
            String::from_utf8_lossy(&cut[cut.len() - 80..])
        );
        // A file of text begins with a line that the golden one, which was a pipe's, does not have.
        let records = cut.split_inclusive(|byte| *byte == b'\n').skip(1).collect::<Vec<_>>().concat();
        assert!(String::from_utf8_lossy(&whole).contains(&*String::from_utf8_lossy(&records)), "{name}");
    }
}

#[test]
fn an_unknown_command_is_refused_and_help_is_named() {
    run(&["leeks"]).refuses(2, &["leeks", "--help"]);
}

#[test]
fn an_unknown_state_is_refused_and_the_states_are_listed() {
    run(&["trace", "--state", "CLOSED_WAIT"]).refuses(2, &["CLOSED_WAIT", "CLOSE_WAIT", "LAST_ACK"]);
}

#[test]
fn a_nonsense_duration_is_refused_with_examples() {
    for nonsense in ["10", "ten seconds", "5 fortnights", ""] {
        run(&["leaks", "--older-than", nonsense]).refuses(2, &["--older-than", "30s"]);
        run(&["trace", "--duration", nonsense]).refuses(2, &["--duration", "30s"]);
    }
}

#[test]
fn a_wrong_address_range_is_refused_with_examples() {
    for wrong in ["10.0.0/8", "10.0.0.0/33", "::/129", "localhost", "10.0.0.1/", "/8"] {
        run(&["trace", "--addr", wrong]).refuses(2, &["--addr"]);
    }
    run(&["trace", "--addr", "localhost"]).refuses(2, &["10.0.0.0/8"]);
}

#[test]
fn a_wrong_port_is_refused() {
    for wrong in ["65536", "-1", "http"] {
        run(&["trace", &format!("--port={wrong}")]).refuses(2, &["--port"]);
    }
}

#[test]
fn a_filter_that_can_match_nothing_is_refused_or_warned_of() {
    run(&["now", "--comm", "averyveryverylongname"]).refuses(2, &["--comm", "15 bytes", "averyveryverylo"]);
    run(&["leaks", "--pid", "abc"]).refuses(2, &["--pid", "like 812"]);
    run(&["trace", "--rotate-size", "100M"]).refuses(2, &["--rotate-size", "-o FILE", "tcptrace trace"]);
    run(&["clear"]).refuses(2, &["tcptrace: error: ", "--older-than 5m", "Usage: tcptrace clear"]);
    run(&["clear", "--state", "FIN_WAIT2", "--verdict", "eof_read"])
        .refuses(2, &["eof_read", "CLOSE_WAIT alone"]);
}

#[test]
fn both_families_at_once_are_refused() {
    run(&["leaks", "-4", "-6"]).refuses(2, &["-4", "-6"]);
}

#[test]
fn an_output_whose_ending_tells_no_format_is_refused_and_the_option_is_named() {
    let ran = run(&["leaks", "--output", "leaks.unknown"]);
    ran.refuses(2, &["leaks.unknown", "--format", ".jsonl"]);
    assert!(!std::path::Path::new("leaks.unknown").exists(), "the file was created nevertheless");
}

#[test]
fn a_file_that_is_named_twice_is_refused_by_force_too() {
    let folder = tempfile::tempdir().unwrap();
    let direct = folder.path().join("x.jsonl");
    let detour = folder.path().join(".").join("x.jsonl");
    let (direct, detour) = (direct.to_str().unwrap(), detour.to_str().unwrap());
    run(&["trace", "-o", direct, "-o", detour, "--force"]).refuses(2, &["x.jsonl", "twice"]);
    assert!(!folder.path().join("x.jsonl").exists(), "it was made nevertheless");
}

#[test]
fn what_was_typed_does_nothing_to_the_terminal_that_shows_what_is_wrong_with_it() {
    let name = "no\u{1b}[31m\n\u{9b}2J\u{202e}";
    for typed in [
        &["report", name][..],
        &["trace", "--replay", name],
        &["leaks", "-o", name],
        &["now", "--state", name],
        &["leaks", &format!("--{name}")],
        &["now", "--btf", name],
    ] {
        let ran = run(typed);
        assert_eq!(ran.code, Some(2), "{typed:?}: {}", ran.messages);
        let is_harmful =
            |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
        assert!(!ran.messages.contains(is_harmful), "{typed:?}: {:?}", ran.messages);
    }
    run(&["report", "no\u{1b}[31m"]).refuses(2, &["cannot read no\\u{1b}[31m: No such file"]);
}

#[test]
fn an_empty_command_for_leaks_is_refused() {
    for nothing in ["", " "] {
        run(&["leaks", "--exec", nothing]).refuses(2, &["--exec", "no command"]);
    }
}

#[test]
fn an_unknown_format_or_backend_is_refused_and_the_possible_ones_are_listed() {
    run(&["leaks", "--format", "xml"]).refuses(2, &["xml", "jsonl", "text"]);
    run(&["leaks", "--backend", "kprobe"]).refuses(2, &["kprobe", "btf", "tracepoint"]);
}

#[test]
fn sizes_out_of_range_are_refused_with_the_range() {
    for wrong in ["1K", "2G", "many"] {
        run(&["trace", "--ring-size", wrong]).refuses(2, &["--ring-size", "64K", "1G"]);
    }
    run(&["leaks", "--max-sockets", "0"]).refuses(2, &["--max-sockets"]);
}

#[test]
fn an_unknown_namespace_is_refused_and_where_to_look_is_named() {
    run(&["leaks", "--netns", "no-such-namespace"]).refuses(2, &["no-such-namespace", "ip netns"]);
    run(&["now", "--netns", "/etc/passwd"]).refuses(2, &["/etc/passwd is no network namespace", "ip netns"]);
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (arguments, word) in [(["leaks", "--help"], "--older-than"), (["trace", "--help"], "--state")] {
        let ran = run(&arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.messages);
        assert!(ran.output.contains(word), "{arguments:?} does not speak of {word}:\n{}", ran.output);
        assert_eq!(ran.messages, "");
    }
    let ran = run(&["--version"]);
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    assert!(ran.output.starts_with("tcptrace "), "{}", ran.output);
}

#[test]
fn help_that_could_not_be_written_is_an_error_unless_its_reader_has_gone() {
    let program = env!("CARGO_BIN_EXE_tcptrace");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = Command::new(program).arg("--help").stdout(full).output().unwrap();
    let messages = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(4), "{messages}");
    assert!(messages.contains("standard output: No space left"), "{messages}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = Command::new(program).arg("--help").stdout(writer).output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

#[test]
fn quiet_and_verbose_may_stand_before_the_command_and_behind() {
    // Help ends it before it needs root.
    for arguments in [["-v", "leaks", "--help"], ["leaks", "-v", "--help"], ["-q", "trace", "--help"]] {
        let ran = run(&arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?} is refused:\n{}", ran.messages);
    }
    // And where help does not end it early, the wrong value is what it refuses.
    run(&["-v", "leaks", "--older-than", "never"]).refuses(2, &["--older-than", "30s"]);
}
