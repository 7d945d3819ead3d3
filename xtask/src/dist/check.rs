//! Refuses a binary that would need anything of the host it runs on but the kernel, or that is not what is to be handed
//! out: stripped, with its debug file and its list of crates.

use super::binary::Binary;
use anyhow::{Context, Result, ensure};
use object::elf::{DT_NEEDED, PT_INTERP};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use std::fs;
use std::path::Path;

/// What must not be linked in: in a static binary glibc answers these through libraries of the very same glibc, which
/// the host may not have. `dlopen` itself is part of every static program (glibc's rtld_static_init.c refers to it).
const FORBIDDEN: [&str; 24] = [
    "getaddrinfo",
    "getgrent",
    "getgrgid",
    "getgrgid_r",
    "getgrnam",
    "getgrnam_r",
    "getgrouplist",
    "gethostbyaddr",
    "gethostbyaddr_r",
    "gethostbyname",
    "gethostbyname2",
    "gethostbyname_r",
    "getnameinfo",
    "getnetbyname",
    "getprotobyname",
    "getpwent",
    "getpwnam",
    "getpwnam_r",
    "getpwuid",
    "getpwuid_r",
    "getservbyname",
    "getservbyport",
    "iconv_open",
    "initgroups",
];

/// Checks everything that can be seen without running it.
pub(crate) fn check(binary: &Binary) -> Result<()> {
    with_elf(&binary.linked, is_static)?;
    let handed_out = with_elf(&binary.stripped, |elf| {
        is_static(elf)?;
        is_stripped(elf)?;
        build_id(elf)
    })?;
    let of_debug_file = with_elf(&binary.debug, |elf| {
        ensure!(elf.section_by_name(".debug_line").is_some(), "has no lines of code");
        build_id(elf)
    })?;
    ensure!(handed_out == of_debug_file, "the debug file is that of another binary");
    Ok(())
}

type Elf<'a> = ElfFile64<'a>;

fn with_elf<T>(path: &Path, look: impl FnOnce(&Elf<'_>) -> Result<T>) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let elf = Elf::parse(&*bytes).with_context(|| format!("{} is no ELF file", path.display()))?;
    look(&elf).with_context(|| format!("{} cannot be handed out", path.display()))
}

fn is_static(elf: &Elf<'_>) -> Result<()> {
    let (endian, data) = (elf.endian(), elf.data());
    for segment in elf.elf_header().program_headers(endian, data)? {
        ensure!(segment.p_type(endian) != PT_INTERP, "it has an interpreter: it is not static");
        for entry in segment.dynamic(endian, data)?.unwrap_or_default() {
            ensure!(entry.d_tag(endian) != DT_NEEDED, "it needs a library: it is not static");
        }
    }
    ensure!(
        elf.section_by_name(".gnu.version_r").is_none(),
        "it needs versions of symbols, such as GLIBC_2.34"
    );
    let imported: Vec<_> =
        elf.dynamic_symbols().filter(|symbol| symbol.is_undefined() && !symbol.is_weak()).collect();
    ensure!(imported.is_empty(), "it imports symbols: {imported:?}");
    let forbidden: Vec<_> = elf
        .symbols()
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| FORBIDDEN.contains(name))
        .collect();
    ensure!(
        forbidden.is_empty(),
        "it asks the name service, which is made of libraries of the host: {}",
        forbidden.join(", ")
    );
    Ok(())
}

fn is_stripped(elf: &Elf<'_>) -> Result<()> {
    ensure!(elf.symbols().next().is_none(), "it still has symbols");
    for name in [".debug_info", ".debug_line"] {
        ensure!(elf.section_by_name(name).is_none(), "it still has debug information");
    }
    ensure!(elf.gnu_debuglink()?.is_some(), "it does not name its debug file");
    let crates = elf.section_by_name(".dep-v0").context("it has no list of its crates")?;
    ensure!(!crates.data()?.is_empty(), "the list of its crates is empty");
    Ok(())
}

fn build_id(elf: &Elf<'_>) -> Result<Vec<u8>> {
    Ok(elf.build_id()?.context("it has no build id")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Elf, is_static, is_stripped, with_elf};
    use anyhow::Result;

    #[test]
    fn a_program_that_needs_libraries_and_has_symbols_is_refused() -> Result<()> {
        let this = std::env::current_exe()?;
        let refusal = |look: fn(&Elf<'_>) -> Result<()>| {
            with_elf(&this, look).err().map(|error| format!("{error:#}")).unwrap_or_default()
        };
        assert!(refusal(is_static).contains("not static"), "{:?}", refusal(is_static));
        assert!(refusal(is_stripped).contains("still has symbols"), "{:?}", refusal(is_stripped));
        Ok(())
    }
}
