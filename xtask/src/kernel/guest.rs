//! Builds the guest: an archive with the tests, the programs they run, the libraries of these, and the first script.

use super::{compilers, output_of, package::Kernel, variant};
use crate::cargo::workspace;
use crate::privilege::find_program;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that the tests, or the script below, run.
const PROGRAMS: [&str; 19] = [
    "sh", "bash", "cat", "cp", "env", "grep", "id", "insmod", "ip", "ln", "mkdir", "mount", "mv", "php",
    "ruby", "script", "ss", "sleep", "unshare",
];

/// Debian's packages with these programs, and with [`PYTHON`].
pub(crate) const PACKAGES: [&str; 11] = [
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "grep",
    "iproute2",
    "kmod",
    "mount",
    "php-cli",
    "python3-minimal",
    "util-linux",
];

/// A link that a package makes when it is installed, which one that is unpacked lacks, and what it leads to.
const PHP: (&str, &str) = ("usr/bin/php", "php.default");

/// Folders of packages that have what programs need to run; first those with links to programs in others, by the same name.
const OF_PACKAGES: [&str; 5] = ["sbin", "bin", "lib", "usr/bin", "usr/lib"];

/// Modules that distributions do not compile into the kernel, in the order of their dependencies; first those that list
/// sockets.
const DIAG_MODULES: [&str; 3] = ["net/ipv4/inet_diag", "net/ipv4/tcp_diag", "net/mptcp/mptcp_diag"];
const MODULES: [&str; 2] = ["drivers/net/veth", "drivers/net/tun"];

/// The Python of the system, which a test runs if it is there.
const PYTHON: &str = "/usr/bin/python3";

/// Files of this host that programs read, for any processor. Debian's PHP has its time zones from the system: without UTC
/// it begins each output with a warning.
const SETTINGS: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/usr/share/zoneinfo/UTC"];

/// The line with the exit code of the tests, on the guest's console.
pub(crate) const VERDICT: &str = "the tests ended with ";

/// What goes into a guest.
pub(crate) struct Guest<'a> {
    pub kernel: &'a Kernel,
    /// The root with programs of others for the kernel's processor; none where those of this host run on it.
    pub programs: Option<&'a Path>,
    /// The tool. In the guest it has the same path as on this host, as all our programs do.
    pub tool: &'a Path,
    /// The folder with the test programs, which the tests look for beside the tool.
    pub examples: &'a Path,
    /// The binary with the tests.
    pub tests: &'a Path,
    /// Arguments for that binary.
    pub arguments: &'a [OsString],
}

impl Guest<'_> {
    /// Packs everything into one file, which the kernel unpacks into memory.
    pub(crate) fn build(&self, directory: &Path) -> Result<PathBuf> {
        let stage = tempfile::tempdir_in(directory)?;
        let root = Root(stage.path());
        root.folders()?;
        if let Some(programs) = self.programs {
            root.packages(programs)?;
        } else {
            root.programs_of_this_host()?;
            if compilers::are_needed(self.tests, self.arguments)? {
                root.compilers()?;
            }
        }
        for name in SETTINGS {
            let path = Path::new(name);
            if path.exists() {
                root.file(path, path)?;
            }
        }
        for program in [self.tool, self.tests] {
            root.program(program, program)?;
        }
        for entry in fs::read_dir(self.examples)? {
            let path = entry?.path();
            // Cargo keeps a second file for each, with a hash in its name.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.contains('-') && !name.ends_with(".d") {
                root.program(&path, &self.tool.with_file_name("examples").join(&*name))?;
            }
        }
        let sources = workspace().canonicalize()?;
        output_of(Command::new("cp").arg("-a").arg(sources.join("tests")).arg(root.at(&sources)?))?;
        fs::create_dir_all(root.at(&sources.join("tcptrace"))?)?;
        let begin = root.at(Path::new("/init"))?;
        fs::write(
            &begin,
            self.script(
                &sources.join("tcptrace"),
                &self.insert(&root, &MODULES)?,
                &self.insert(&root, &DIAG_MODULES)?,
            ),
        )?;
        fs::set_permissions(&begin, PermissionsExt::from_mode(0o755))?;
        root.pack(&directory.join(format!("{}.cpio", self.kernel.release)))
    }

    /// Copies modules into the guest; the commands that load them there.
    fn insert(&self, root: &Root<'_>, names: &[&str]) -> Result<String> {
        let mut commands = String::new();
        for name in names {
            // A module may be compressed, or be compiled into this kernel.
            for ending in ["ko", "ko.xz", "ko.zst"] {
                let from = self.kernel.modules.join(format!("{name}.{ending}"));
                if from.exists() {
                    let to = format!("/modules/{}", from.file_name().unwrap_or_default().to_string_lossy());
                    root.file(&from, Path::new(&to))?;
                    writeln!(commands, "insmod {to}")?;
                }
            }
        }
        Ok(commands)
    }

    fn script(&self, directory: &Path, insert: &str, insert_diag: &str) -> String {
        let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let mut arguments = String::new();
        // Writing into memory does not fail.
        for word in self.arguments {
            let _ = write!(arguments, " {}", quoted(&word.to_string_lossy()));
        }
        let variants = variant::script(insert_diag);
        // Debian has 3 there, which only its kernel knows; 2 is what Linux begins with. What the kernel says of its end would
        // come into the middle of the verdict.
        format!(
            "#!/bin/sh\n\
             export PATH=/usr/bin HOME=/root EMULATED_PROCESSOR=1\n\
             mount -t proc proc /proc\n\
             mount -t sysfs sysfs /sys\n\
             mount -t devtmpfs devtmpfs /dev\n\
             mkdir -p /dev/pts /dev/shm\n\
             mount -t devpts -o ptmxmode=666 devpts /dev/pts\n\
             ln -s /proc/self/fd /dev/fd\n\
             mount -t tracefs tracefs /sys/kernel/tracing\n\
             mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
             mount -t tmpfs tmpfs /tmp\n\
             ip link set lo up\n\
             echo 2 > /proc/sys/kernel/perf_event_paranoid\n\
             {insert}\
             {variants}\
             ulimit -n 20000\n\
             cd {}\n\
             {}{arguments}\n\
             echo \"{VERDICT}$?\"\n\
             sleep 1\n\
             echo o > /proc/sysrq-trigger\n\
             sleep 60\n",
            quoted(&directory.to_string_lossy()),
            quoted(&self.tests.to_string_lossy()),
        )
    }
}

