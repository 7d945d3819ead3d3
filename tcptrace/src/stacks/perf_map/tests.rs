//! Tests of parsing map files, and of which ones are not opened.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use super::*;

fn looked_up(map: &[u8], addresses: &[u64]) -> Vec<Option<String>> {
    look_up(map, addresses).unwrap()
}

#[test]
fn an_address_has_the_name_of_the_function_it_lies_in() {
    let map =
        b"0x0000000000001000 0x020 first\n1020 10 second, with more words\nffffffffffffff00 fff at the end\n";
    let names = looked_up(map, &[0xfff, 0x1000, 0x101f, 0x1020, 0x1030, u64::MAX - 1]);
    let expected =
        [None, Some("first"), Some("first"), Some("second, with more words"), None, Some("at the end")];
    assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
}

#[test]
fn what_was_made_last_counts() {
    assert_eq!(looked_up(b"10 10 old\n10 8 new\n", &[0x11, 0x1a]), [Some("new".into()), Some("old".into())]);
}

#[test]
fn lines_that_cannot_be_understood_are_passed_over() {
    let map = b"\nfunction\n10\n10 10\n10 10 \nzz 10 no\n-10 10 no\n10 10 yes\r\n10 10 unfinis";
    assert_eq!(looked_up(map, &[0x11]), [Some("yes".to_owned())]);
}

#[test]
fn names_are_cut_and_may_be_any_bytes() {
    let mut map = b"10 10 \xff\x1b[2J".to_vec();
    map.extend(std::iter::repeat_n(b'x', 100_000));
    map.extend(b"\n20 10 next\n");
    let names = looked_up(&map, &[0x11, 0x21]);
    assert_eq!(names, [None, Some("next".to_owned())], "a line that does not end in time is passed over");
    let map = [b"10 10 \xff".as_slice(), &[b'x'; 1000], b"\n"].concat();
    let name = looked_up(&map, &[0x11]).remove(0).unwrap();
    assert!(name.starts_with("\u{fffd}xxx") && name.len() <= MAX_NAME + 2, "{name}");
}

/// A process as /proc shows it, that sees itself as 7.
struct ProcessFixture(tempfile::TempDir);

impl ProcessFixture {
    fn new() -> Self {
        let process = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(process.tmp()).unwrap();
        process.write_status(rustix::process::geteuid().as_raw());
        process
    }

    fn write_status(&self, uid: u32) {
        let status = format!("Name:\tjava\nNStgid:\t4711\t33\t7\nUid:\t1\t{uid}\t1\t1\n");
        fs::write(self.0.path().join("4711/status"), status).unwrap();
    }

    fn tmp(&self) -> PathBuf {
        self.0.path().join("4711/root/tmp")
    }

    fn map(&self) -> PathBuf {
        self.tmp().join("perf-7.map")
    }

    fn names(&self) -> io::Result<Vec<Option<String>>> {
        names(self.0.path(), 4711, &[0x11])
    }
}

const MAP: &[u8] = b"10 10 made\n";

#[test]
fn the_map_is_found_under_the_pid_that_the_process_sees() {
    let process = ProcessFixture::new();
    fs::write(process.tmp().join("perf-4711.map"), b"10 10 wrong\n").unwrap();
    assert_eq!(process.names().unwrap_err().kind(), io::ErrorKind::NotFound);
    fs::write(process.map(), MAP).unwrap();
    assert_eq!(process.names().unwrap(), [Some("made".to_owned())]);
}

#[test]
fn links_lead_nowhere_outside() {
    let process = ProcessFixture::new();
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), MAP).unwrap();
    symlink(outside.path(), process.map()).unwrap();
    assert!(process.names().is_err(), "the map is a link");
    fs::remove_file(process.map()).unwrap();
    // A folder that is a link is followed as the process would: to a place below its root.
    fs::remove_dir(process.tmp()).unwrap();
    let elsewhere = process.0.path().join("4711/root/elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(Path::new("/elsewhere"), process.tmp()).unwrap();
    fs::write(elsewhere.join("perf-7.map"), MAP).unwrap();
    assert_eq!(process.names().unwrap(), [Some("made".to_owned())]);
}

#[test]
fn a_pipe_is_not_waited_for() {
    let process = ProcessFixture::new();
    rustix::fs::mknodat(CWD, process.map(), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert!(process.names().is_err());
}

#[test]
fn a_strangers_file_is_not_believed() {
    let process = ProcessFixture::new();
    fs::write(process.map(), MAP).unwrap();
    let owner = fs::metadata(process.map()).unwrap().uid();
    process.write_status(owner + 1);
    // Root may write for everybody.
    assert_eq!(process.names().is_ok(), owner == 0);
    if owner == 0 {
        std::os::unix::fs::chown(process.map(), Some(1234), None).unwrap();
        assert!(process.names().is_err());
    }
}
