//! Containers whose ids have other shapes, paths that only look so, and any other text.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TASK: &str = "34dc0b5e626f2c5c4c5170e34b10e765";
const BUILD: &str = "f5lxx1zz5pnorynqglhzmsp33";

#[track_caller]
fn check(path: &str, expected: Option<&ContainerId>) {
    let fill = |text: &str| text.replace("$I", ID).replace("$T", TASK).replace("$B", BUILD);
    assert_eq!(container(&fill(path)).map(|container| container.id).as_ref(), expected, "{path}");
}

fn handle(id: &str) -> ContainerId {
    ContainerId::Handle(id.to_owned())
}

#[test]
fn ids_of_ecs_are_known_below_what_ecs_makes() {
    let id = format!("{TASK}-1234567890");
    for path in [
        "/ecs/$T/$T-1234567890",
        "/ecs/$T-1234567890",
        "/ecs/my-cluster/$T/$T-1234567890",
        "/ecs/$T/$T-1234567890/init",
        "/ecstasks.slice/ecstasks-$T.slice/$T-1234567890",
    ] {
        check(path, Some(&handle(&id)));
    }
    let digest = ContainerId::Digest(ID.to_owned());
    check("/ecs/55091c13-b8cf-4801-b527-f4601742204d/$I", Some(&digest));
    check("/ecstasks.slice/ecstasks-$T.slice/docker-$I.scope", Some(&digest));
    assert_eq!(handle(&id).shown(), id);
}

#[test]
fn handles_of_garden_are_known_below_its_directory() {
    let uuid = "6f265890-5165-7fab-6b52-18d1c0ffee00";
    let instance = "6f265890-5165-7fab-6b52-18d1";
    for id in [uuid, instance, "170vhjucb8u"] {
        for path in [
            format!("/garden/{id}"),
            format!("/system.slice/garden.service/garden/{id}"),
            format!("/system.slice/garden.service/{id}"),
            format!("/garden/good/{id}"),
            format!("/garden/bad/{id}"),
            format!("/garden-t/{id}"),
            format!("/garden/{id}/init"),
        ] {
            check(&path, Some(&handle(id)));
        }
        check(&format!("/flowers/{id}"), None);
        check(&format!("/system.slice/{id}"), None);
    }
    check("/system.slice/garden.service", None);
    check("/garden/good", None);
    check("/garden/tools", None);
}

#[test]
fn builds_are_known_below_buildkit_and_by_their_scopes() {
    for path in [
        "/buildkit/$B",
        "/docker/buildkit/$B",
        "/system.slice/docker-$B.scope",
        "/system.slice/buildkit-$B.scope",
        // In a container of its own.
        "/docker/$I/buildkit/$B",
    ] {
        check(path, Some(&handle(BUILD)));
    }
    for path in
        ["/$B", "/jobs/$B", "/buildkit/worker", "/system.slice/app-$B.scope", "/system.slice/$B.service"]
    {
        check(path, None);
    }
}

#[test]
fn the_innermost_of_nested_containers_counts() {
    let inner = "f".repeat(64);
    let digest = |id: &str| ContainerId::Digest(id.to_owned());
    check(&format!("/docker/$I/docker/{inner}"), Some(&digest(&inner)));
    check(&format!("/system.slice/docker-$I.scope/system.slice/docker-{inner}.scope"), Some(&digest(&inner)));
    check("/docker/$I/init.scope", Some(&digest(ID)));
    check("/docker/$I/docker/buildkit/$B", Some(&handle(BUILD)));
    check("/lxc.payload.box/docker/$I", Some(&digest(ID)));
    check("/docker/$I/lxc.payload/box", Some(&ContainerId::Name("box".to_owned())));
    // Seen from another namespace of cgroups.
    check("/../$I", Some(&digest(ID)));
    check("/../../system.slice/docker-$I.scope", Some(&digest(ID)));
}

#[test]
fn ordinary_directories_are_no_containers() {
    for path in [
        "/user.slice/user-1000.slice/session-3.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0b5e626f-2c5c-4c51-70e3-4b10e7654ce3.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-$I.scope",
        "/system.slice/run-r$T.scope",
        "/system.slice/run-$I.scope",
        "/system.slice/worker-$I.service",
        "/system.slice/$I.service",
        "/system.slice/$T.service",
        "/process_api/$T",
        "/jobs/$T-17",
        "/default/web",
        "/lxc",
        "/lxc.monitor/web",
        "/kubepods/burstable/pod0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
        "/machine.slice/machine-.scope",
        "/docker/0123456789AB",
    ] {
        check(path, None);
    }
}

#[test]
fn containerd_may_have_made_a_path_of_two_names() {
    let task = |path| task_path(path).map(|TaskPath { namespace, id }| format!("{namespace} {id}"));
    assert_eq!(task("/default/web").as_deref(), Some("default web"));
    assert_eq!(task("/default/web/init").as_deref(), Some("default web"));
    assert_eq!(task("/my-team/web_1.2").as_deref(), Some("my-team web_1.2"));
    for path in [
        "/",
        "/default",
        "/system.slice/cron.service",
        "/user.slice/user-0.slice",
        "/a/..",
        "/../web",
        "/a/b c",
    ] {
        assert_eq!(task(path), None, "{path}");
    }
    assert_eq!(task(&format!("/default/{}", "n".repeat(77))), None);
}

#[test]
fn pods_and_users_are_read_off_the_path() {
    let of = |path: &str| {
        let ContainerCgroup { id: _, pod_uid, user } = container(&path.replace("$I", ID)).unwrap();
        (pod_uid, user)
    };
    let uid = Some("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9".to_owned());
    for path in [
        "/kubepods/burstable/pod0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/$I",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice/cri-containerd-$I.scope",
        "/kubepods.slice/kubepods-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice/crio-$I.scope/container",
        "/system.slice/containerd.service/kubepods-burstable-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice:cri-containerd:$I",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice/cri-containerd-$I.scope",
    ] {
        assert_eq!(of(path), (uid.clone(), None), "{path}");
    }
    assert_eq!(of("/docker/$I"), (None, None));
    assert_eq!(of("/tripods/podium/$I"), (None, None));
    assert_eq!(
        of("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$I.scope/container"),
        (None, Some(1000))
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = (container(&text), task_path(&text), is_of_runtime(&text), unescape(&text));
    }

    #[test]
    fn no_path_panics(path in r"(/(ecs|ecstasks-|garden|good|buildkit|lxc|kubepods|-pod|machine-|docker-|systemd-nspawn@|lxc.payload.|user-|[a-f0-9]{64}|[a-f0-9]{32}-[0-9]|[a-z0-9]{25}|[a-v]{11}|\\x[0-9a-g]{0,2}|é|\.service|\.scope|\.slice|:|-|_){0,4}){0,5}") {
        let found = container(&path);
        prop_assert!(found.is_none_or(|found| !found.id.shown().is_empty()));
        let _ = (task_path(&path), is_of_runtime(&path), unescape(&path));
    }
}
