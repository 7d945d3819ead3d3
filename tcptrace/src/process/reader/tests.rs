//! Planted /proc trees with hostile names; live: this process and a child.
#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::host::clock::Clocks;

/// The boot time of planted machines.
const BOOTED: jiff::Timestamp = jiff::Timestamp::constant(1_700_000_000, 0);

/// A reader of the processes planted in `proc_root`.
fn reader(proc_root: &Path) -> ProcessReader {
    let world = World { proc: proc_root.to_owned(), ..World::planted(proc_root, Clocks::scripted(0)) };
    ProcessReader { booted: BOOTED, ..ProcessReader::new(&world) }
}

fn stat_line(comm: &[u8], start: &str) -> Vec<u8> {
    let mut line = b"77 (".to_vec();
    line.extend_from_slice(comm);
    line.extend_from_slice(b") S 1 77 77 0 -1 4194560 101 0 0 0 1 2 0 0 20 0 1 0 ");
    line.extend_from_slice(start.as_bytes());
    line.extend_from_slice(b" 2891776 232 18446744073709551615 1 1 0\n");
    line
}

#[test]
fn a_planted_process_is_read_in_full() {
    let root = tempfile::tempdir().unwrap();
    let process = root.path().join("77");
    fs::create_dir_all(process.join("fd")).unwrap();
    fs::write(process.join("stat"), stat_line(b"web", "12345")).unwrap();
    fs::write(process.join("cmdline"), b"web\0--port\0\0\xff\0").unwrap();
    fs::write(process.join("status"), "Name:\tweb\nUid:\t1000\t33\t1000\t33\n").unwrap();
    fs::write(process.join("cgroup"), "0::/system.slice/web.service\n").unwrap();
    fs::write(
        process.join("limits"),
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            1024                 524288               files     \n",
    )
    .unwrap();
    symlink("/usr/bin/web (deleted)", process.join("exe")).unwrap();
    for fd in 0..4 {
        symlink("/dev/null", process.join(format!("fd/{fd}"))).unwrap();
    }
    let reader = reader(root.path());
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        reader.read(Pid::new(77)).unwrap(),
        ProcessIdentity {
            pid: Pid::new(77),
            comm: "web".to_owned(),
            exe: text("/usr/bin/web (deleted)"),
            cmdline: ["web", "--port", "", "\u{fffd}"].map(str::to_owned).to_vec(),
            uid: Some(33),
            started: Some(jiff::Timestamp::new(1_700_000_123, 450_000_000).unwrap()),
            start_ticks: Some(12345),
            cgroup: text("/system.slice/web.service"),
            unit: text("web.service"),
            container: None,
            container_name: None,
            pod: None,
            pod_namespace: None,
            is_32_bit: None,
        }
    );
    assert_eq!(reader.descriptor_use(Pid::new(77), None).limit, Some(1024));
}

#[test]
fn a_process_whose_main_thread_has_ended_is_read_by_one_that_lives() {
    let root = tempfile::tempdir().unwrap();
    let process = root.path().join("77");
    let thread = process.join("task/78");
    fs::create_dir_all(thread.join("fd")).unwrap();
    fs::create_dir_all(process.join("fd")).unwrap();
    let ended = String::from_utf8(stat_line(b"web", "12345")).unwrap().replace(") S", ") Z");
    fs::write(process.join("stat"), ended).unwrap();
    fs::write(process.join("status"), "Uid:\t1000\t33\t1000\t33\n").unwrap();
    fs::write(process.join("cmdline"), "").unwrap();
    fs::write(process.join("cgroup"), "0::/\n").unwrap();
    fs::write(thread.join("stat"), stat_line(b"worker", "12399")).unwrap();
    fs::write(thread.join("cmdline"), b"web\0").unwrap();
    fs::write(thread.join("cgroup"), "0::/system.slice/web.service\n").unwrap();
    symlink("/usr/bin/web", thread.join("exe")).unwrap();
    for fd in 0..4 {
        symlink("/dev/null", thread.join(format!("fd/{fd}"))).unwrap();
    }
    let reader = reader(root.path());
    let identity = reader.read(Pid::new(77)).unwrap();
    assert_eq!((identity.comm.as_str(), identity.start_ticks), ("web", Some(12345)));
    assert_eq!((identity.exe.as_deref(), identity.cmdline), (Some("/usr/bin/web"), vec!["web".to_owned()]));
    assert_eq!((identity.uid, identity.unit.as_deref()), (Some(33), Some("web.service")));
    assert_eq!(reader.descriptor_use(Pid::new(77), None).used, Some(4));
}

#[test]
fn descriptors_are_counted_where_the_directory_does_not_tell() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("77/fd");
    fs::create_dir_all(&directory).unwrap();
    for fd in 0..2000 {
        fs::write(directory.join(fd.to_string()), "").unwrap();
    }
    let process = openat(CWD, root.path().join("77"), DIRECTORY, Mode::empty()).unwrap();
    let table = openat(&process, "fd", DIRECTORY, Mode::empty()).unwrap();
    assert_eq!(counted(&table, u64::MAX), Ok(2000));
    assert_eq!(counted(&openat(&process, "fd", DIRECTORY, Mode::empty()).unwrap(), 20), Ok(20));
}

