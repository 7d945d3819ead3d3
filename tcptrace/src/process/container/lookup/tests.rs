//! Directories planted as the runtimes and the kubelet write them, and as nobody should.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::{fs, os::unix::fs::symlink, path::Path};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::host::clock::Clocks;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let host = Self { directory: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            host.write(&path.replace("$I", ID), &text.replace("$I", ID));
        }
        host
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn lookup(&self) -> ContainerLookup {
        ContainerLookup::new(&World::planted(self.path(), Clocks::scripted(0)))
    }

    /// The names of the container in this cgroup: container, pod, namespace.
    fn names_in(&self, cgroup: &str) -> [Option<String>; 3] {
        let lookup = self.lookup();
        let membership = lookup.membership(&format!("0::{}\n", cgroup.replace("$I", ID)));
        let ContainerNames { container, pod, namespace } =
            membership.container.map(|container| lookup.names(&container)).unwrap_or_default();
        [container, pod, namespace]
    }
}

/// Names, where an empty one is not known.
fn names(container: &str, pod: &str, namespace: &str) -> [Option<String>; 3] {
    [container, pod, namespace].map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()))
}

const POD: &str =
    "/kubepods.slice/kubepods-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice/cri-containerd-$I.scope";
const CRI: &str = r#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"app",
    "io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-name":"web-7d9f",
    "io.kubernetes.cri.sandbox-namespace":"shop"},"linux":{}}"#;

#[test]
fn containerd_names_pods_in_the_bundle() {
    for state in [
        "run/containerd",
        "run/k3s/containerd",
        "run/k0s/containerd",
        "var/snap/microk8s/common/run/containerd",
    ] {
        let bundle = format!("{state}/io.containerd.runtime.v2.task/k8s.io/$I/config.json");
        assert_eq!(Host::new(&[(&bundle, CRI)]).names_in(POD), names("app", "web-7d9f", "shop"), "{state}");
    }
    // The sandbox of a pod has no name of its own.
    let sandbox = r#"{"annotations":{"io.kubernetes.cri.container-type":"sandbox",
        "io.kubernetes.cri.sandbox-name":"web-7d9f","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
    let bundle = "run/containerd/io.containerd.runtime.v2.task/k8s.io/$I/config.json";
    assert_eq!(Host::new(&[(bundle, sandbox)]).names_in(POD), names("", "web-7d9f", "shop"));
    let nerdctl = r#"{"annotations":{"nerdctl/name":"web","nerdctl/namespace":"default"}}"#;
    let bundle = "run/containerd/io.containerd.runtime.v2.task/default/$I/config.json";
    assert_eq!(
        Host::new(&[(bundle, nerdctl)]).names_in("/system.slice/nerdctl-$I.scope"),
        names("web", "", "")
    );
}

#[test]
fn a_task_of_containerd_is_a_container_and_other_paths_of_two_names_are_not() {
    let host = Host::new(&[("run/containerd/io.containerd.runtime.v2.task/default/web/config.json", "{}")]);
    assert_eq!(host.names_in("/default/web"), names("web", "", ""));
    assert_eq!(host.names_in("/default/web/init"), names("web", "", ""));
    assert_eq!(host.names_in("/default/other"), names("", "", ""));
    assert_eq!(host.names_in("/team/web"), names("", "", ""));
    let lookup = host.lookup();
    let membership = lookup.membership(
        "4:memory:/default/web\n1:name=systemd:/default/web\n0::/system.slice/containerd.service\n",
    );
    assert_eq!(membership.path.as_deref(), Some("/default/web"));
    assert_eq!(membership.unit, None);
    assert_eq!(membership.container.unwrap().id, ContainerId::Name("web".to_owned()));
    let membership = lookup.membership("4:memory:/default/other\n0::/system.slice/containerd.service\n");
    assert_eq!(membership.path.as_deref(), Some("/system.slice/containerd.service"));
    assert_eq!((membership.unit.as_deref(), membership.container), (Some("containerd.service"), None));
}

#[test]
fn docker_names_containers_and_those_of_the_kubelet() {
    let file = "var/lib/docker/containers/$I/config.v2.json";
    let plain = r#"{"ID":"$I","Name":"/web","Config":{"Hostname":"vm","Labels":{}}}"#;
    for cgroup in ["/docker/$I", "/system.slice/docker-$I.scope", "/docker/$I/init"] {
        assert_eq!(Host::new(&[(file, plain)]).names_in(cgroup), names("web", "", ""));
    }
    let of_kubelet = r#"{"Name":"/k8s_app_web-7d9f_shop_0a1b_0","Config":{"Labels":{"io.kubernetes.container.name":"app",
        "io.kubernetes.pod.name":"web-7d9f","io.kubernetes.pod.namespace":"shop"}}}"#;
    assert_eq!(Host::new(&[(file, of_kubelet)]).names_in("/docker/$I"), names("app", "web-7d9f", "shop"));
    let elsewhere = [
        ("etc/docker/daemon.json", r#"{"data-root":"/data/docker"}"#),
        ("data/docker/containers/$I/config.v2.json", plain),
    ];
    assert_eq!(Host::new(&elsewhere).names_in("/docker/$I"), names("web", "", ""));
}

