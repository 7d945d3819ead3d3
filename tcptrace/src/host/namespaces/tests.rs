//! Planted /proc trees, and live: a namespace of its own with leaks in it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::symlink,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use netlink_packet_core::{Emitable as _, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use proptest::prelude::*;

use super::*;
use crate::{
    host::clock::Clocks,
    model::{socket::TcpFlavour, state::StateSet},
    netlink::SockDiag,
};

const SOCKSTAT: &str = "sockets: used 20\nTCP: inuse 7 orphan 0 tw 3 alloc 9 mem 239\nUDP: inuse 1 mem 0\n";
const SOCKSTAT6: &str = "TCP6: inuse 4\nUDP6: inuse 0\n";

/// Namespaces are plain files in `namespaces/`, which `PID/ns/net` link to.
fn plant(root: &Path, process: &str, namespace: &str) {
    let target = root.join("namespaces").join(namespace);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    File::options().create(true).append(true).open(&target).unwrap();
    let directory = root.join("proc").join(process);
    fs::create_dir_all(directory.join("ns")).unwrap();
    fs::create_dir_all(directory.join("net")).unwrap();
    symlink(target, directory.join("ns/net")).unwrap();
    fs::write(directory.join("net/sockstat"), SOCKSTAT).unwrap();
    fs::write(directory.join("net/sockstat6"), SOCKSTAT6).unwrap();
}

fn world(root: &Path) -> World {
    World::planted(root, Clocks::scripted(0))
}

#[test]
fn each_namespace_is_found_once_and_its_own_first() {
    let root = tempfile::tempdir().unwrap();
    let proc_root = root.path().join("proc");
    for (process, namespace) in
        [("thread-self", "host"), ("1", "host"), ("20", "blue"), ("21", "blue"), ("sys", "none")]
    {
        plant(root.path(), process, namespace);
    }
    fs::create_dir_all(proc_root.join("30")).unwrap(); // ended meanwhile
    let mounts = root.path().join("netns");
    fs::create_dir(&mounts).unwrap();
    fs::hard_link(root.path().join("namespaces/blue"), mounts.join("blue")).unwrap();
    fs::write(mounts.join("green"), "").unwrap();
    symlink("/proc/version", mounts.join("left-over")).unwrap(); // on another file system

    let found = discover(&world(root.path()));
    assert!(found.unread.is_empty() && found.unlisted.is_empty() && found.errors.is_empty());
    let origins: Vec<_> = found.namespaces.iter().map(|namespace| namespace.found_as.clone()).collect();
    let [NamespaceOrigin::Own, NamespaceOrigin::Process(20 | 21), NamespaceOrigin::BindMount] = &origins[..]
    else {
        panic!("{origins:?}");
    };
    assert!(found.namespaces[2].path().ends_with("green"));
    let counts: Vec<_> = found.namespaces.iter().map(|namespace| namespace.tcp_in_use(&proc_root)).collect();
    assert_eq!(counts, [Some(11), Some(11), None]);
}

#[test]
fn what_cannot_be_read_is_said_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), "thread-self", "host");
    // A link that leads to itself: the one error that root meets in planted files.
    let directory = root.path().join("proc/40/ns");
    fs::create_dir_all(&directory).unwrap();
    symlink("net", directory.join("net")).unwrap();
    fs::create_dir_all(root.path().join("proc/40/net")).unwrap();
    symlink("sockstat", root.path().join("proc/40/net/sockstat")).unwrap();
    // One that ended and was not waited for has neither.
    fs::create_dir_all(root.path().join("proc/50/ns")).unwrap();
    symlink("net", root.path().join("proc/50/ns/net")).unwrap();
    fs::create_dir_all(root.path().join("netns")).unwrap();
    let mount = root.path().join("netns/blue");
    symlink("blue", &mount).unwrap();
    let found = discover(&world(root.path()));
    let looped = LookError { operation: Operation::FindNamespace, errno: Errno::LOOP.raw_os_error() };
    assert_eq!(found.unread, BTreeMap::from([(40, looped)]));
    assert_eq!(found.unlisted, BTreeMap::from([(NamespaceName::Mount(mount), looped)]));
    assert_eq!(found.namespaces.len(), 1);
}

#[test]
fn a_process_whose_namespace_may_not_be_read_is_told_by_the_files_of_that_namespace() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), "thread-self", "host");
    let refuse = |pid: u32| {
        let directory = root.path().join(format!("proc/{pid}/ns"));
        fs::create_dir_all(&directory).unwrap();
        symlink("net", directory.join("net")).unwrap();
        let net = root.path().join(format!("proc/{pid}/net"));
        fs::create_dir_all(&net).unwrap();
        net.join("sockstat")
    };
    // In the namespace of this process; two in another one; one in one without a socket.
    fs::hard_link(root.path().join("proc/thread-self/net/sockstat"), refuse(41)).unwrap();
    fs::write(refuse(42), SOCKSTAT).unwrap();
    fs::hard_link(root.path().join("proc/42/net/sockstat"), refuse(43)).unwrap();
    fs::write(refuse(44), SOCKSTAT.replace("inuse 7", "inuse 0")).unwrap();
    let found = discover(&world(root.path()));
    let names: Vec<_> = found.unlisted.keys().collect();
    assert!(matches!(names[..], [NamespaceName::OfProcess(42 | 43)]), "{names:?}");
    assert!(found.unread.is_empty(), "{:?}", found.unread);
}

