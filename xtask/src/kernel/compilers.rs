//! Puts compilers of this host into a guest, for tests that compile programs: C with the system's headers, and the Rust that
//! builds this workspace. They are half a gigabyte, so only a guest that runs such tests has them.

use super::guest::Root;
use super::output_of;
use anyhow::{Context, Result};
use object::Object as _;
use object::read::elf::ElfFile64;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tests that compile.
pub(super) const THEY_COMPILE: &str = "compiled::";

/// What the C compiler runs and is linked with, by the names it has for them. It finds all of them where they are here.
const PROGRAMS: [&str; 5] = ["cc1", "collect2", "lto-wrapper", "as", "ld"];
const FILES: [&str; 25] = [
    "include",
    "liblto_plugin.so",
    "crt1.o",
    "Scrt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtend.o",
    "crtendS.o",
    "libgcc.a",
    "libgcc_eh.a",
    "libgcc_s.so",
    "libgcc_s.so.1",
    "libc.so",
    LIBC,
    "libc_nonshared.a",
    "libm.so",
    "libm.so.6",
    "libmvec.so.1",
    "libpthread.a",
    "libdl.a",
    "librt.a",
    "libutil.a",
    "ld-linux-x86-64.so.2",
];

const LIBC: &str = "libc.so.6";

/// Where distributions install the names in libraries, by build id.
const NAMES: &str = "/usr/lib/debug/.build-id";

/// Folders of headers, and what is taken of them: all, or the files alone.
const HEADERS: [(&str, bool); 8] = [
    ("/usr/include", false),
    ("/usr/include/arpa", true),
    ("/usr/include/asm-generic", true),
    ("/usr/include/bits", true),
    ("/usr/include/linux", true),
    ("/usr/include/netinet", true),
    ("/usr/include/sys", true),
    ("/usr/include/x86_64-linux-gnu", true),
];

/// Whether these arguments for the binary with the tests run any that compile. The binary runs on this host.
pub(super) fn are_needed(tests: &Path, arguments: &[OsString]) -> Result<bool> {
    let listed = output_of(Command::new(tests).arg("--list").args(arguments))?;
    Ok(listed.lines().any(|test| test.starts_with(THEY_COMPILE)))
}

impl Root<'_> {
    pub(super) fn compilers(&self) -> Result<()> {
        self.compiler_of_c()?;
        self.compiler_of_rust()
    }

    fn compiler_of_c(&self) -> Result<()> {
        let asked = |question: &str, name: &str| -> Result<PathBuf> {
            let answer = output_of(Command::new("cc").arg(format!("-print-{question}-name={name}")))?;
            Ok(PathBuf::from(answer.trim()))
        };
        self.found("cc")?;
        for name in PROGRAMS {
            // What it has in no folder of its own is found by PATH.
            match asked("prog", name)? {
                program if program.is_absolute() => self.program(&program, &program)?,
                _ => self.found(name)?,
            }
        }
        for name in FILES {
            let path = asked("file", name)?;
            // A name comes back as it is where there is no such file, as on other processors.
            if path.is_absolute() {
                let path = path.canonicalize().with_context(|| path.display().to_string())?;
                // The compiler asks for them by names without a version.
                self.copy(&path, &path.with_file_name(name))?;
                if name == LIBC {
                    self.names(&path)?;
                }
            }
        }
        for (folder, is_whole) in HEADERS {
            let folder = Path::new(folder);
            if is_whole && folder.exists() {
                self.copy(folder, folder)?;
            } else if folder.exists() {
                for entry in folder.read_dir()? {
                    let header = entry?.path();
                    if header.is_file() {
                        self.file(&header, &header)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies what is installed of a library's names: without it only those are known that it exports.
    fn names(&self, library: &Path) -> Result<()> {
        let bytes = fs::read(library)?;
        let library: ElfFile64<'_> = ElfFile64::parse(&*bytes)?;
        let Some([first, rest @ ..]) = library.build_id()? else { return Ok(()) };
        let mut file = format!("{NAMES}/{first:02x}/");
        for byte in rest {
            write!(file, "{byte:02x}")?;
        }
        let file = PathBuf::from(file + ".debug");
        if file.exists() { self.file(&file, &file) } else { Ok(()) }
    }

    /// The tests take the compiler that lies beside cargo.
    fn compiler_of_rust(&self) -> Result<()> {
        let root = PathBuf::from(output_of(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
        let target = output_of(Command::new("rustc").args(["--print", "host-tuple"]))?;
        let rustc = root.join("bin/rustc");
        self.program(&rustc, &rustc)?;
        let library = root.join("lib/rustlib").join(target.trim());
        self.copy(&library, &library)
    }
}
