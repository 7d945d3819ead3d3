//! Which package a file of PHP is of, by where Composer has installed packages: below a folder that has its list of them. Looks
//! for those lists, and reads nothing.

use std::{
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use rustix::fs::OFlags;

use super::sources::package_of;
use crate::stacks::scripts::files::open;

/// Folders that are kept, how long, and how many lie above a file that are looked at.
const MOST_FOLDERS: usize = 1_024;
const KEPT_FOR: Duration = Duration::from_mins(1);
const MOST_ABOVE: usize = 24;

/// What Composer writes of the packages that it has installed, in the folder that they are in.
const LIST: &str = "composer/installed.json";

/// Which folders Composer has installed packages to.
#[derive(Default)]
pub(super) struct Packages {
    /// By pid and path, with when it was looked for.
    known: FxHashMap<(u32, String), (Instant, bool)>,
}

impl Packages {
    /// The package that a file of a process is of, by the directory of the process; `None` where nothing says that it is one's.
    pub(super) fn of(&mut self, pid: u32, process: &OwnedFd, file: &str) -> Option<Arc<str>> {
        let path = Path::new(file);
        let is_file = path.is_absolute();
        let mut above = path.ancestors().skip(1).take(MOST_ABOVE).filter(|folder| folder.parent().is_some());
        let folder = above.find(|folder| is_file && self.has_packages(pid, process, folder))?;
        Some(package_of(path.strip_prefix(folder).ok()?).into())
    }

    fn has_packages(&mut self, pid: u32, process: &OwnedFd, folder: &Path) -> bool {
        let key = (pid, folder.to_string_lossy().into_owned());
        if self.known.len() >= MOST_FOLDERS {
            self.known.clear();
        }
        let known = self.known.get(&key).filter(|(looked_at, _)| looked_at.elapsed() < KEPT_FOR);
        if let Some((_, has_packages)) = known {
            return *has_packages;
        }
        let has_packages = open(process, &folder.join(LIST), OFlags::PATH).is_ok();
        self.known.insert(key, (Instant::now(), has_packages));
        has_packages
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs;

    use super::*;
    use crate::stacks::mappings;

    #[test]
    fn what_composer_installed_is_a_library_whatever_its_folder_is_called() {
        let planted = tempfile::tempdir().unwrap();
        let here = planted.path();
        for folder in ["shop/vendor/composer", "shop/vendor/a/b/deps/composer", "libs/composer", "vendor"] {
            fs::create_dir_all(here.join(folder)).unwrap();
        }
        for folder in ["shop/vendor", "shop/vendor/a/b/deps", "libs"] {
            fs::write(here.join(folder).join(LIST), "{}").unwrap();
        }
        let process = mappings::process(Path::new("/proc"), std::process::id()).unwrap();
        let mut packages = Packages::default();
        for (file, expected) in [
            ("shop/vendor/predis/predis/src/Client.php", Some("predis/predis")),
            ("shop/vendor/a/b/deps/c/d/e.php", Some("c/d")),
            ("shop/vendor/autoload.php", Some("composer")),
            ("shop/vendor/bin/worker", Some("composer")),
            ("libs/org/lib/x.php", Some("org/lib")),
            ("shop/public/index.php", None),
            ("vendor/portal/src/index.php", None),
        ] {
            let path = here.join(file);
            assert_eq!(packages.of(1, &process, path.to_str().unwrap()).as_deref(), expected, "{file}");
        }
        for file in ["", "/", "index.php", "../vendor/a/b/c.php", "phar:///x.phar/vendor/a/b/c.php"] {
            assert_eq!(packages.of(1, &process, file), None, "{file}");
        }
        let deep = format!("{}/{}x.php", here.join("libs").display(), "d/".repeat(40));
        assert_eq!(packages.of(1, &process, &deep), None);
    }
}
