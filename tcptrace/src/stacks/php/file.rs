//! Whether a file holds PHP's virtual machine, and which: the program itself, or a libphp. By the names that it exports, and
//! by what it says to extensions.

use std::{fs::File, ops::Range};

use super::layout::{self, Layout};
use crate::stacks::elf::{BoundedFile, Elf, Segment};

/// A file that holds PHP. Addresses are those that the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stacks) struct PhpFile {
    pub(in crate::stacks) segments: Vec<Segment>,
    /// `executor_globals`. A build with threads has one for each thread, and does not export it.
    pub(in crate::stacks) globals: u64,
    /// Its machine code.
    pub(in crate::stacks) machine_code: Range<u64>,
    pub(in crate::stacks) layout: Layout,
}

/// What each module says that it was built for (`ZEND_MODULE_BUILD_ID` of Zend/zend_modules.h): `API20220829,NTS`. Builds with
/// threads say `TS`, and those for debugging, whose structures differ, `NTS,debug`.
const BEFORE: &[u8] = b"\0API";
const BEHIND: &[u8] = b",NTS\0";
const DIGITS: usize = 8;

/// Bytes of texts that are searched at once, and in all: the tables of some extensions are among them.
const CHUNK: u64 = 1 << 20;
const MOST_CHUNKS: usize = 48;

/// Which version of PHP a file holds, if its lines can be read: `8.2`.
pub(in crate::stacks) fn version(file: File) -> Option<&'static str> {
    let file = BoundedFile::new(file);
    read(&Elf::read(&file)?).map(|php| php.layout.version)
}

/// Reads it from a file; `None` of a build that is not known here, too.
pub(in crate::stacks) fn read(elf: &Elf<'_>) -> Option<PhpFile> {
    let [globals, executes] = elf.exported(["executor_globals", "execute_ex"])?;
    let (globals, _) = (globals?, executes?);
    let layout = layout::of_api(api_number(elf)?)?;
    Some(PhpFile { segments: elf.segments().collect(), globals, machine_code: elf.machine_code()?, layout })
}

/// The number of the interface that the file has for extensions.
fn api_number(elf: &Elf<'_>) -> Option<u32> {
    let texts = elf.addresses(".rodata")?;
    let length = u64::try_from(BEFORE.len() + DIGITS + BEHIND.len()).ok()?;
    let mut start = texts.start;
    for _ in 0..MOST_CHUNKS {
        let rest = texts.end.checked_sub(start).filter(|rest| *rest >= length)?;
        if let Some(number) = number_in(elf.at(start, rest.min(CHUNK))?) {
            return Some(number);
        }
        // A text may lie across two chunks.
        start = start.checked_add(CHUNK.checked_sub(length)?)?;
    }
    None
}

/// The number in the first such text among others.
fn number_in(texts: &[u8]) -> Option<u32> {
    texts.windows(BEFORE.len() + DIGITS + BEHIND.len()).find_map(|text| {
        let digits = text.strip_prefix(BEFORE)?.strip_suffix(BEHIND)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_that_exports_its_globals_holds_php_unless_it_has_threads() {
        let seed = |name: &str| {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/elf");
            version(File::open(seeds.join(name)).unwrap())
        };
        assert_eq!(seed("php-8.2"), Some("8.2"));
        assert_eq!(seed("php-8.2-with-threads"), None);
        assert_eq!(seed("python-3.12"), None);
    }

    #[test]
    fn only_builds_without_threads_and_without_debugging_have_a_number() {
        assert_eq!(number_in(b"x\0API20220829,NTS\0API420220829,NTS\0"), Some(20_220_829));
        for other in [
            &b"\0API20220829,TS\0"[..],
            b"\0API20220829,NTS,debug\0",
            b"\0API420220829,NTS\0",
            b"\0API2022o829,NTS\0",
            b"xAPI20220829,NTS\0",
            b"\0API20220829,NTS",
            b"",
        ] {
            assert_eq!(number_in(other), None, "{:?}", String::from_utf8_lossy(other));
        }
    }
}
