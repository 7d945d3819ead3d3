//! Where an owner runs: systemd units and containers, and the filters on them.

use serde_json::Value;

use crate::support::Backend;
use crate::support::leaky::Leaky;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

live_tests! {
    units_and_containers_are_told_by_their_cgroup,
    filters_on_the_owner_keep_only_what_is_asked_for,
}

const ID: &str = "4f6b0d2c9a8e7f1d3c5b6a798877665544332211ffeeddccbbaa998877665544";

fn units_and_containers_are_told_by_their_cgroup() {
    // Parallel runs must not share cgroups.
    let run = std::process::id();
    let pod = "kubepods-burstable-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice";
    let id = |first: char| format!("{first}{}{run:07}", &ID[1..57]);
    let unit = format!("leaky-test-{run}.service");
    let places = [
        (format!("system.slice/{unit}"), Some(unit.clone()), None),
        (format!("system.slice/docker-{}.scope", id('a')), None, Some(id('a'))),
        (format!("docker/{}", id('b')), None, Some(id('b'))),
        (format!("machine.slice/libpod-{}.scope", id('c')), None, Some(id('c'))),
        (
            format!("kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{}.scope", id('d')),
            None,
            Some(id('d')),
        ),
    ];
    let programs: Vec<Leaky> =
        places.iter().map(|(path, ..)| Leaky::start("cgroup", &["--cgroup", path])).collect();
    let truths: Vec<Truth> = programs.iter().map(|program| program.truth().clone()).collect();
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "0s"]);
    let leaks = tracer.wait_for_each("leak", &truths);
    for (((path, unit, container), leak), truth) in places.iter().zip(&leaks).zip(&truths) {
        let owner = &leak["owners"][0];
        assert_eq!(owner["pid"], truth.holders[0].pid, "{path}: {leak}");
        assert_eq!(owner["cgroup"], format!("/{path}"), "{path}: cgroup");
        assert_eq!(owner["unit"], Value::from(unit.clone()), "{path}: unit");
        // `docker ps` shows the beginning of the id.
        let shown = container.as_ref().map(|id| id[..12].to_owned());
        assert_eq!(owner["container"], Value::from(shown), "{path}: container");
    }
    let summary = tracer.stop();
    let processes = summary.summary()["processes"].as_array().unwrap().clone();
    for (leak, truth) in leaks.iter().zip(&truths) {
        let process = processes.iter().find(|process| process["pid"] == truth.holders[0].pid).unwrap();
        for field in ["unit", "container"] {
            assert_eq!(process[field], leak["owners"][0][field], "{field} in the summary");
        }
    }
}

fn filters_on_the_owner_keep_only_what_is_asked_for() {
    let run = std::process::id();
    let container = format!("e{}{run:07}", &ID[1..57]);
    let unit = format!("leaky-filter-{run}.service");
    // The tool inspects sockets in the order of their age: when it has reported one of the last, it has inspected the
    // others.
    let other = Leaky::start("accepted_kept", &[]);
    let in_unit = Leaky::start("cgroup", &["--cgroup", &format!("system.slice/{unit}")]);
    let in_container = Leaky::start("cgroup", &["--cgroup", &format!("docker/{container}")]);
    let renamed = Leaky::start("exec_renamed", &[]);
    let all = [&other, &in_unit, &in_container, &renamed].map(|program| program.truth().clone());
    let pid = all[3].holders[0].pid.to_string();
    let stem = unit.trim_end_matches(".service");
    let cases: [(&[&str], &[usize]); 8] = [
        (&["--pid", &pid], &[3]),
        (&["--comm", "leaky-renamed", "--pid", &pid], &[3]),
        (&["--comm", "leaky-holder", "--unit", &unit], &[1]),
        (&["--unit", &unit], &[1]),
        (&["--unit", stem], &[1]),
        (&["--container", &container], &[2]),
        (&["--container", &container[..12]], &[2]),
        (&["--pid", &pid, "--pid", &all[0].holders[0].pid.to_string()], &[0, 3]),
    ];
    for (filter, kept) in cases {
        let tracer = Tracer::start(Backend::Btf, &[&["leaks", "--older-than", "0s"], filter].concat());
        let expected: Vec<Truth> = kept.iter().map(|at| all[*at].clone()).collect();
        tracer.wait_for_each("leak", &expected);
        let session = tracer.stop();
        session.summary();
        for (at, truth) in all.iter().enumerate() {
            let count = truth.records("leak", &session.records).len();
            assert_eq!(count, usize::from(kept.contains(&at)), "{filter:?}: records of {}", truth.name());
        }
        let all_are_ours = |record: &Value| all.iter().any(|truth| truth.is_about(record));
        let surplus = session.records.iter().find(|record| record["type"] == "leak" && !all_are_ours(record));
        assert!(surplus.is_none(), "{filter:?} keeps a socket of another program: {surplus:?}");
    }
}