#[test]
fn a_namespace_that_is_gone_is_not_found_and_is_told_from_one_that_is_refused() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), "20", "blue");
    let found = discover(&world(root.path()));
    let [namespace] = &found.namespaces[..] else { panic!("{found:?}") };
    // A plain file is no namespace: setns(2) says so.
    assert_eq!(namespace.run_inside(|| ()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    fs::remove_dir_all(root.path().join("proc/20")).unwrap();
    plant(root.path(), "20", "red");
    assert_eq!(namespace.run_inside(|| ()).unwrap_err().kind(), io::ErrorKind::NotFound, "another");
    fs::remove_dir_all(root.path().join("proc/20")).unwrap();
    assert_eq!(namespace.run_inside(|| ()).unwrap_err().kind(), io::ErrorKind::NotFound, "ended");
}

#[test]
fn a_reused_pid_does_not_vouch_for_a_namespace() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), "20", "blue");
    let proc_root = root.path().join("proc");
    let found = discover(&world(root.path()));
    fs::remove_dir_all(proc_root.join("20")).unwrap();
    assert_eq!(found.namespaces[0].tcp_in_use(&proc_root), None, "ended");
    plant(root.path(), "20", "red");
    assert_eq!(found.namespaces[0].tcp_in_use(&proc_root), None, "another process");
}

proptest! {
    #[test]
    fn no_sockstat_panics(text in ".*") {
        let _ = sockets_in_use(&text, "TCP:");
        let _ = sockets_in_use(&format!("TCP: inuse {text}"), "TCP:");
    }
}

/// A process in a network namespace of its own; ended when dropped.
struct Sandbox(Child);

impl Sandbox {
    fn start() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .expect("this test needs unshare(1)");
        Self(child)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn interfaces_are_read_with_their_names() {
    let line = "fe80000000000000aabbccfffeddeeff 1f 40 20 80     eth0";
    assert_eq!(interface(line), Some((31, "eth0".to_owned())));
    for wrong in ["", "fe80", "fe80 xyz 40 20 80 eth0", "fe80 1f 40 20 80"] {
        assert_eq!(interface(wrong), None, "{wrong}");
    }
}

/// RTM_NEWLINK for interface 1 with IFF_UP (rtnetlink(7)).
fn bring_loopback_up() {
    let mut header = NetlinkHeader::default();
    header.length = 32;
    header.message_type = 16;
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut bytes = vec![0; 32];
    header.emit(&mut bytes[..16]);
    bytes[20] = 1; // index
    bytes[24] = 1; // flags
    bytes[28] = 1; // which flags to change
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.send(&bytes, 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    assert_eq!(answer[16..20], [0; 4], "errno");
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn a_leak_in_another_namespace_is_counted_and_listed_there_and_not_here() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    let proc_root = Path::new("/proc");
    let sandbox = Sandbox::start();
    let pid = sandbox.0.id();
    let deadline = Instant::now() + Duration::from_secs(10);
    let namespace = loop {
        let found = discover(&World::of_this_host());
        assert_eq!(found.namespaces[0].found_as, NamespaceOrigin::Own);
        let ours = |namespace: &NetNamespace| namespace.found_as == NamespaceOrigin::Process(pid);
        if let Some(namespace) = found.namespaces.into_iter().find(ours) {
            break namespace;
        }
        assert!(Instant::now() < deadline, "unshare did not make a namespace");
        thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(namespace.tcp_in_use(proc_root), Some(0));

    // Open there: a listener; one accepted and one never accepted connection, the peers closed.
    let open = || {
        bring_loopback_up();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (held, _) = listener.accept().unwrap();
        drop(peer);
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        (listener, held)
    };
    let (listener, held) = namespace.run_inside(open).unwrap();

    let mut there = SockDiag::open_in(&namespace).unwrap();
    let mut stuck = Vec::new();
    while stuck.len() < 2 {
        stuck.clear();
        let _ =
            there.dump(TcpFlavour::Tcp, StateSet::CLOSE_WAIT, false, |socket| stuck.push(socket)).unwrap();
        assert!(Instant::now() < deadline, "{stuck:?}");
    }
    let cookie = rustix::net::sockopt::socket_cookie(&held).unwrap();
    assert_eq!(stuck.iter().filter(|socket| socket.cookie == cookie && socket.inode != 0).count(), 1);
    assert_eq!(stuck.iter().filter(|socket| socket.inode == 0).count(), 1, "never accepted");
    // The peers count until our acknowledgment of their FIN has made minisockets of them.
    let await_in_use = |count, meaning| {
        while namespace.tcp_in_use(proc_root) != Some(count) {
            assert!(Instant::now() < deadline, "{:?}: {meaning}", namespace.tcp_in_use(proc_root));
            thread::sleep(Duration::from_millis(1));
        }
    };
    await_in_use(3, "a listener and two in CLOSE_WAIT");
    drop(listener);
    await_in_use(1, "one in CLOSE_WAIT; the other was reset with the listener's queue");

    let mut here = SockDiag::open_here().unwrap();
    let mut elsewhere = 0;
    let _ = here
        .dump(TcpFlavour::Tcp, StateSet::ALL, false, |socket| elsewhere += u32::from(socket.cookie == cookie))
        .unwrap();
    assert_eq!(elsewhere, 0);
}
