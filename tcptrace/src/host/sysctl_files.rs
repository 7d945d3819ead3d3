//! Reads the files that set kernel settings at boot: sysctl.conf(5) and sysctl.d(5). Reports each line and
//! its position; changes nothing, and does not know what the settings mean.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rustc_hash::FxHashSet;
use rustix::fs::{Mode, OFlags, open};

use crate::model::sysctl_setting::Setting;

/// Directories below the root. If two have a file of the same name, the first wins (sysctl.d(5)).
const DIRECTORIES: [&str; 5] =
    ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d"];

/// sysctl(8) reads it last; systemd-sysctl(8) only through a link in a directory.
const MAIN_FILE: &str = "etc/sysctl.conf";

/// Most files, and most bytes of each: far more than any host has.
const MOST_FILES: usize = 1024;
const MOST_BYTES: u64 = 1024 * 1024;

/// Characters kept of a value; relevant values are numbers.
const MOST_CHARACTERS: usize = 64;

/// Every line in the files below `root` (`/`) that sets one of `names`, in the order they take effect: the
/// last one wins.
pub(crate) fn settings(root: &Path, names: &[&str]) -> Vec<Setting> {
    let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        // A missing directory sets nothing.
        let Ok(entries) = fs::read_dir(root.join(directory)) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "conf") && by_name.len() < MOST_FILES {
                by_name.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    let mut found = Vec::new();
    let mut seen = FxHashSet::default();
    for path in by_name.into_values().chain([root.join(MAIN_FILE)]) {
        // A file can have several names: /lib is often a link to /usr/lib, and 99-sysctl.conf to sysctl.conf.
        let path = fs::canonicalize(&path).unwrap_or(path);
        if !seen.insert(path.clone()) {
            continue;
        }
        match contents(&path) {
            Ok(text) => found.extend(lines(&text, names).map(|(line, name, value)| Setting {
                name,
                value,
                file: path.clone(),
                line,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("cannot read {}: {error}", path.display()),
        }
    }
    found
}

/// The text of a regular file; empty for a device or pipe (a link to /dev/null masks a file).
fn contents(path: &Path) -> io::Result<String> {
    let file =
        open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let file = fs::File::from(file);
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Line number, name and value of each line that sets one of `names`.
fn lines<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = (u32, String, String)> + 'a {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return None;
        }
        let (name, value) = line.split_once('=')?;
        // A leading dash means "ignore errors"; slashes may replace dots.
        let name = name.trim().trim_start_matches('-').replace('/', ".");
        names
            .contains(&name.as_str())
            .then(|| (number, name, value.trim().chars().take(MOST_CHARACTERS).collect()))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const RECYCLE: &str = "net.ipv4.tcp_tw_recycle";
    const TIMEOUT: &str = "net.ipv4.tcp_fin_timeout";

    fn planted(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// File below the root, line and value of each.
    fn found(root: &Path, names: &[&str]) -> Vec<(String, u32, String)> {
        let root = fs::canonicalize(root).unwrap();
        let below = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
        settings(&root, names)
            .into_iter()
            .map(|setting| (below(&setting.file), setting.line, setting.value))
            .collect()
    }

    #[test]
    fn every_spelling_of_a_setting_is_found_with_its_line() {
        let text = "# net.ipv4.tcp_tw_recycle = 9\n; net.ipv4.tcp_tw_recycle = 8\n\n  net.ipv4.tcp_tw_recycle=1\n\
                    -net/ipv4/tcp_tw_recycle = 2 \nnet.ipv4.tcp_tw_recycled = 7\nnet.ipv4.tcp_tw_recycle\n";
        let root = planted(&[("etc/sysctl.conf", text)]);
        let main = "etc/sysctl.conf".to_owned();
        assert_eq!(found(root.path(), &[RECYCLE]), [(main.clone(), 4, "1".into()), (main, 5, "2".into())]);
    }

    #[test]
    fn files_count_in_the_order_of_their_names_and_an_overridden_one_not_at_all() {
        let root = planted(&[
            ("usr/lib/sysctl.d/50-a.conf", "net.ipv4.tcp_fin_timeout = 1\n"),
            ("etc/sysctl.d/50-a.conf", "net.ipv4.tcp_fin_timeout = 2\n"),
            ("run/sysctl.d/10-b.conf", "net.ipv4.tcp_fin_timeout = 3\n"),
            ("usr/local/lib/sysctl.d/60-c.conf", "net.ipv4.tcp_fin_timeout = 4\n"),
            ("etc/sysctl.d/README", "net.ipv4.tcp_fin_timeout = 5\n"),
            ("etc/sysctl.conf", "net.ipv4.tcp_fin_timeout = 6\n"),
        ]);
        let values: Vec<String> =
            found(root.path(), &[TIMEOUT]).into_iter().map(|(_, _, value)| value).collect();
        assert_eq!(values, ["3", "2", "4", "6"]);
    }

    #[test]
    fn a_file_with_two_names_is_told_once_and_a_masked_one_not_at_all() {
        let root = planted(&[
            ("etc/sysctl.conf", "net.ipv4.tcp_tw_recycle = 1\n"),
            ("usr/lib/sysctl.d/20-old.conf", "net.ipv4.tcp_tw_recycle = 1\n"),
        ]);
        fs::create_dir_all(root.path().join("etc/sysctl.d")).unwrap();
        symlink("../sysctl.conf", root.path().join("etc/sysctl.d/99-sysctl.conf")).unwrap();
        symlink("/dev/null", root.path().join("etc/sysctl.d/20-old.conf")).unwrap();
        symlink("/nowhere", root.path().join("etc/sysctl.d/30-gone.conf")).unwrap();
        assert_eq!(found(root.path(), &[RECYCLE]), [("etc/sysctl.conf".to_owned(), 1, "1".to_owned())]);
    }

    #[test]
    fn a_pipe_is_not_waited_for_and_nonsense_is_no_setting() {
        let root = planted(&[("etc/sysctl.d/10-x.conf", "\0\u{fffd}=\n===\n[Section]\n")]);
        let pipe = root.path().join("etc/sysctl.d/20-pipe.conf");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        assert_eq!(found(root.path(), &[RECYCLE]), []);
        assert_eq!(settings(&root.path().join("no/such/root"), &[RECYCLE]), []);
    }
}
