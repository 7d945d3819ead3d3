//! What there is to name the lines of code of a process by, before any of its calls is seen: for people who prepare a host.
//! Goes by what the files of its program and its interpreter have. Names nothing.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustc_hash::FxHashMap;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat, openat2, readlinkat},
    io::Errno,
};

use super::{
    binary::Traits,
    deadline::DeadlineThread,
    debug_files::DebugFiles,
    elf::{BoundedFile, Elf},
    go, hotspot, interpreters,
    mappings::{self, FileIdentity},
    perf_map,
    php::file as php,
    python::file as python,
    ruby::file as ruby,
};
use crate::{
    host::live_thread::live_thread,
    model::no_site::NoSiteBecause,
    process::reader::{DIRECTORY, contents},
};

/// How long a process is looked at: one that has mapped files which are read for ever is given up.
const TIMEOUT: Duration = Duration::from_millis(300);

/// What names lines of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinesBy {
    /// The interpreter, as its memory shows: Python 3 of this minor version.
    Python(u8),
    /// The interpreter, as its memory shows: PHP of this version.
    Php(&'static str),
    /// The interpreter, as its memory shows: Ruby of this version.
    Ruby(&'static str),
    /// What the Java VM says of itself; its version, where its installation tells it.
    HotSpot(Option<String>),
    /// The map of the functions that an interpreter or compiler made.
    PerfMap,
    /// The table that every Go program carries.
    GoTable,
    /// The program itself.
    DebugInformation,
    /// A file of its own.
    DebugFile(PathBuf),
    /// Functions are named by the program's symbols; lines by nothing.
    Symbols,
    /// Nothing.
    Nothing(NoSiteBecause),
}

/// What there is of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prospect {
    pub(crate) named_by: LinesBy,
    /// Whether the program has unwind information: without, callers are found by frame pointers alone, and whether it keeps
    /// those cannot be told from its files.
    pub(crate) has_unwind_tables: bool,
    /// What starts its interpreter with a perf map, where it has none and an option of its command line asks for one.
    pub(crate) asks_for_perf_map: bool,
}

/// Looks at processes, on a thread with a deadline.
pub(crate) struct Prospects(DeadlineThread<u32, Result<Prospect, String>>);

impl Prospects {
    pub(crate) fn new(proc_root: &Path) -> Self {
        let proc_root = proc_root.to_owned();
        let start = move || {
            let mut looker = Looker::new(proc_root.clone());
            Box::new(move |pid| looker.look(pid).map_err(|error| error.to_string())) as Box<_>
        };
        Self(DeadlineThread::new("prospects", TIMEOUT, start))
    }

    /// # Errors
    /// Why nothing can be said of a process, in words.
    pub(crate) fn of(&mut self, pid: u32) -> Result<Prospect, String> {
        self.0.ask(pid).map_err(|error| error.to_string())?
    }
}

struct Looker {
    proc_root: PathBuf,
    debug_files: DebugFiles,
    programs: FxHashMap<FileIdentity, Arc<Program>>,
}

/// Programs of which it is known what they have.
const MOST_PROGRAMS: usize = 1_024;

/// What the file of a program has.
#[derive(Clone, Debug)]
struct Program {
    python: Option<u8>,
    php: Option<&'static str>,
    ruby: Option<&'static str>,
    /// What names its functions, where it is machine code.
    machine_code: LinesBy,
    has_unwind_tables: bool,
}

impl Looker {
    fn new(proc_root: PathBuf) -> Self {
        let home = env::var_os("HOME").map(PathBuf::from);
        Self { proc_root, debug_files: DebugFiles::new(home.as_deref()), programs: FxHashMap::default() }
    }

    fn look(&mut self, pid: u32) -> std::io::Result<Prospect> {
        let pid = live_thread(&self.proc_root, pid).unwrap_or(pid);
        let process = mappings::process(&self.proc_root, pid)?;
        let path = readlinkat(&process, "exe", Vec::new())?;
        let path = PathBuf::from(path.to_string_lossy().trim_end_matches(" (deleted)"));
        let (identity, file) = mappings::program(&process)?;
        let traits = file.try_clone().ok().and_then(|file| {
            let file = BoundedFile::new(file);
            Elf::read(&file).map(|elf| Traits::of(&path, &elf))
        });
        let interpreted = traits.map_or_else(|| interpreters::by_name(&path), |traits| traits.interpreter);
        let program = self.program(identity, file)?;
        let library = |is_wanted: fn(&str) -> bool| -> std::io::Result<Vec<(PathBuf, File)>> {
            let found = mappings::executable_named(&process, is_wanted)?;
            found.map(|mapping| Ok((mapping.path(&process)?, mapping.open(&process)?.1))).collect()
        };
        let has_perf_map = || perf_map::state(&self.proc_root, pid).is_some();
        let mut files = mappings::executable(&process)?;
        let is_forbidden = files.next().is_some_and(|first| {
            first.open(&process).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        });
        let named_by = if is_forbidden {
            LinesBy::Nothing(NoSiteBecause::NotPermitted)
        } else if let Some(minor) = program.python {
            LinesBy::Python(minor)
        } else if let Some(version) = program.php {
            LinesBy::Php(version)
        } else if let Some(version) = program.ruby {
            LinesBy::Ruby(version)
        } else if let Some((path, _)) = library(|path| path.contains("libjvm.so"))?
            .into_iter()
            .find(|(path, file)| hotspot::is_library(path) && describes_itself(file))
        {
            LinesBy::HotSpot(java_version(&process, &path))
        } else if let Some(minor) = library(|path| path.contains("/libpython"))?
            .into_iter()
            .find_map(|(_, file)| python::version(file))
        {
            LinesBy::Python(minor)
        } else if let Some(version) =
            library(|path| path.contains("/libphp"))?.into_iter().find_map(|(_, file)| php::version(file))
        {
            LinesBy::Php(version)
        } else if let Some(version) =
            library(|path| path.contains("/libruby"))?.into_iter().find_map(|(_, file)| ruby::version(file))
        {
            LinesBy::Ruby(version)
        } else {
            match interpreted {
                Some(_) if has_perf_map() => LinesBy::PerfMap,
                Some(because) => LinesBy::Nothing(because),
                None => program.machine_code.clone(),
            }
        };
        let asks_for_perf_map = matches!(named_by, LinesBy::Nothing(_)) && asks(&process);
        Ok(Prospect { named_by, has_unwind_tables: program.has_unwind_tables, asks_for_perf_map })
    }

