//! Containers and pods by the names that people use: told, filtered by, and refused where nobody has them. The files
//! that name them are planted where runtimes leave them; no runtime has to be there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::Backend;
use crate::support::leaky::Leaky;
use crate::support::run::run;
use crate::support::tracer::Tracer;
use crate::support::truth::Truth;

live_tests! {
    containers_and_pods_are_told_by_name_and_other_cgroups_are_none,
    filters_by_name_keep_what_is_asked_for_live_and_in_reports,
    a_name_that_nobody_has_is_refused_and_may_still_come_live,
}

/// Directories below /run as containerd makes them for its tasks. They go with this.
struct Tasks {
    namespace: String,
    folder: PathBuf,
}

impl Tasks {
    fn new(test: &str) -> Self {
        // Parallel runs must not share namespaces.
        let namespace = format!("leaky-{test}-{}", std::process::id());
        let folder = Path::new("/run/containerd/io.containerd.runtime.v2.task").join(&namespace);
        fs::create_dir_all(&folder).unwrap();
        Self { namespace, folder }
    }

    /// A task with these annotations of its bundle.
    fn add(&self, id: &str, annotations: &Value) {
        let folder = self.folder.join(id);
        fs::create_dir(&folder).unwrap();
        let config = serde_json::json!({ "ociVersion": "1.1.0", "annotations": annotations });
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    }

    /// A container of a pod, and the path of its cgroup.
    fn add_of_pod(&self, id: &str, container: &str, pod: &str, namespace: &str) -> String {
        self.add(
            id,
            &serde_json::json!({
                "io.kubernetes.cri.container-name": container,
                "io.kubernetes.cri.sandbox-name": pod,
                "io.kubernetes.cri.sandbox-namespace": namespace,
            }),
        );
        format!("kubepods/burstable/pod0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/{id}")
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let _not_there = fs::remove_dir_all(&self.folder);
        // Where a containerd runs, these are not empty.
        for folder in self.folder.ancestors().skip(1).take(2) {
            let _not_empty = fs::remove_dir(folder);
        }
    }
}

fn id(first: char) -> String {
    let digits = "4f6b0d2c9a8e7f1d3c5b6a798877665544332211ffeeddccbbaa998877665544";
    format!("{first}{}{:07}", &digits[1..57], std::process::id())
}

fn in_cgroup(path: &str) -> Leaky {
    Leaky::start("cgroup", &["--cgroup", path])
}

/// Container, its name, pod and namespace of an owner or of a process in the summary.
fn place(record: &Value) -> [Option<String>; 4] {
    ["container", "container_name", "pod", "pod_namespace"]
        .map(|field| record.get(field).expect(field).as_str().map(str::to_owned))
}

fn known(names: [&str; 4]) -> [Option<String>; 4] {
    names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()))
}

fn containers_and_pods_are_told_by_name_and_other_cgroups_are_none() {
    let tasks = Tasks::new("told");
    let namespace = &tasks.namespace;
    let pod = tasks.add_of_pod(&id('a'), "app", "web-7d9f", "shop");
    tasks.add("web", &Value::Null);
    let handle = "6f265890-5165-7fab-6b52-18d1";
    let fargate = format!("{}-{}", &id('b')[..32], std::process::id());
    let build = format!("f5lxx1zz5pnorynqg{:08}", std::process::id());
    let places = [
        (pod, [&id('a')[..12], "app", "web-7d9f", "shop"]),
        (format!("{namespace}/web"), ["web", "web", "", ""]),
        (format!("{namespace}/other"), ["", "", "", ""]),
        (format!("garden/{handle}"), [handle, "", "", ""]),
        (format!("flowers/{handle}"), ["", "", "", ""]),
        (format!("ecs/{}/{fargate}", &fargate[..32]), [&fargate, "", "", ""]),
        (format!("docker/buildkit/{build}"), [&build, "", "", ""]),
        (format!("lxc.payload.{namespace}/init.scope"), [namespace, namespace, "", ""]),
        (format!("docker/{}", id('c')), [&id('c')[..12], "", "", ""]),
    ];
    let programs: Vec<Leaky> = places.iter().map(|(path, _)| in_cgroup(path)).collect();
    let truths: Vec<Truth> = programs.iter().map(|program| program.truth().clone()).collect();
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "0s"]);
    let leaks = tracer.wait_for_each("leak", &truths);
    for ((path, expected), leak) in places.iter().zip(&leaks) {
        assert_eq!(place(&leak["owners"][0]), known(*expected), "{path}: {leak}");
    }
    let session = tracer.stop();
    let processes = session.summary()["processes"].as_array().unwrap();
    for ((path, expected), truth) in places.iter().zip(&truths) {
        let process = processes.iter().find(|process| process["pid"] == truth.holders[0].pid).unwrap();
        assert_eq!(place(process), known(*expected), "{path} in the summary");
    }
    let text = run(&["now", "--by", "pod", "--rows", "0", "--pid", &truths[0].holders[0].pid.to_string()]);
    assert!(text.output.contains("shop/web-7d9f: 1 socket"), "{}", text.output);
    assert!(text.output.contains("pod shop/web-7d9f, container app"), "{}", text.output);
}

