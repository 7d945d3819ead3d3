//! Which archive a class comes from, and whether that is the application's or a library's. Goes by the archives that the
//! process has open: its class loaders keep them so. Reads their lists, never what is in them.
//!
//! The application is what was started: the archive of `-jar`, the one that has the main class, and what an archive or a
//! server has under `BOOT-INF/classes` and `WEB-INF/classes`. What begins with the same two names as one of its packages
//! is its own too, wherever it lies, because applications are built of several archives. The other archives are
//! libraries. Of packages that lie in no archive or in the application's own (all may be merged into one), a short list
//! knows the common libraries. Where nobody knows what was started, only `…-INF/lib` and that list tell libraries.

use std::{
    fs::File,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

use super::launch::Launched;
use crate::{
    process::reader::{DIRECTORY, FILE_BYTES, contents},
    stacks::{
        java::{BOOT, WITHIN, beginning, common, is_of_jdk, package_of},
        point::ScriptLine,
        zip::{Budget, Directory, Place},
    },
};

/// Most descriptors of a process looked at, archives, packages in them, and bytes read of them in all.
const MAX_DESCRIPTORS: usize = 16_384;
const MAX_ARCHIVES: usize = 2048;
const MAX_PACKAGES: usize = 131_072;
const MAX_BYTES: u64 = 96 << 20;

/// Longest time that reading them takes, beyond the archive in progress.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Archives are opened when a class of theirs is wanted: they are looked at again for a package that is in none, after
/// this time, and then after twice that.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// Where a package comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Application,
    /// The path of its archive.
    Library(Arc<str>),
}

/// The archives of a process.
#[derive(Debug, Default)]
pub(in crate::stacks) struct Archives {
    /// `None` where nothing is known of the process.
    process: Option<OwnedFd>,
    /// `com/acme/shop`.
    packages: FxHashMap<String, Origin>,
    /// What packages of the application begin with.
    own: FxHashSet<String>,
    read: Option<(Instant, Duration)>,
}

impl Archives {
    /// Those of the process that this directory of /proc belongs to. Reads nothing yet.
    pub(in crate::stacks) fn of(process: OwnedFd) -> Self {
        Self { process: Some(process), ..Self::default() }
    }

    /// Adds to the place of a line the archive that it comes from, if that is a library.
    pub(super) fn place(&mut self, line: ScriptLine) -> ScriptLine {
        let is_jdk =
            line.file.as_deref().is_some_and(|file| file.starts_with(BOOT)) || is_of_jdk(&line.function);
        let Some(library) = (!is_jdk).then(|| self.library(package_of(&line.function))).flatten() else {
            return line;
        };
        let file = format!("{library}{WITHIN}{}", line.file.unwrap_or_default());
        ScriptLine { file: Some(file), ..line }
    }

    /// The library that a package belongs to; `None` of the application's own.
    fn library(&mut self, package: &str) -> Option<Arc<str>> {
        let path = package.replace('.', "/");
        let is_due = self.read.is_none_or(|(at, interval)| at.elapsed() >= interval);
        if is_due && !self.packages.contains_key(&path) {
            self.read();
        }
        if package.is_empty() || self.own.contains(beginning(package)) {
            return None;
        }
        match self.packages.get(&path) {
            Some(Origin::Library(archive)) => Some(Arc::clone(archive)),
            Some(Origin::Application) | None => common(package).map(Arc::from),
        }
    }

    fn read(&mut self) {
        let interval = self.read.map_or(READ_INTERVAL, |(_, interval)| interval.saturating_mul(2));
        if let Some(process) = &self.process {
            let launched = contents(process, "cmdline", FILE_BYTES).unwrap_or_default();
            let mut listing = Listing::new(Launched::of(&launched));
            if listing.read(process).is_none() {
                log::debug!("the archives of a Java process were not read in full");
            }
            (self.packages, self.own) = listing.settled();
        }
        // From the end of reading, so that it takes a small part of the time however long it takes.
        self.read = Some((Instant::now(), interval));
    }
}