    fn program(&mut self, identity: FileIdentity, file: File) -> std::io::Result<Arc<Program>> {
        if self.programs.len() >= MOST_PROGRAMS {
            self.programs.clear();
        }
        if let Some(known) = self.programs.get(&identity) {
            return Ok(Arc::clone(known));
        }
        let program = Arc::new(self.read(file)?);
        self.programs.insert(identity, Arc::clone(&program));
        Ok(program)
    }

    fn read(&mut self, file: File) -> std::io::Result<Program> {
        let (python, php) = (python::version(file.try_clone()?), php::version(file.try_clone()?));
        let ruby = ruby::version(file.try_clone()?);
        let is_go = go::has_table(&file);
        let file = BoundedFile::new(file);
        let elf = Elf::read(&file).ok_or_else(|| std::io::Error::other("it is no ELF file of 64 bits"))?;
        let has = |section: &str| elf.has_section(section);
        let machine_code = if is_go {
            LinesBy::GoTable
        } else if has(".debug_line") || has(".zdebug_line") {
            LinesBy::DebugInformation
        } else if let Some(path) = elf.build_id().and_then(|build| self.debug_files.of(build)) {
            LinesBy::DebugFile(path.to_owned())
        } else if has(".symtab") {
            LinesBy::Symbols
        } else {
            LinesBy::Nothing(NoSiteBecause::Stripped)
        };
        // A Go program keeps frame pointers, and its own tables.
        let has_unwind_tables = is_go || has(".eh_frame") || has(".debug_frame");
        Ok(Program { python, php, ruby, machine_code, has_unwind_tables })
    }
}

fn describes_itself(file: &File) -> bool {
    let Ok(file) = file.try_clone() else { return false };
    let file = BoundedFile::new(file);
    Elf::read(&file).is_some_and(|elf| hotspot::Exports::read(&elf).is_some())
}

/// Whether a command line or its environment asks an interpreter for a perf map.
fn asks(process: &rustix::fd::OwnedFd) -> bool {
    const MOST: u64 = 64 * 1024;
    const ASKED_BY: [&str; 6] = [
        "--perf-basic-prof",
        "--perf-prof",
        "+JPperf",
        "DOTNET_PerfMapEnabled=1",
        "--yjit-perf",
        "opcache.jit_debug=",
    ];
    ["cmdline", "environ"].iter().any(|file| {
        let text = contents(process, file, MOST).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        ASKED_BY.iter().any(|option| text.contains(option))
    })
}

/// The version of a Java installation, by the file `release` at its top: `lib/server/libjvm.so` is two folders further down.
fn java_version(process: &rustix::fd::OwnedFd, library: &Path) -> Option<String> {
    const MOST: u64 = 16 * 1024;
    const MOST_CHARACTERS: usize = 24;
    let home = library.ancestors().nth(3)?;
    let root = openat(process, "root", DIRECTORY, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &Path| -> Result<_, Errno> { openat2(&root, path, flags, Mode::empty(), within) };
    let file = File::from(open(&home.join("release")).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST), &mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let version = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    Some(version.trim_matches('"').chars().take(MOST_CHARACTERS).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_named_by_its_debug_information() {
        let prospect = Prospects::new(Path::new("/proc")).of(std::process::id()).unwrap();
        assert_eq!(prospect.named_by, LinesBy::DebugInformation);
        assert!(prospect.has_unwind_tables && !prospect.asks_for_perf_map);
    }

    #[test]
    fn of_a_process_that_is_gone_nothing_is_said() {
        let planted = tempfile::tempdir().unwrap();
        assert!(Prospects::new(planted.path()).of(7).is_err());
    }

    #[test]
    fn the_version_of_java_is_that_of_its_installation() {
        let planted = tempfile::tempdir().unwrap();
        let home = planted.path().join("root/opt/java");
        std::fs::create_dir_all(&home).unwrap();
        let process = rustix::fs::open(planted.path(), DIRECTORY, Mode::empty()).unwrap();
        let library = Path::new("/opt/java/lib/server/libjvm.so");
        assert_eq!(java_version(&process, library), None);
        std::fs::write(home.join("release"), "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.13\"\n").unwrap();
        assert_eq!(java_version(&process, library).as_deref(), Some("17.0.13"));
    }
}