fn filters_by_name_keep_what_is_asked_for_live_and_in_reports() {
    let tasks = Tasks::new("kept");
    let (shop, other) = (format!("shop-{}", std::process::id()), format!("other-{}", std::process::id()));
    let web = format!("{}-web", tasks.namespace);
    let paths = [
        tasks.add_of_pod(&id('1'), "app", "api-1", &shop),
        tasks.add_of_pod(&id('2'), "sidecar", "api-1", &shop),
        tasks.add_of_pod(&id('3'), "app", "api-1", &other),
        format!("{}/{web}", tasks.namespace),
    ];
    tasks.add(&web, &Value::Null);
    let programs: Vec<Leaky> = paths.iter().map(|path| in_cgroup(path)).collect();
    let truths: Vec<Truth> = programs.iter().map(|program| program.truth().clone()).collect();
    let of_shop = format!("{shop}/api-1");
    let cases: [(&[&str], &[usize]); 7] = [
        (&["--namespace", &shop], &[0, 1]),
        (&["--namespace", &shop, "--namespace", &other], &[0, 1, 2]),
        (&["--pod", &of_shop], &[0, 1]),
        (&["--pod", &of_shop, "--container", "app"], &[0]),
        (&["--pod", "api-1", "--namespace", &other], &[2]),
        (&["--container", &web], &[3]),
        (&["--container", &web, "--container", &id('2')], &[1, 3]),
    ];
    let folder = TempDir::new().unwrap();
    let recording = folder.path().join("all.tct");
    let recording = recording.to_str().unwrap();
    let tracer = Tracer::start_plain(&["leaks", "--older-than", "0s", "-o", "-", "-o", recording]);
    tracer.wait_for_each("leak", &truths);
    tracer.stop().summary();
    for (filter, kept) in cases {
        let expected: Vec<&str> = kept.iter().map(|at| paths[*at].as_str()).collect();
        let cgroups = |leaks: &[Value]| -> Vec<String> {
            let mut found: Vec<String> = leaks
                .iter()
                .map(|leak| leak["owners"][0]["cgroup"].as_str().unwrap().trim_start_matches('/').to_owned())
                .collect();
            found.sort_by_key(|path| paths.iter().position(|known| known == path));
            found
        };
        let now = run(&[&["now", "--format", "jsonl"], filter].concat());
        let records: Vec<Value> =
            now.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let leaks: Vec<Value> = records.into_iter().filter(|record| record["type"] == "leak").collect();
        assert_eq!(cgroups(&leaks), expected, "now {filter:?}: {}", now.messages);
        let dry_run = run(&[&["clear", "--older-than", "0s", "--format", "jsonl"], filter].concat());
        let chosen = dry_run.output.lines().filter(|line| line.contains("\"cleared\"")).count();
        assert_eq!(chosen, kept.len(), "clear {filter:?}: {}", dry_run.output);
        let live = Tracer::start(Backend::Btf, &[&["leaks", "--older-than", "0s"], filter].concat());
        let wanted: Vec<Truth> = kept.iter().map(|at| truths[*at].clone()).collect();
        live.wait_for_each("leak", &wanted);
        let session = live.stop();
        assert!(!session.messages.contains("warning"), "{filter:?}: {}", session.messages);
        let leaks: Vec<Value> =
            session.records.iter().filter(|record| record["type"] == "leak").cloned().collect();
        assert_eq!(cgroups(&leaks), expected, "leaks {filter:?}");
        let report = run(&[&["report", recording, "--format", "json"], filter].concat());
        let report: Value = serde_json::from_str(&report.output).unwrap();
        assert_eq!(report["close_wait"]["stuck"], kept.len(), "report {filter:?}");
        assert!(!report["cannot_claim"].to_string().contains("nobody_called"), "report {filter:?}");
    }
    let report = run(&["report", recording, "--format", "json", "--pod", "nobody"]);
    assert_eq!(report.code, Some(0), "{}", report.messages);
    assert!(report.output.contains("nobody_called"), "{}", report.output);
    assert!(report.output.contains(&format!("pod {of_shop}, container sidecar")), "{}", report.output);
}

fn a_name_that_nobody_has_is_refused_and_may_still_come_live() {
    let tasks = Tasks::new("come");
    let (here, later) = (format!("{}-here", tasks.namespace), format!("{}-later", tasks.namespace));
    tasks.add(&here, &Value::Null);
    let _here = in_cgroup(&format!("{}/{here}", tasks.namespace));
    for option in ["--container", "--pod", "--namespace"] {
        for command in [&["now"][..], &["clear", "--older-than", "0s"], &["time-wait"]] {
            run(&[command, &[option, "nobody-has-it"]].concat()).refuses(2, &["nobody-has-it", "crictl"]);
        }
    }
    run(&["now", "--container", &later]).refuses(2, &[&later, &here]);
    let tracer = Tracer::start(Backend::Btf, &["leaks", "--older-than", "0s", "--container", &later]);
    tasks.add(&later, &Value::Null);
    let program = in_cgroup(&format!("{}/{later}", tasks.namespace));
    tracer.wait_for_each("leak", &[program.truth().clone()]);
    let session = tracer.stop();
    session.summary();
    assert!(session.messages.contains(&later), "{}", session.messages);
    assert_eq!(session.records.iter().filter(|record| record["type"] == "leak").count(), 1);
}
