//! What the host offers and lacks: told as it is, with what each lack costs, and in the exit code.

use rustix::thread::CapabilitySet;
use serde_json::Value;

use crate::support::confined::{Confined, in_pid_namespace};
use crate::support::leaky::Leaky;
use crate::support::run::{Ran, run};

live_tests! {
    a_host_that_lacks_nothing_is_told_so,
    a_program_with_sockets_is_told_with_what_names_its_lines,
    a_missing_capability_is_a_lack_with_its_cost_and_its_remedy,
    what_the_main_job_needs_is_in_the_exit_code,
    in_a_user_namespace_nothing_is_said_to_be_there_that_is_not,
    in_a_bare_root_what_is_to_be_mounted_is_named_and_not_another_kernel,
    a_limit_of_locked_memory_is_a_lack_where_maps_count_against_it,
    people_read_what_is_missing_first_and_the_sum_last,
}

const DOCTOR: [&str; 3] = ["doctor", "--format", "json"];

fn diagnosis(ran: &Ran) -> Value {
    serde_json::from_str(&ran.output)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.output, ran.messages))
}

fn checks(diagnosis: &Value) -> &Vec<Value> {
    diagnosis["checks"].as_array().expect("checks")
}

fn check<'a>(diagnosis: &'a Value, id: &str) -> &'a Value {
    let found = checks(diagnosis).iter().find(|check| check["id"] == id);
    found.unwrap_or_else(|| panic!("no check {id}\n{diagnosis}"))
}

/// Everything that the kernel has is tried; the tests have what `leaks` needs.
fn a_host_that_lacks_nothing_is_told_so() {
    let ran = run(&DOCTOR);
    let diagnosis = diagnosis(&ran);
    assert_eq!(ran.code, Some(0), "{diagnosis}");
    assert_eq!((&diagnosis["type"], &diagnosis["schema"]), (&"doctor".into(), &1.into()));
    assert_ne!(diagnosis["main_job"], "fails", "{diagnosis}");
    for id in [
        "ring_buffer",
        "perf_buffers",
        "tracefs",
        "classic_tracepoint",
        "sock_diag",
        "processes",
        "capability",
    ] {
        assert_eq!(check(&diagnosis, id)["state"], "ok", "{diagnosis}");
    }
    for check in checks(&diagnosis) {
        let is_missing = check["state"] == "missing";
        assert_eq!(is_missing, !check["lost"].is_null(), "a cost where something is missing: {check}");
        assert!(matches!(check["state"].as_str(), Some("ok" | "missing" | "not_tried")), "{check}");
    }
}

fn a_program_with_sockets_is_told_with_what_names_its_lines() {
    // It looks at a part of the processes, at those with the most sockets first: no other test has as many.
    // One that goes on without its main thread is a process like any other.
    for case in ["accepted_kept", "main_thread_ended"] {
        let leaky = Leaky::start(case, &["--count", "200"]);
        let diagnosis = diagnosis(&run(&DOCTOR));
        let pid = leaky.truths[0].holders[0].pid;
        let programs = diagnosis["programs"].as_array().expect("programs");
        let has_pid = |row: &&Value| row["pids"].as_array().is_some_and(|pids| pids.contains(&pid.into()));
        let row = programs.iter().find(has_pid).unwrap_or_else(|| panic!("{case}: no {pid}\n{diagnosis}"));
        assert!(row["comm"].as_str().is_some_and(|comm| comm.starts_with("leaky")), "{case}: {row}");
        assert_eq!(row["lines"], "debug information", "{case}: {row}");
        assert!(row["sockets"].as_u64() >= Some(200), "{case}: {row}");
    }
}

fn a_missing_capability_is_a_lack_with_its_cost_and_its_remedy() {
    let ran = Confined::Without(CapabilitySet::SYS_PTRACE).run(&DOCTOR);
    let diagnosis = diagnosis(&ran);
    assert_eq!((ran.code, &diagnosis["main_job"]), (Some(0), &"works_in_part".into()), "{diagnosis}");
    let lack = check(&diagnosis, "capability");
    assert_eq!((&lack["name"], &lack["state"]), (&"CAP_SYS_PTRACE".into(), &"missing".into()));
    assert!(lack["lost"].as_str().is_some_and(|lost| lost.contains("cannot be looked into")), "{lack}");
    assert!(lack["remedy"].as_str().is_some_and(|remedy| remedy.contains("setcap")), "{lack}");
}

fn what_the_main_job_needs_is_in_the_exit_code() {
    let loading = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN;
    for (ran, id) in [
        (Confined::Without(loading).run(&DOCTOR), "capability"),
        (in_pid_namespace(true, &DOCTOR), "processes"),
        (Confined::Descriptors { soft: 64, hard: 64 }.run(&DOCTOR), "open_files"),
    ] {
        let diagnosis = diagnosis(&ran);
        assert_eq!((ran.code, &diagnosis["main_job"]), (Some(1), &"fails".into()), "{id}: {diagnosis}");
        let lack = check(&diagnosis, id);
        assert_eq!((&lack["state"], &lack["is_needed"]), (&"missing".into(), &true.into()), "{lack}");
    }
}

