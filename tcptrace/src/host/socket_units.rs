//! Which socket unit of systemd listens on a port, as the unit files on disk say (systemd.socket(5)). Asks no service.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

/// Where unit files lie, the strongest first (systemd.unit(5), "UNIT FILE LOAD PATH").
const FOLDERS: [&str; 6] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// Entries of a folder that are looked at, and bytes of a unit file.
const MOST_ENTRIES: usize = 4_096;
const MOST_BYTES: u64 = 64 * 1024;

/// The unit that listens on this TCP port; `None` when none is known to, or more than one may.
pub(crate) fn listening_on(root: &Path, port: u16) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.take(MOST_ENTRIES).flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // A setting may be in a file beside the unit's.
            let unit = name.strip_suffix(".d").unwrap_or(&name);
            if !unit.ends_with(".socket") || found.iter().any(|found| found == unit) {
                continue;
            }
            let is_listening = if unit.len() < name.len() {
                fs::read_dir(entry.path()).is_ok_and(|files| {
                    files.take(MOST_ENTRIES).flatten().any(|file| listens(&file.path(), port))
                })
            } else {
                listens(&entry.path(), port)
            };
            if is_listening {
                found.push(unit.to_owned());
            }
        }
    }
    match &found[..] {
        [unit] => Some(unit.clone()),
        _ => None,
    }
}

fn listens(file: &Path, port: u16) -> bool {
    // A link to a device or a FIFO would be read for ever.
    let is_plain = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
    let mut text = String::new();
    let read = || File::open(file)?.take(MOST_BYTES).read_to_string(&mut text);
    is_plain && { read }().is_ok() && names_port(&text, port)
}

/// `ListenStream=80`, `ListenStream=127.0.0.1:80`, `ListenStream=[::]:80`.
fn names_port(unit: &str, port: u16) -> bool {
    unit.lines()
        .filter_map(|line| line.trim_ascii().strip_prefix("ListenStream"))
        .filter_map(|line| line.trim_ascii_start().strip_prefix('='))
        .map(|address| address.trim_ascii().rsplit(':').next().unwrap_or_default())
        .any(|last| last.parse() == Ok(port))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_alone_or_behind_an_address() {
        for line in ["ListenStream=80", "ListenStream = 127.0.0.1:80", "ListenStream=[::1]:80"] {
            assert!(names_port(&format!("[Socket]\n{line}\n"), 80), "{line}");
        }
        for line in ["ListenStream=8080", "ListenDatagram=80", "ListenStream=/run/80", "#ListenStream=80"] {
            assert!(!names_port(&format!("[Socket]\n{line}\n"), 80), "{line}");
        }
    }

    #[test]
    fn the_unit_is_found_in_its_own_file_or_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("usr/lib/systemd/system/shop.socket", "[Socket]\nListenStream=80\n");
        write("usr/lib/systemd/system/shop.service", "ListenStream=81\n");
        write("etc/systemd/system/mail.socket.d/port.conf", "[Socket]\nListenStream=25\n");
        write("usr/lib/systemd/system/one.socket", "[Socket]\nListenStream=7\n");
        write("usr/lib/systemd/system/other.socket", "[Socket]\nListenStream=7\n");
        let found = |port| listening_on(root.path(), port);
        assert_eq!(found(80).as_deref(), Some("shop.socket"));
        assert_eq!(found(25).as_deref(), Some("mail.socket"));
        assert_eq!((found(81), found(7), found(9)), (None, None, None));
    }
}
