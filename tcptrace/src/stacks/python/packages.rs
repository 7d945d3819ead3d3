//! Which package a file of Python is of, where packages lie among an application's own files: `pip install --target`, and
//! archives that are programs (zipapp, shiv). What pip writes beside a package, `requests-2.32.3.dist-info`, tells. Reads lists of
//! names, which strangers made: bounded.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Component, Path},
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::{
    fs::{Dir, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
};

use crate::{
    process::reader::DIRECTORY,
    stacks::{
        scripts::files::open,
        zip::{Budget, Directory, Place},
    },
};

/// Folders that are kept, how long, and how many lie above a file that are looked at.
const MOST_FOLDERS: usize = 1_024;
const KEPT_FOR: Duration = Duration::from_mins(1);
const MOST_ABOVE: usize = 6;

/// Names in one folder, packages in it, bytes read of what one of them has installed, and of an archive's list.
const MOST_NAMES: usize = 16_384;
const MOST_PACKAGES: usize = 512;
const RECORD_BYTES: u64 = 64 << 10;
const ARCHIVE_BYTES: u64 = 16 << 20;

/// What can be imported.
type Names = FxHashSet<Box<str>>;

/// What was installed in folders and archives.
#[derive(Default)]
pub(super) struct Packages {
    /// By pid and path, with when it was read.
    known: FxHashMap<(u32, String), (Instant, Names)>,
}

impl Packages {
    /// The package that a file of a process is of, by the directory of the process; `None` where nothing says that it is one's.
    pub(super) fn of(&mut self, pid: u32, process: &OwnedFd, file: &str) -> Option<Arc<str>> {
        let mut below = Path::new(file);
        for _ in 0..MOST_ABOVE {
            let folder = below.parent().filter(|folder| folder.parent().is_some())?;
            let name = below.file_name()?.to_str()?;
            let name = name.strip_suffix(".py").unwrap_or(name);
            if self.installed(pid, process, folder).contains(name) {
                return Some(Arc::from(name));
            }
            below = folder;
        }
        None
    }

    fn installed(&mut self, pid: u32, process: &OwnedFd, folder: &Path) -> &Names {
        let key = (pid, folder.to_string_lossy().into_owned());
        if self.known.len() >= MOST_FOLDERS {
            self.known.clear();
        }
        let (read_at, names) =
            self.known.entry(key).or_insert_with(|| (Instant::now(), read(process, folder)));
        if read_at.elapsed() >= KEPT_FOR {
            (*read_at, *names) = (Instant::now(), read(process, folder));
        }
        names
    }
}

/// The packages that were installed in a folder, or are in an archive.
fn read(process: &OwnedFd, folder: &Path) -> Names {
    in_folder(process, folder).or_else(|_| in_archive(process, folder)).unwrap_or_default()
}

fn in_folder(process: &OwnedFd, folder: &Path) -> Result<Names, Errno> {
    let folder = open(process, folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Names::default();
    let mut packages = 0;
    for entry in Dir::read_from(&folder)?.take(MOST_NAMES) {
        let entry = entry?;
        let described = entry.file_name().to_str().ok();
        let Some((described, name)) = described.and_then(|folder| Some((folder, package(folder)?))) else {
            continue;
        };
        packages += 1;
        if packages > MOST_PACKAGES {
            break;
        }
        names.insert(name.into_boxed_str());
        // What it is imported by may be another name: `yaml` of PyYAML.
        let record = recorded(&folder, described).unwrap_or_default();
        names.extend(imported(&record).map(Box::from));
    }
    Ok(names)
}

/// What pip has recorded of the package that it describes in this folder of a folder.
fn recorded(folder: &OwnedFd, described: &str) -> Result<String, Errno> {
    let info = openat(folder, described, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (file, _) = regular(&openat(&info, "RECORD", flags, Mode::empty())?)?;
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES).read_to_end(&mut bytes).map_err(|_| Errno::IO)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn in_archive(process: &OwnedFd, path: &Path) -> Result<Names, Errno> {
    let (file, length) = regular(&open(process, path, OFlags::PATH)?)?;
    let listed = Directory::read(&file, Place { start: 0, length }, &mut Budget(ARCHIVE_BYTES));
    let names = listed.iter().flat_map(Directory::entries).take(MOST_NAMES);
    Ok(names.filter_map(|entry| package(entry.name.split('/').next()?)).map(String::into_boxed_str).collect())
}

/// Opens a regular file, and says how long it is: to open a device may have effects, and a pipe may block.
fn regular(place: &OwnedFd) -> Result<(File, u64), Errno> {
    let status = fstat(place)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).map_err(|_| Errno::ACCESS)?;
    Ok((file, u64::try_from(status.st_size).unwrap_or_default()))
}

/// The package that pip describes in a folder of this name: `charset_normalizer` of `charset_normalizer-3.4.0.dist-info`.
fn package(folder: &str) -> Option<String> {
    let described = folder.strip_suffix(".dist-info").or_else(|| folder.strip_suffix(".egg-info"))?;
    let name = described.split('-').next().filter(|name| !name.is_empty())?;
    Some(name.to_lowercase().replace('.', "_"))
}

/// What can be imported of the files of a package, which its RECORD lists with their checksums.
fn imported(record: &str) -> impl Iterator<Item = &str> {
    record.lines().filter_map(|line| {
        let path = Path::new(line.split(',').next()?);
        let Component::Normal(first) = path.components().next()? else { return None };
        let first = first.to_str()?;
        let name = first.strip_suffix(".py").unwrap_or(first);
        let is_name = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        (is_name && !matches!(name, "bin" | "__pycache__")).then_some(name)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::stacks::{mappings, zip::written::archive};

    const RECORD: &str = "PyYAML-6.0.dist-info/RECORD,,\n\
        ../../bin/yaml,sha256=x,1\nbin/y,,\n__pycache__/six.pyc,,\nyaml/__init__.py,sha256=y,12\n_yaml.py,,\n";

    #[test]
    fn what_pip_installed_beside_the_application_is_a_library() {
        let planted = tempfile::tempdir().unwrap();
        let here = planted.path();
        for folder in ["requests-2.32.3.dist-info", "PyYAML-6.0.dist-info", "requests/packages", "shop"] {
            fs::create_dir_all(here.join(folder)).unwrap();
        }
        fs::write(here.join("PyYAML-6.0.dist-info/RECORD"), RECORD).unwrap();
        // Nobody writes to it.
        fs::create_dir_all(here.join("pipe-1.0.dist-info")).unwrap();
        let pipe = here.join("pipe-1.0.dist-info/RECORD");
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        let zipped =
            archive(&[("__main__.py", b""), ("redis-5.0.dist-info/METADATA", b""), ("redis/client.py", b"")]);
        fs::write(here.join("shop.pyz"), [&b"#!/usr/bin/env python3\n"[..], &zipped].concat()).unwrap();
        let process = mappings::process(Path::new("/proc"), std::process::id()).unwrap();
        let mut packages = Packages::default();
        for (file, expected) in [
            ("requests/api.py", Some("requests")),
            ("requests/packages/deep.py", Some("requests")),
            ("yaml/loader.py", Some("yaml")),
            ("_yaml.py", Some("_yaml")),
            ("pipe/api.py", Some("pipe")),
            ("shop/ledger.py", None),
            ("handler.py", None),
            ("shop.pyz/redis/client.py", Some("redis")),
            ("shop.pyz/__main__.py", None),
            ("shop.pyz/shop/ledger.py", None),
            ("gone/redis/client.py", None),
        ] {
            let path = here.join(file);
            assert_eq!(packages.of(1, &process, path.to_str().unwrap()).as_deref(), expected, "{file}");
        }
        for file in ["", "/", "redis.py", "../x/y.py", "<string>", "/dev/null/x.py"] {
            assert_eq!(packages.of(1, &process, file), None, "{file}");
        }
    }

    #[test]
    fn names_are_those_that_code_imports() {
        assert_eq!(package("Charset_Normalizer-3.4.0.dist-info").as_deref(), Some("charset_normalizer"));
        assert_eq!(package("zope.interface-7.0-py3.12.egg-info").as_deref(), Some("zope_interface"));
        assert_eq!(package("-1.dist-info"), None);
        assert_eq!(package("requests"), None);
        assert_eq!(imported(RECORD).collect::<Vec<_>>(), ["yaml", "_yaml"]);
    }

    proptest! {
        #[test]
        fn any_list_has_some_names(record in ".*", folder in ".*(.dist-info)?") {
            imported(&record).count();
            package(&folder);
        }
    }
}