/// The folder that becomes the guest's root.
pub(super) struct Root<'a>(&'a Path);

impl Root<'_> {
    /// Where a path of the guest is in this folder. Creates the directories above it.
    fn at(&self, path: &Path) -> Result<PathBuf> {
        let relative: PathBuf =
            path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let here = self.0.join(relative);
        let folder = here.parent().context("a path below the root")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(here)
    }

    fn folders(&self) -> Result<()> {
        for name in [
            "dev",
            "etc/sysctl.d",
            "mnt",
            "proc",
            "root",
            "run",
            "sys",
            "tmp",
            "usr/bin",
            "usr/lib",
            "usr/lib64",
            "var/tmp",
        ] {
            fs::create_dir_all(self.0.join(name))?;
        }
        for (name, target) in
            [("bin", "usr/bin"), ("sbin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
        {
            symlink(target, self.0.join(name))?;
        }
        Ok(())
    }

    /// Copies a file, a link or a folder, as it is.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.at(to)?;
        output_of(Command::new("cp").args(["-a", "--no-target-directory"]).arg(from).arg(to))?;
        Ok(())
    }

    pub(super) fn file(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.at(to)?;
        if !to.exists() {
            fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(())
    }

    /// Copies what packages were unpacked to. Some have folders where the root has links.
    fn packages(&self, unpacked: &Path) -> Result<()> {
        for name in OF_PACKAGES {
            let from = unpacked.join(name);
            if from.exists() {
                let mut copy = Command::new("cp");
                copy.args(["-a", "--remove-destination"]);
                output_of(copy.arg(from.join(".")).arg(self.0.join(name)))?;
            }
        }
        let (link, target) = PHP;
        symlink(target, self.0.join(link)).context("cannot make the link to PHP")
    }

    fn programs_of_this_host(&self) -> Result<()> {
        for name in PROGRAMS {
            self.found(name)?;
        }
        if Path::new(PYTHON).exists() {
            self.python()?;
        }
        self.perl()?;
        self.library_of_ruby()
    }

    /// Copies a program that is found by its name.
    pub(super) fn found(&self, name: &str) -> Result<()> {
        let program = find_program(name)
            .with_context(|| format!("there is no {name} in PATH, which the guest needs"))?;
        self.program(&program, &Path::new("/usr/bin").join(name))
    }

    /// Copies a program with the libraries it needs.
    pub(super) fn program(&self, from: &Path, to: &Path) -> Result<()> {
        self.file(from, to)?;
        // ldd fails for a program that needs no libraries.
        let listed = Command::new("ldd").arg(from).output().context("cannot run ldd")?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        for library in listed.split_whitespace().map(Path::new).filter(|word| word.is_absolute()) {
            // Some are named by a way through another folder.
            let folder = library.parent().context("a folder of libraries")?.canonicalize()?;
            self.file(library, &folder.join(library.file_name().context("a library")?))?;
        }
        Ok(())
    }

    /// Copies the system's Python, with what belongs to it.
    fn python(&self) -> Result<()> {
        self.program(Path::new(PYTHON), Path::new(PYTHON))?;
        let library = output_of(
            Command::new(PYTHON).args(["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]),
        )?;
        let library = Path::new(library.trim());
        self.copy(library, library)
    }

    /// Copies Perl, with what a program loads that opens sockets.
    fn perl(&self) -> Result<()> {
        const LOADED: &str = r#"print map("$_\n", values %INC, @DynaLoader::dl_shared_objects)"#;
        self.found("perl")?;
        let loaded = output_of(Command::new("perl").args(["-MSocket", "-e", LOADED]))?;
        for path in loaded.lines().map(Path::new) {
            self.file(path, path)?;
        }
        Ok(())
    }

    /// Copies what the system's Ruby loads: its library, the part of that in C, and what distributions add.
    fn library_of_ruby(&self) -> Result<()> {
        const FOLDERS: &str = "puts RbConfig::CONFIG.values_at('rubylibdir', 'rubyarchdir', 'vendordir')";
        let folders = output_of(Command::new("ruby").args(["-e", FOLDERS]))?;
        for folder in folders.lines().map(Path::new).filter(|folder| folder.exists()) {
            self.copy(folder, folder)?;
        }
        Ok(())
    }

    /// Packs the folder into an archive that the kernel can unpack.
    fn pack(&self, to: &Path) -> Result<PathBuf> {
        let archive = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
        let mut names = Command::new("find").arg(".").current_dir(self.0).stdout(Stdio::piped()).spawn()?;
        let listed = names.stdout.take().context("the output of find")?;
        let mut cpio = Command::new("cpio");
        cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"]);
        let status =
            cpio.current_dir(self.0).stdin(listed).stdout(archive).status().context("cannot run cpio")?;
        anyhow::ensure!(
            names.wait()?.success() && status.success(),
            "cannot pack {}: {status}",
            to.display()
        );
        Ok(to.to_owned())
    }
}