#[test]
fn podman_and_crio_name_containers_in_their_storage() {
    let list = r#"[{"id":"ffff","names":["other"]},{"id":"$I","names":["web"],"metadata":"{}","flags":{"Volatile":true}}]"#;
    for file in [
        "var/lib/containers/storage/overlay-containers/containers.json",
        "var/lib/containers/storage/vfs-containers/containers.json",
        "var/lib/containers/storage/overlay-containers/volatile-containers.json",
        "run/containers/storage/overlay-containers/volatile-containers.json",
    ] {
        assert_eq!(
            Host::new(&[(file, list)]).names_in("/machine.slice/libpod-$I.scope"),
            names("web", "", "")
        );
    }
    let bundle = "run/containers/storage/overlay-containers/$I/userdata/config.json";
    let crio = r#"{"annotations":{"io.kubernetes.pod.name":"web-7d9f","io.kubernetes.pod.namespace":"shop",
        "io.kubernetes.container.name":"app","io.container.manager":"cri-o"}}"#;
    let cgroup = "/kubepods.slice/kubepods-pod1a.slice/crio-$I.scope";
    assert_eq!(Host::new(&[(bundle, crio)]).names_in(cgroup), names("app", "web-7d9f", "shop"));
    let sandbox = crio.replace(r#"name":"app""#, r#"name":"POD""#);
    assert_eq!(Host::new(&[(bundle, &sandbox)]).names_in(cgroup), names("", "web-7d9f", "shop"));
    let elsewhere = [
        (
            "etc/containers/storage.conf",
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"/data/containers\"\n",
        ),
        ("data/containers/overlay-containers/containers.json", list),
    ];
    assert_eq!(Host::new(&elsewhere).names_in("/libpod_parent/libpod-$I"), names("web", "", ""));
}