/// What is found in the archives.
struct Listing {
    launched: Launched,
    packages: FxHashMap<String, Origin>,
    own: FxHashSet<String>,
    budget: Budget,
    until: Instant,
}

impl Listing {
    fn new(launched: Launched) -> Self {
        let mut own = FxHashSet::default();
        if let Launched::Class(class) = &launched
            && let Some((package, _)) = class.rsplit_once('.')
        {
            own.insert(beginning(package).to_owned());
        }
        let (packages, budget, until) =
            (FxHashMap::default(), Budget(MAX_BYTES), Instant::now() + READ_TIMEOUT);
        Self { launched, packages, own, budget, until }
    }

    /// Reads the archives that a process has open; `None` where a limit was in the way.
    fn read(&mut self, process: &OwnedFd) -> Option<()> {
        let descriptors = openat(process, "fd", DIRECTORY, Mode::empty()).ok()?;
        let mut seen = FxHashSet::default();
        for entry in Dir::read_from(&descriptors).ok()?.flatten().take(MAX_DESCRIPTORS) {
            let Ok(path) = readlinkat(&descriptors, entry.file_name(), Vec::new()) else { continue };
            let path = String::from_utf8_lossy(path.as_bytes()).into_owned();
            let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
            if !is_archive(path) || !seen.insert(path.to_owned()) {
                continue;
            }
            if seen.len() > MAX_ARCHIVES || Instant::now() >= self.until {
                return None;
            }
            // To open a device may have effects.
            let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
            let status = statat(&descriptors, entry.file_name(), AtFlags::empty());
            if !status.is_ok_and(|status| is_file(status.st_mode)) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let Ok(file) = openat(&descriptors, entry.file_name(), flags, Mode::empty()) else { continue };
            let Some(status) = fstat(&file).ok().filter(|status| is_file(status.st_mode)) else { continue };
            let place = Place { start: 0, length: u64::try_from(status.st_size).ok()? };
            self.archive(&File::from(file), place, path);
        }
        Some(())
    }

    /// Takes what is in an archive.
    fn archive(&mut self, file: &File, place: Place, path: &str) -> Option<()> {
        let directory = Directory::read(file, place, &mut self.budget)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_brought = path.contains("-INF/lib/");
        let origin = match &self.launched {
            _ if is_brought => Origin::Library(path.into()),
            Launched::Archive(started) if started == name => Origin::Application,
            Launched::Class(class) if has(&directory, class) => Origin::Application,
            // Servers and the like: what they run is anybody's.
            Launched::Class(class) if common(class).is_some() => Origin::Application,
            Launched::Unknown => Origin::Application,
            Launched::Archive(_) | Launched::Class(_) => Origin::Library(path.into()),
        };
        let is_known = self.launched != Launched::Unknown;
        for entry in directory.entries() {
            let Some((folder, file_name)) = entry.name.rsplit_once('/') else { continue };
            if is_archive(file_name) && folder.ends_with("-INF/lib") {
                if let Some(place) = entry.place(file, &mut self.budget) {
                    self.nested(file, place, &format!("{path}{WITHIN}{}", entry.name));
                }
            } else if file_name.ends_with(CLASS) {
                let within = ["BOOT-INF/classes/", "WEB-INF/classes/"]
                    .iter()
                    .find_map(|prefix| folder.strip_prefix(prefix));
                match within {
                    Some(package) => self.package(package, &Origin::Application, true),
                    None => self.package(folder, &origin, is_known && !is_brought),
                }
            }
        }
        Some(())
    }

    /// Takes what is in an archive that an archive brings along.
    fn nested(&mut self, file: &File, place: Place, path: &str) {
        let Some(directory) = Directory::read(file, place, &mut self.budget) else { return };
        let origin = Origin::Library(path.into());
        for entry in directory.entries() {
            if let Some((folder, file_name)) = entry.name.rsplit_once('/')
                && file_name.ends_with(CLASS)
            {
                self.package(folder, &origin, false);
            }
        }
    }

