//! A table of what real hosts write, and any other text.

use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// `$I` stands for the container id.
#[track_caller]
fn check(text: &str, path: &str, unit: Option<&str>, container: Option<&str>) {
    let CgroupMembership { path: found, unit: found_unit, container: found_container, task: _ } =
        parse(&text.replace("$I", ID));
    assert_eq!(found, Some(path.replace("$I", ID)));
    assert_eq!(found_unit, unit.map(|unit| unit.replace("$I", ID)), "{text}");
    let shown = found_container.map(|container| container.id.shown());
    assert_eq!(shown.as_deref(), container, "{text}");
}

/// On a v2 host.
#[track_caller]
fn check_path(path: &str, unit: Option<&str>, container: Option<&str>) {
    check(&format!("0::{path}\n"), path, unit, container);
}

const SHORT: Option<&str> = Some("0123456789ab");

#[test]
fn units_are_named_as_systemctl_takes_them() {
    check_path("/system.slice/nginx.service", Some("nginx.service"), None);
    check_path("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None);
    check_path(r"/system.slice/my\x2dapp.service", Some(r"my\x2dapp.service"), None);
    check_path("/system.slice/_cpu.service", Some("cpu.service"), None);
    check_path("/system.slice/web.service/workers/3", Some("web.service"), None);
    check_path("/init.scope", Some("init.scope"), None);
    check_path("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None);
    check_path(
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-editor.service",
        Some("app-editor.service"),
        None,
    );
    check_path("/user.slice/user-1000.slice/user@1000.service", Some("user@1000.service"), None);
    check_path(
        "/system.slice/gone.service (deleted)".trim_end_matches(" (deleted)"),
        Some("gone.service"),
        None,
    );
    check(
        "0::/system.slice/gone.service (deleted)\n",
        "/system.slice/gone.service",
        Some("gone.service"),
        None,
    );
    check_path("/system.slice", None, None);
    check_path("/", None, None);
}

#[test]
fn docker_and_podman_containers_are_told_by_their_short_id() {
    check_path("/system.slice/docker-$I.scope", None, SHORT);
    check_path("/docker/$I", None, SHORT);
    check_path("/docker/$I/system.slice/cron.service", Some("cron.service"), SHORT);
    check_path("/machine.slice/libpod-$I.scope", None, SHORT);
    check_path("/machine.slice/libpod-$I.scope/container", None, SHORT);
    check_path("/machine.slice/libpod-conmon-$I.scope", Some("libpod-conmon-$I.scope"), None);
    check_path("/system.slice/web.service/libpod-payload-$I", Some("web.service"), SHORT);
    check_path(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$I.scope/container",
        Some("user@1000.service"),
        SHORT,
    );
    check_path("/libpod_parent/libpod-$I", None, SHORT);
    check_path("/ecs/cluster/task/$I", None, SHORT);
}

#[test]
fn kubernetes_containers_are_told_with_both_drivers() {
    check_path(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a_2b.slice/cri-containerd-$I.scope",
        None,
        SHORT,
    );
    check_path("/kubepods.slice/kubepods-pod1a_2b.slice/crio-$I.scope", None, SHORT);
    let monitor = "crio-conmon-$I.scope";
    check_path("/kubepods.slice/kubepods-pod1a_2b.slice/crio-conmon-$I.scope", Some(monitor), None);
    check_path("/kubepods/besteffort/pod1a-2b/$I", None, SHORT);
    check_path(
        "/system.slice/containerd.service/kubepods-pod1a.slice:cri-containerd:$I",
        Some("containerd.service"),
        SHORT,
    );
    // kind, minikube: a container in a container; the innermost is the one that leaks.
    let inner = ID.replace('0', "f");
    check_path(&format!("/docker/{ID}/kubepods/pod1a/{inner}"), None, Some("f123456789ab"));
}

#[test]
fn system_containers_are_told_by_name() {
    check_path("/lxc/web", None, Some("web"));
    check_path("/lxc/web/system.slice/nginx.service", Some("nginx.service"), Some("web"));
    check_path("/lxc.payload.web/system.slice/nginx.service", Some("nginx.service"), Some("web"));
    check_path("/lxc.monitor.web", None, None);
    check_path(
        r"/machine.slice/systemd-nspawn@my\x2dbox.service/payload/system.slice/nginx.service",
        Some("nginx.service"),
        Some("my-box"),
    );
    check_path(r"/machine.slice/machine-my\x2dbox.scope", None, Some("my-box"));
    check_path(r"/machine.slice/machine-qemu\x2d1\x2dvm.scope", Some(r"machine-qemu\x2d1\x2dvm.scope"), None);
}

#[test]
fn several_hierarchies_give_the_answer_of_the_one_that_tells_most() {
    // v1 and v2 side by side, v2 not used.
    check(
        "9:name=systemd:/system.slice/web.service\n4:memory:/system.slice\n0::/\n",
        "/system.slice/web.service",
        Some("web.service"),
        None,
    );
    // v1, Docker with the cgroupfs driver; v2 left in the daemon's service.
    check(
        "12:memory:/docker/$I\n1:name=systemd:/docker/$I\n0::/system.slice/containerd.service\n",
        "/docker/$I",
        None,
        SHORT,
    );
    // No systemd: only a controller tells.
    check("9:name=systemd:/\n4:memory:/jobs/17\n0::/\n", "/jobs/17", None, None);
    check("2:cpu,cpuacct:/a:b\n", "/a:b", None, None);
}

#[test]
fn nothing_is_told_where_nothing_is_written() {
    assert_eq!(parse(""), CgroupMembership::default());
    assert_eq!(parse("nonsense\n0:\n::\n"), CgroupMembership::default());
    check_path("/a/.service/.scope", None, None);
    check_path(&format!("/docker/{}", &ID[..63]), None, None);
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_path_panics(path in r"(/(lxc|machine-|_|docker-|systemd-nspawn@|lxc.payload.|[a-f0-9]{64}|\\x[0-9a-g]{0,2}|é|\.service|\.scope|:|-){0,4}){0,4}") {
        let _ = parse(&format!("0::{path}"));
    }
}