#[test]
fn a_process_that_is_gone_and_one_half_readable_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let reader = reader(root.path());
    assert!(matches!(reader.read(Pid::new(5)), Err(ProcessError::Gone { pid }) if pid == Pid::new(5)));
    assert_eq!(reader.descriptor_use(Pid::new(5), None), DescriptorUse::default());
    let process = root.path().join("5");
    fs::create_dir(&process).unwrap();
    fs::write(process.join("stat"), "nonsense").unwrap();
    assert!(matches!(reader.read(Pid::new(5)), Err(ProcessError::Unreadable { .. })));
    fs::write(process.join("stat"), stat_line(b"x", "1")).unwrap();
    let identity = reader.read(Pid::new(5)).unwrap();
    let started = jiff::Timestamp::new(1_700_000_000, 10_000_000).unwrap();
    assert_eq!((identity.exe, identity.uid, identity.started), (None, None, Some(started)));
    assert_eq!(identity.cmdline, Vec::<String>::new());
}

#[test]
fn a_comm_may_hold_parentheses_spaces_and_newlines() {
    for comm in ["a) S 1 (b", "((", "))", "two words", "new\nline", ""] {
        let stat = parse_stat(&stat_line(comm.as_bytes(), "99")).unwrap();
        assert_eq!((stat.comm.as_str(), stat.start_ticks), (comm, Some(99)));
    }
}

#[test]
fn a_32_bit_program_is_known_by_its_auxiliary_vector() {
    let of_32 = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    let of_64 = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
    assert_eq!(is_32_bit(&of_32(&[32, 0xf7ee, 33, 0xf7ed, 6, 4096, 4, 32, 5, 11, 0, 0])), Some(true));
    assert_eq!(is_32_bit(&of_64(&[33, 0x7fff_0000_0000, 6, 4096, 4, 56, 5, 13, 0, 0])), Some(false));
    for nothing in [&[][..], &[4], &[0; 16], &[4, 0, 0, 0, 32]] {
        assert_eq!(is_32_bit(nothing), None);
    }
}

#[test]
fn a_command_line_is_bounded() {
    assert_eq!(arguments(&[0; 4096]).len(), CMDLINE_ARGUMENTS);
    assert_eq!(arguments(b"nginx: worker process"), ["nginx: worker process"]);
    assert_eq!(arguments(b""), Vec::<String>::new());
}

#[test]
#[ignore = "needs the live kernel: cargo xtask test"]
fn this_process_and_a_child_are_who_they_are() {
    let reader = ProcessReader::new(&World::of_this_host());
    let me = reader.read(Pid::new(std::process::id())).unwrap();
    assert_eq!(me.exe.unwrap(), std::env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(me.is_32_bit, Some(cfg!(target_pointer_width = "32")));
    assert_eq!(me.uid, Some(rustix::process::geteuid().as_raw()));
    assert_eq!(me.cmdline, std::env::args().take(CMDLINE_ARGUMENTS).collect::<Vec<_>>());

    let mut child = Command::new("sleep").arg0("re(named) x").arg("600").spawn().unwrap();
    let expected = ("sleep".to_owned(), vec!["re(named) x".to_owned(), "600".to_owned()]);
    // spawn() returns as soon as the exec gives up the old address space, before the new names are set.
    let deadline = Instant::now() + Duration::from_secs(10);
    let identity = loop {
        let identity = reader.read(Pid::new(child.id())).unwrap();
        if (&identity.comm, &identity.cmdline) == (&expected.0, &expected.1) {
            break identity;
        }
        assert!(Instant::now() < deadline, "{identity:?}");
    };
    let descriptors = reader.descriptor_use(Pid::new(child.id()), None);
    child.kill().unwrap();
    child.wait().unwrap();
    let age = jiff::Timestamp::now().duration_since(identity.started.unwrap()).as_secs();
    assert!((-2..=60).contains(&age), "started {age} s ago");
    assert!(identity.start_ticks.unwrap() >= me.start_ticks.unwrap());
    assert!((3..100).contains(&descriptors.used.unwrap()), "{descriptors:?}");
    assert_eq!(descriptors.limit, rustix::process::getrlimit(rustix::process::Resource::Nofile).current);
    assert!(matches!(reader.read(Pid::new(child.id())), Err(ProcessError::Gone { .. })));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in any::<String>()) {
        let _ = parse_stat(&bytes);
        let _ = (arguments(&bytes), is_32_bit(&bytes));
        let _ = effective_uid(&format!("Uid:{text}"));
        let _ = open_files_limit(&format!("Max open files{text}"));
    }

    #[test]
    fn any_comm_survives_stat(comm in proptest::collection::vec(1u8.., 0..16), start in 0u64..1 << 39) {
        let stat = parse_stat(&stat_line(&comm, &start.to_string())).unwrap();
        prop_assert_eq!(stat.comm, String::from_utf8_lossy(&comm).into_owned());
        prop_assert_eq!(stat.start_ticks, Some(start.cast_signed()));
    }
}