    /// Takes a package; `tells` if the names of the application's may be told by it.
    fn package(&mut self, folder: &str, origin: &Origin, tells: bool) {
        // `META-INF/versions/11/com/acme`: for later versions of Java.
        let versioned = folder.strip_prefix("META-INF/versions/").and_then(|rest| rest.split_once('/'));
        let folder = versioned.map_or(folder, |(_, folder)| folder);
        let is_known = self.packages.get(folder);
        if is_known == Some(&Origin::Application) || (is_known.is_some() && *origin != Origin::Application) {
            return;
        }
        if self.packages.len() >= MAX_PACKAGES {
            return;
        }
        self.packages.insert(folder.to_owned(), origin.clone());
        if tells && *origin == Origin::Application {
            let package = folder.replace('/', ".");
            if common(&package).is_none() {
                self.own.insert(beginning(&package).to_owned());
            }
        }
    }

    fn settled(self) -> (FxHashMap<String, Origin>, FxHashSet<String>) {
        (self.packages, self.own)
    }
}

/// What files of classes end with.
const CLASS: &str = ".class";

/// Whether an archive has a class.
fn has(directory: &Directory, class: &str) -> bool {
    let path = class.replace('.', "/");
    directory.entries().any(|entry| entry.name.strip_suffix(CLASS) == Some(path.as_str()))
}

