//! The tool without root: with the capabilities that a unit or a file is given, it names the right process; each that is
//! missing is named with what it costs.

use rustix::fs::{XattrFlags, setxattr};
use rustix::thread::CapabilitySet;
use serde_json::Value;

use crate::support::EverybodysTool;
use crate::support::confined::Confined;
use crate::support::leaky::Leaky;
use crate::support::process::Process;
use crate::support::run::{Ran, run_command};
use crate::support::tracer::Tracer;

live_tests! {
    nobody_with_the_capabilities_of_a_unit_names_the_process,
    nobody_with_them_names_the_line_of_code,
    a_file_with_capabilities_names_the_process,
    each_missing_capability_is_named_with_what_it_costs,
    without_the_right_to_files_no_line_is_named_and_nothing_else_is_blamed,
    without_those_for_loading_the_command_ends_and_names_them,
}

/// What docs/kernels.md lists.
const UNIT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// With what lines of code take besides.
const WITH_LINES: CapabilitySet = UNIT.union(CapabilitySet::CHECKPOINT_RESTORE);

const OWN: [&str; 2] = ["--netns", "/proc/self/ns/net"];

fn now(leaky: &Leaky) -> Vec<String> {
    let port = leaky.truth().lport.to_string();
    ["now", "--format", "jsonl", "--lport", &port].into_iter().chain(OWN).map(str::to_owned).collect()
}

fn leak(ran: &Ran) -> Value {
    let records = ran.output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let leaks: Vec<Value> = records.filter(|record| record["type"] == "leak").collect();
    let [leak] = &leaks[..] else { panic!("one leak\n{}\n{}", ran.output, ran.messages) };
    leak.clone()
}

fn names_the_holder(ran: &Ran, leaky: &Leaky) {
    assert_eq!(ran.code, Some(0), "{}", ran.messages);
    let leak = leak(ran);
    let owner = &leak["owners"][0];
    assert_eq!(owner["pid"], leaky.truth().holders[0].pid, "{leak}");
    assert_eq!(owner["evidence"], "fd_table", "{leak}");
    // The program of another user's process.
    assert!(owner["exe"].as_str().is_some_and(|exe| exe.ends_with("leaky")), "{leak}");
    assert_eq!(leak["verdict"], "eof_read", "{leak}");
}

fn nobody_with_the_capabilities_of_a_unit_names_the_process() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let arguments = now(&leaky);
    let ran = Confined::Nobody(UNIT).run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    names_the_holder(&ran, &leaky);
}

fn nobody_with_them_names_the_line_of_code() {
    let arguments = ["leaks", "--older-than", "1s", OWN[0], OWN[1]];
    let tracer =
        Tracer::start_by(&arguments, |command| Process::start(Confined::Nobody(WITH_LINES).confine(command)));
    let leaky = Leaky::start("accepted_kept", &[]);
    let leaks = tracer.wait_for_each("leak", &leaky.truths);
    let opener = leaky.truth().opener.as_ref().unwrap();
    assert_eq!(leaks[0]["opened_by"]["pid"], opener.pid, "{}", leaks[0]);
    let site = leaks[0]["opened_by"]["site"].as_str().unwrap_or_default();
    assert!(site.contains("leaky::"), "{}", leaks[0]);
    let session = tracer.stop();
    assert!(!session.messages.contains("CAP_CHECKPOINT_RESTORE"), "{}", session.messages);
}

/// The extended attribute in which a file has its capabilities: `struct vfs_cap_data` of
/// include/uapi/linux/capability.h, version 2, in effect at once.
fn attribute(capabilities: CapabilitySet) -> Vec<u8> {
    const VERSION_AND_EFFECTIVE: u32 = 0x0200_0001;
    // The lower half of each set, then the upper one; nothing is inheritable.
    let bits = capabilities.bits().to_le_bytes();
    let (lower, upper) = bits.split_at(4);
    let nothing = [0; 4];
    [&VERSION_AND_EFFECTIVE.to_le_bytes()[..], lower, &nothing, upper, &nothing].concat()
}

fn a_file_with_capabilities_names_the_process() {
    let tool = EverybodysTool::new();
    setxattr(tool.path(), "security.capability", &attribute(UNIT), XattrFlags::empty()).unwrap();
    let leaky = Leaky::start("accepted_kept", &[]);
    let mut command = tool.command();
    let ran = run_command(Confined::Nobody(CapabilitySet::empty()).confine(command.args(now(&leaky))));
    names_the_holder(&ran, &leaky);
}

fn each_missing_capability_is_named_with_what_it_costs() {
    let leaky = Leaky::start("accepted_kept", &[]);
    let arguments = now(&leaky);
    // Without the one that reads any folder, the checkout may be out of reach.
    let tool = EverybodysTool::new();
    for (missing, words) in [
        (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE: other users' processes"),
        (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH: programs"),
        (CapabilitySet::empty(), "CAP_SYS_ADMIN: sockets in other network namespaces"),
    ] {
        let nobody = Confined::Nobody(UNIT.difference(missing));
        let ran = run_command(nobody.confine(tool.command().args(&arguments)));
        assert!(ran.messages.contains(words), "{words}\n{}", ran.messages);
    }
}

fn without_the_right_to_files_no_line_is_named_and_nothing_else_is_blamed() {
    let tracer = Tracer::start_by(&["leaks", "--older-than", "1s", OWN[0], OWN[1]], |command| {
        Process::start(Confined::Nobody(UNIT).confine(command))
    });
    for case in ["accepted_kept", "opener_deep_stack"] {
        let leaky = Leaky::start(case, &[]);
        for leak in tracer.wait_for_each("leak", &leaky.truths) {
            let opened_by = &leak["opened_by"];
            assert_eq!(opened_by["no_site"]["because"], "not_permitted", "{case}: {leak}");
        }
        let ran = Confined::Nobody(UNIT).run(&["doctor"]);
        assert!(ran.output.contains("the files that it has mapped may not be opened"), "{}", ran.output);
    }
    let session = tracer.stop();
    assert!(session.messages.contains("CAP_CHECKPOINT_RESTORE: no line of code"), "{}", session.messages);
}

fn without_those_for_loading_the_command_ends_and_names_them() {
    for (missing, words) in [
        (CapabilitySet::BPF, "at least CAP_BPF"),
        (CapabilitySet::PERFMON, "at least CAP_PERFMON"),
        (CapabilitySet::BPF.union(CapabilitySet::PERFMON), "at least CAP_BPF and CAP_PERFMON"),
    ] {
        let ran = Confined::Nobody(UNIT.difference(missing)).run(&["leaks", "--format", "jsonl"]);
        ran.refuses(3, &[words, "tcptrace doctor"]);
    }
}
