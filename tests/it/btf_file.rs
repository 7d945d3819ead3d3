//! A kernel that shows no BTF where it should be, and a file that has it.

use std::fs;

use serde_json::Value;

use crate::support::confined::Confined;
use crate::support::run::{Ran, run};

live_tests! {
    a_file_with_the_kernel_s_btf_stands_in_for_one_that_it_does_not_show,
}

const BTF: &str = "/sys/kernel/btf/vmlinux";

fn header(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    let line = ran.output.lines().next().expect("a header");
    serde_json::from_str(line).expect("a record")
}

fn a_file_with_the_kernel_s_btf_stands_in_for_one_that_it_does_not_show() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vmlinux.btf");
    fs::write(&file, fs::read(BTF).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    // What other tests do in namespaces of their own is not its concern.
    let own = ["--netns", "/proc/self/ns/net"];
    let session = [&["leaks", "--duration", "10ms", "--format", "jsonl"], &own[..]].concat();

    let without = Confined::NoBtf.run(&session);
    assert_eq!(header(&without)["backend"], "tracepoint", "{}", without.messages);
    for word in [BTF, "--btf FILE", "falling back"] {
        assert!(without.messages.contains(word), "{word} is not in {}", without.messages);
    }
    for arguments in [[&["--btf", file], &session[..]].concat(), [&session[..], &["--btf", file]].concat()] {
        let with = Confined::NoBtf.run(&arguments);
        assert_eq!(header(&with)["backend"], "btf", "{}", with.messages);
        assert_eq!(with.messages.matches("warning").count(), 0, "{}", with.messages);
    }
    let now = Confined::NoBtf.run(&[&["now", "--format", "jsonl", "--btf", file], &own[..]].concat());
    assert_eq!(header(&now)["backend"], "iterator", "{}", now.messages);
}

#[test]
fn a_file_that_is_no_btf_is_refused() {
    run(&["now", "--btf", "/nowhere/vmlinux"]).refuses(2, &["/nowhere/vmlinux", "--btf"]);
    run(&["--btf", "/proc/self/cmdline", "now"])
        .refuses(2, &["/proc/self/cmdline", "malformed BTF", "no BTF of a kernel"]);
    run(&["--btf", "/dev/zero", "leaks"]).refuses(2, &["/dev/zero", "64 MiB"]);
}