#[test]
fn runtimes_without_root_name_containers_in_the_home_of_their_user() {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = format!("root:x:99999:0:root:/root:/bin/bash\nme:x:{uid}:{uid}:Me,,:/home/me:/bin/bash\n");
    let list = r#"[{"id":"$I","names":["web"]}]"#;
    let file = "home/me/.local/share/containers/storage/overlay-containers/containers.json";
    let cgroup =
        format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/libpod-$I.scope/container");
    let host = Host::new(&[("etc/passwd", &passwd), (file, list)]);
    assert_eq!(host.names_in(&cgroup), names("web", "", ""));
    // Their links are not followed.
    let home = host.path().join("home/me");
    fs::rename(home.join(".local"), home.join("real")).unwrap();
    symlink("real", home.join(".local")).unwrap();
    assert_eq!(host.names_in(&cgroup), names("", "", ""));
    let docker = "home/me/.local/share/docker/containers/$I/config.v2.json";
    let host = Host::new(&[("etc/passwd", &passwd), (docker, r#"{"Name":"/web"}"#)]);
    assert_eq!(host.names_in(&cgroup.replace("libpod", "docker")), names("web", "", ""));
    assert_eq!(host.names_in("/user.slice/user-12.slice/docker-$I.scope"), names("", "", ""));
}

#[test]
fn the_kubelets_logs_name_what_no_runtime_does() {
    let log = "var/log/containers/web-7d9f_shop_app-$I.log";
    assert_eq!(Host::new(&[(log, "")]).names_in(POD), names("app", "web-7d9f", "shop"));
    // A name that ends in the id of another is not cut wrongly.
    let log = "var/log/containers/web-7d9f_shop_my-app-$I.log";
    assert_eq!(Host::new(&[(log, "")]).names_in(POD), names("my-app", "web-7d9f", "shop"));
    let pod = "var/log/pods/shop_web-7d9f_0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/app/0.log";
    assert_eq!(Host::new(&[(pod, "")]).names_in(POD), names("", "web-7d9f", "shop"));
    let crio = POD.replace("cri-containerd", "crio");
    assert_eq!(Host::new(&[(log, "")]).names_in(&crio), names("my-app", "web-7d9f", "shop"));
    assert_eq!(Host::new(&[(pod, "")]).names_in("/docker/$I"), names("", "", ""));
}

#[test]
fn containers_with_names_have_them_without_any_file() {
    let host = Host::new(&[]);
    assert_eq!(host.names_in("/lxc.payload.box/init.scope"), names("box", "", ""));
    assert_eq!(host.names_in("/garden/6f265890-5165-7fab-6b52-18d1"), names("", "", ""));
    assert_eq!(host.names_in("/docker/$I"), names("", "", ""));
}

#[test]
fn a_look_stays_within_the_root_of_pid_1() {
    let text = r#"{"Name":"/planted"}"#;
    let host = Host::new(&[
        ("proc/1/root/etc/hostname", "host"),
        ("outside/docker/containers/$I/config.v2.json", text),
    ]);
    let root = host.path().join("proc/1/root");
    fs::create_dir_all(root.join("var/lib")).unwrap();
    // Out of it by a relative link, by an absolute one, and by a file that is a link.
    symlink("../../../../../outside/docker", root.join("var/lib/docker")).unwrap();
    assert_eq!(host.names_in("/docker/$I"), names("", "", ""));
    fs::remove_file(root.join("var/lib/docker")).unwrap();
    symlink(host.path().join("outside/docker"), root.join("var/lib/docker")).unwrap();
    assert_eq!(host.names_in("/docker/$I"), names("", "", ""));
    // An absolute link is one within the root.
    fs::create_dir_all(root.join("data/docker/containers").join(ID)).unwrap();
    fs::remove_file(root.join("var/lib/docker")).unwrap();
    symlink("/data/docker", root.join("var/lib/docker")).unwrap();
    let file = root.join("data/docker/containers").join(ID).join("config.v2.json");
    symlink(host.path().join("outside/docker/containers").join(ID).join("config.v2.json"), &file).unwrap();
    assert_eq!(host.names_in("/docker/$I"), names("", "", ""));
    fs::remove_file(&file).unwrap();
    fs::write(&file, r#"{"Name":"/web"}"#).unwrap();
    assert_eq!(host.names_in("/docker/$I"), names("web", "", ""));
    // What lies beside the root of pid 1 is not looked at.
    host.write(&format!("var/lib/docker/containers/{ID}/config.v2.json"), text);
    assert_eq!(host.names_in("/docker/$I"), names("web", "", ""));
}

#[test]
fn hostile_files_name_nothing_and_hold_nobody_up() {
    let file = "var/lib/docker/containers/$I/config.v2.json";
    let deep = format!("{{\"Name\":{}", "[".repeat(100_000));
    let huge = format!(r#"{{"Name":"/web","Args":["{}"]}}"#, "x".repeat(1_100_000));
    for text in [
        "",
        "{",
        "[]",
        "null",
        r#"{"Name":7}"#,
        r#"{"Name":null,"Config":[]}"#,
        r#"{"Name":""}"#,
        &deep,
        &huge,
    ] {
        assert_eq!(Host::new(&[(file, text)]).names_in("/docker/$I"), names("", "", ""));
    }
    let long = format!(r#"{{"Name":"/{}"}}"#, "é".repeat(5_000));
    let [name, ..] = Host::new(&[(file, &long)]).names_in("/docker/$I");
    assert_eq!(name.unwrap().chars().count(), 256);
    let host = Host::new(&[("var/lib/docker/containers/$I/hosts", "")]);
    let pipe = host.path().join(file.replace("$I", ID));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(host.names_in("/docker/$I"), names("", "", ""));
}

#[test]
fn a_container_is_looked_up_once_and_one_without_a_name_again_each_round() {
    let file = format!("var/lib/docker/containers/{ID}/config.v2.json");
    let host = Host::new(&[]);
    let lookup = host.lookup();
    let container = lookup.membership(&format!("0::/docker/{ID}\n")).container.unwrap();
    let name = || lookup.clone().names(&container).container;
    assert_eq!(name(), None);
    host.write(&file, r#"{"Name":"/web"}"#);
    assert_eq!(name(), None);
    lookup.begin_round();
    assert_eq!(name().as_deref(), Some("web"));
    host.write(&file, r#"{"Name":"/renamed"}"#);
    lookup.begin_round();
    assert_eq!(name().as_deref(), Some("web"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
        let host = Host::new(&[]);
        for file in ["etc/passwd", "etc/docker/daemon.json", "etc/containers/storage.conf"] {
            host.write(file, &text);
        }
        let files = [
            "var/lib/docker/containers/$I/config.v2.json",
            "var/lib/containers/storage/overlay-containers/containers.json",
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/$I/config.json",
        ];
        for file in files {
            host.write(&file.replace("$I", ID), "");
            fs::write(host.path().join(file.replace("$I", ID)), &bytes).unwrap();
        }
        let _ = host.names_in("/user.slice/user-0.slice/docker-$I.scope");
        let _ = host.names_in(POD);
    }
}