/// Capabilities of another user namespace than the first show nothing and end nothing, whatever they are called.
fn in_a_user_namespace_nothing_is_said_to_be_there_that_is_not() {
    let ran = Confined::UserNamespace.run(&DOCTOR);
    let diagnosis = diagnosis(&ran);
    assert_eq!((ran.code, &diagnosis["main_job"]), (Some(1), &"fails".into()), "{diagnosis}");
    let inner = check(&diagnosis, "user_namespace");
    assert_eq!((&inner["state"], &inner["is_needed"]), (&"missing".into(), &true.into()), "{inner}");
    let destroy = check(&diagnosis, "sock_destroy");
    assert_eq!(destroy["state"], "missing", "{destroy}");
    for id in ["capability", "shutdown"] {
        let own = check(&diagnosis, id);
        assert!(
            own["detail"].as_str().is_some_and(|detail| detail.contains("this user namespace alone")),
            "{own}"
        );
    }
    let ran = Confined::UserNamespace.run(&["leaks", "--duration", "1s"]);
    assert_eq!(ran.code, Some(3), "{}", ran.messages);
    let said: Vec<&str> = ran.messages.lines().collect();
    assert!(matches!(said[..], [one] if one.contains("user namespace of its own")), "{}", ran.messages);
}

fn in_a_bare_root_what_is_to_be_mounted_is_named_and_not_another_kernel() {
    let ran = Confined::NoSys.run(&["leaks", "--duration", "1s"]);
    ran.refuses(3, &["sysfs is not mounted: mount -t sysfs sysfs /sys"]);
    let diagnosis = diagnosis(&Confined::NoSys.run(&DOCTOR));
    for id in ["btf", "tracefs"] {
        assert_eq!(check(&diagnosis, id)["remedy"], "mount -t sysfs sysfs /sys", "{diagnosis}");
    }
    // Without it nobody can tell what is lost.
    Confined::NoCpuList.run(&["trace", "--duration", "1s"]).refuses(3, &["cpu/possible", "mount -t sysfs"]);
    let diagnosis = self::diagnosis(&Confined::NoCpuList.run(&DOCTOR));
    assert_eq!(check(&diagnosis, "cpu_list")["is_needed"], true, "{diagnosis}");
    let diagnosis = self::diagnosis(&Confined::NoProc.run(&DOCTOR));
    for id in ["processes", "programs"] {
        assert_eq!(check(&diagnosis, id)["remedy"], "mount -t proc proc /proc", "{diagnosis}");
    }
    let containers = check(&diagnosis, "containers");
    assert_ne!(containers["detail"], "no container runs here", "{containers}");
    let ran = Confined::NoProc.run(&["trace", "--duration", "1s"]);
    assert!(
        ran.messages.contains("mount -t proc") && !ran.messages.contains("--pid=host"),
        "{}",
        ran.messages
    );
}

/// Some kernels count maps (before Linux 5.11), and refuse there what is larger; others do not.
fn a_limit_of_locked_memory_is_a_lack_where_maps_count_against_it() {
    let ran = Confined::LockedMemory(64 << 10).run(&DOCTOR);
    let diagnosis = diagnosis(&ran);
    let (ring, memlock) = (check(&diagnosis, "ring_buffer"), check(&diagnosis, "memlock"));
    assert_eq!(ring["state"], memlock["state"], "{ring}\n{memlock}");
    assert!(memlock["detail"].as_str().is_some_and(|detail| detail.starts_with("64 KiB; ")), "{memlock}");
    if memlock["state"] == "missing" {
        assert_eq!((ran.code, &diagnosis["main_job"]), (Some(1), &"fails".into()), "{diagnosis}");
        assert!(memlock["remedy"].as_str().is_some_and(|remedy| remedy.contains("ulimit -l")), "{memlock}");
    } else {
        assert_eq!(memlock["state"], "ok", "{memlock}");
    }
}

fn people_read_what_is_missing_first_and_the_sum_last() {
    let loading = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN;
    let ran = Confined::Without(loading).run(&["doctor"]);
    assert_eq!(
        (ran.code, ran.messages.as_str()),
        (Some(1), ""),
        "what is missing stands in the answer alone"
    );
    let at = |words: &str| ran.output.find(words).unwrap_or_else(|| panic!("no {words:?}\n{}", ran.output));
    assert!(at("NEEDED   CAP_BPF") < at("\nHost\n"), "{}", ran.output);
    let sum = ran.output.lines().last().unwrap_or_default();
    assert!(
        sum.ends_with("for want of: CAP_BPF, CAP_PERFMON."),
        "in a pipe no line is broken: {}",
        ran.output
    );
    for said in ["NEEDED   maps", "failed to create"] {
        assert!(
            !ran.output.contains(said),
            "what was not permitted says nothing of the kernel: {}",
            ran.output
        );
    }
}