fn is_archive(path: &str) -> bool {
    [".jar", ".war", ".ear"].iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::stacks::{point::ScriptLanguage, zip::written::archive};

    /// The archives of a process that was started so and has these open.
    fn archives(command: &str, open: &[(&str, &[u8])]) -> Archives {
        let mut listing = Listing::new(Launched::of(command.replace(' ', "\0").as_bytes()));
        for (path, bytes) in open {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            listing.archive(&file, Place { start: 0, length: bytes.len() as u64 }, path).unwrap();
        }
        let (packages, own) = listing.settled();
        Archives { process: None, packages, own, read: Some((Instant::now(), Duration::MAX)) }
    }

    fn library(archives: &mut Archives, package: &str) -> Option<String> {
        archives.library(package).map(|library| library.to_string())
    }

    #[test]
    fn archives_beside_the_one_that_was_started_are_libraries() {
        let shop = archive(&[("com/acme/shop/Main.class", b""), ("com/acme/shop/web/A.class", b"")]);
        let core = archive(&[("com/acme/core/Ledger.class", b"")]);
        let driver =
            archive(&[("org/fastdb/Driver.class", b""), ("META-INF/versions/11/org/fastdb/n/A.class", b"")]);
        let open =
            [("/srv/lib/core.jar", &core[..]), ("/srv/lib/driver.jar", &driver), ("/srv/shop.jar", &shop)];
        for command in ["java -jar /srv/shop.jar", "java -cp /srv/lib/*:/srv/shop.jar com.acme.shop.Main"] {
            let mut archives = archives(command, &open);
            for own in ["com.acme.shop", "com.acme.shop.web", "com.acme.core", "net.acme", ""] {
                assert_eq!(library(&mut archives, own), None, "{own}");
            }
            for package in ["org.fastdb", "org.fastdb.n"] {
                assert_eq!(
                    library(&mut archives, package).as_deref(),
                    Some("/srv/lib/driver.jar"),
                    "{package}"
                );
            }
        }
        let mut unknown = archives("jsvc x", &open);
        assert_eq!(library(&mut unknown, "org.fastdb"), None, "nobody knows what was started");
    }

    #[test]
    fn an_archive_that_brings_its_libraries_tells_them_apart() {
        let driver = archive(&[("org/fastdb/Driver.class", b"")]);
        let core = archive(&[("com/acme/core/Ledger.class", b"")]);
        let boot = archive(&[
            ("org/springframework/boot/loader/launch/JarLauncher.class", b""),
            ("BOOT-INF/classes/com/acme/shop/Main.class", b""),
            ("BOOT-INF/lib/driver.jar", &driver),
            ("BOOT-INF/lib/core.jar", &core),
        ]);
        let mut archives = archives("java -jar shop.jar", &[("/srv/shop.jar", &boot)]);
        assert_eq!(library(&mut archives, "com.acme.shop"), None);
        assert_eq!(library(&mut archives, "com.acme.core"), None);
        assert_eq!(
            library(&mut archives, "org.fastdb").as_deref(),
            Some("/srv/shop.jar!/BOOT-INF/lib/driver.jar")
        );
        let loader = library(&mut archives, "org.springframework.boot.loader.launch");
        assert_eq!(loader.as_deref(), Some("org.springframework.boot"));
    }

    #[test]
    fn what_a_server_runs_is_the_applications() {
        let server = archive(&[("org/apache/catalina/startup/Bootstrap.class", b"")]);
        let net = archive(&[("org/apache/tomcat/util/net/NioEndpoint.class", b"")]);
        let driver = archive(&[("org/fastdb/Driver.class", b"")]);
        let job = archive(&[("com/acme/Job.class", b"")]);
        let open = [
            ("/opt/tomcat/bin/bootstrap.jar", &server[..]),
            ("/opt/tomcat/lib/tomcat-coyote.jar", &net),
            ("/opt/tomcat/webapps/shop/WEB-INF/lib/driver.jar", &driver),
            ("/srv/job.jar", &job),
        ];
        let mut archives =
            archives("java -cp bootstrap.jar org.apache.catalina.startup.Bootstrap start", &open);
        for own in ["com.acme", "com.acme.web"] {
            assert_eq!(library(&mut archives, own), None, "{own}");
        }
        assert_eq!(
            library(&mut archives, "org.apache.tomcat.util.net").as_deref(),
            Some("org.apache.tomcat")
        );
        assert!(library(&mut archives, "org.fastdb").unwrap().ends_with("WEB-INF/lib/driver.jar"));
    }

    #[test]
    fn what_was_merged_into_one_archive_is_told_by_its_name() {
        let all = archive(&[
            ("com/acme/Main.class", b""),
            ("org/apache/http/impl/A.class", b""),
            ("io/netty/channel/A.class", b""),
        ]);
        let mut archives = archives("java -jar all.jar", &[("/srv/all.jar", &all)]);
        assert_eq!(library(&mut archives, "com.acme"), None);
        assert_eq!(library(&mut archives, "org.apache.http.impl").as_deref(), Some("org.apache.http"));
        assert_eq!(library(&mut archives, "io.netty.channel").as_deref(), Some("io.netty"));
        assert_eq!(library(&mut archives, "io.nettyish"), None);
    }

    #[test]
    fn a_line_of_a_library_has_its_archive() {
        let mut archives = Archives::default();
        let line = |function: &str, file: Option<&str>| ScriptLine {
            language: ScriptLanguage::Java,
            function: function.to_owned(),
            file: file.map(str::to_owned),
            line: Some(7),
            package: None,
        };
        let mut file = |function, file| archives.place(line(function, file)).file;
        assert_eq!(
            file("org.apache.http.A.connect", Some("org/apache/http/A.java")).as_deref(),
            Some("org.apache.http!/org/apache/http/A.java")
        );
        assert_eq!(file("io.netty.A$$Lambda.run", None).as_deref(), Some("io.netty!/"));
        for (function, path) in [
            ("Leak.main", "Leak.java"),
            ("com.acme.A.b", "com/acme/A.java"),
            ("java.net.Socket.connect", "jrt:/java/net/Socket.java"),
        ] {
            assert_eq!(file(function, Some(path)).as_deref(), Some(path));
        }
    }

    #[test]
    fn the_archives_of_a_process_are_those_it_has_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("driver.jar");
        std::fs::write(&path, archive(&[("org/fastdb/Driver.class", b"")])).unwrap();
        let _open = File::open(&path).unwrap();
        let process = crate::stacks::mappings::process(std::path::Path::new("/proc"), std::process::id());
        let mut archives = Archives::of(process.unwrap());
        // This is no Java, so nobody knows what was started.
        assert_eq!(library(&mut archives, "org.fastdb"), None);
        assert_eq!(archives.packages.get("org/fastdb"), Some(&Origin::Application));
    }
}
