//! A scene's stage: its folder, its configurations, and the processes that play in it. It judges nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{processes, until};

/// Debian's Python, which has the libraries that Debian packages.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// One scene at a time: at its end all descendants of the test binary are killed.
pub(crate) struct Stage {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(rustix::process::geteuid().is_root(), "scenes need root: run `cargo xtask scenes`");
        processes::adopt_orphans();
        let folder = tempfile::Builder::new().prefix("tcptrace-scene-").tempdir().expect("a folder");
        // Servers that leave root behind reach their files below it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of our own");
        Self { folder, _turn: turn }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration `name` of `apps/`, with each `@KEY@` replaced, and `@FOLDER@` and `@APPS@`.
    pub(crate) fn configuration(&self, name: &str, values: &[(&str, &str)]) -> String {
        let mut text = fs::read_to_string(app(name)).expect("a configuration beside the tests");
        let own = [("FOLDER", self.folder().display().to_string()), ("APPS", app("").display().to_string())];
        let given = values.iter().map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in given.chain(own) {
            text = text.replace(&format!("@{key}@"), &value);
        }
        let path = self.folder().join(name);
        fs::write(&path, text).expect("a folder of our own");
        path.display().to_string()
    }

    /// Starts a process that writes to `NAME.log` in the folder, and returns its pid.
    pub(crate) fn start(&self, name: &str, command: &mut Command) -> i32 {
        self.spawn(name, command).id().cast_signed()
    }

    /// Starts one of the Python programs in `apps/`.
    pub(crate) fn python(&self, name: &str, arguments: &[&str]) -> i32 {
        self.start(name, Command::new(PYTHON).arg(app(&format!("{name}.py"))).args(arguments))
    }

    /// Starts twice as many processes that compute as there are processors.
    pub(crate) fn keep_processors_busy(&self) {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..2 * processors {
            self.start("busy", Command::new("sh").args(["-c", "while :; do :; done"]));
        }
    }

    /// Runs a command to its end, which has to be a success.
    pub(crate) fn run(&self, name: &str, command: &mut Command) {
        let status = self.spawn(name, command).wait().expect("a child can be awaited");
        assert!(status.success(), "{name}: {status}");
    }

    /// What a process has printed.
    pub(crate) fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.folder().join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a process has printed `words`.
    pub(crate) fn until_says(&self, name: &str, words: &str) {
        until(&format!("{name} says {words:?}"), || self.log(name).contains(words), || self.log(name));
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Child {
        let log = |options: &mut fs::OpenOptions| -> File {
            options.create(true).open(self.folder().join(format!("{name}.log"))).expect("a log")
        };
        let (output, errors) = (log(File::options().append(true)), log(File::options().append(true)));
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        // SAFETY: the closure makes one system call and does not allocate.
        unsafe {
            command.pre_exec(|| {
                // A test binary that is killed runs no destructors.
                Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?)
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; `cargo xtask scenes` installs what scenes need")
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
                let path = log.path();
                if path.extension().is_some_and(|ending| ending == "log") {
                    let text = fs::read(&path).unwrap_or_default();
                    println!("--- {}\n{}", path.display(), String::from_utf8_lossy(&text));
                }
            }
        }
        processes::end_all();
    }
}

/// The path of a program or configuration of the scenes.
pub(crate) fn app(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenes/apps");
    // Some of the software resolves no `..`.
    folder.canonicalize().expect("the programs of the scenes").join(name)
}
