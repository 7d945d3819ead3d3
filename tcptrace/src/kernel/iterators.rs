//! The object of the iterators: read and linked by aya's own parser, but loaded by the ids of their hooks. aya looks a hook
//! up by its name, which takes a place in memory for each type that the kernel has before it, and probes what a kernel
//! offers: half the time of `tcptrace now`, and 5 MB. Interprets nothing that the programs write.

use std::{
    fs::File,
    io::{self, Read as _},
    mem,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use aya_obj::{EbpfSectionKind, Map, Object};
use tcptrace_ebpf::config::Config;
use zerocopy::{FromBytes, IntoBytes as _};

use super::{
    bpf_call::{self, IteratorCode},
    error::{self, LoadError},
    loader,
};

/// Bytes read at once; the kernel hands out eight pages at most in a call.
const BUFFER_BYTES: usize = 32 * 1024;

/// Programs that are linked to their maps; the kernel has the maps, and no program yet.
#[derive(Debug)]
pub(super) struct IteratorObject {
    object: Object,
    maps: Vec<(String, Map, OwnedFd)>,
}

/// A program that the kernel has verified; each run is a separate pass.
#[derive(Debug)]
pub(super) struct Iterator(OwnedFd);

impl IteratorObject {
    /// Makes the maps, with this configuration in the one that is read only.
    ///
    /// # Errors
    /// When the kernel makes no map.
    pub(super) fn new(bytes: &[u8], config: &Config) -> Result<Self, LoadError> {
        let unusable =
            |error: &(dyn std::error::Error + 'static)| LoadError::refused("take the BPF object", error);
        let mut object = Object::parse(bytes).map_err(|error| unusable(&error))?;
        let globals = [("CONFIG", (config.as_bytes(), true))].into_iter().collect();
        object.patch_map_data(globals).map_err(|error| unusable(&error))?;
        let mut maps = Vec::new();
        for (name, map) in mem::take(&mut object.maps) {
            match make(&name, &map) {
                Ok(made) => maps.push((name, map, made)),
                Err(io_error) => {
                    let error = MapError::CreateError { name, io_error };
                    return Err(unusable(&EbpfError::MapError(error)));
                }
            }
        }
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let made = maps.iter().map(|(name, map, made)| (name.as_str(), made.as_raw_fd(), map));
        object.relocate_maps(made, &sections).map_err(|error| unusable(&error))?;
        object.relocate_calls(&sections).map_err(|error| unusable(&error))?;
        Ok(Self { object, maps })
    }

    /// Sets the only value of a map.
    ///
    /// # Errors
    /// When there is no such map, or the kernel refuses.
    pub(super) fn set(&self, map: &str, value: &[u8]) -> io::Result<()> {
        let (.., made) = self.maps.iter().find(|(name, ..)| name == map).ok_or(io::ErrorKind::NotFound)?;
        bpf_call::set_first(made.as_fd(), value)
    }

    /// Has a program verified, for the hook with this id.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn load(&self, name: &str, hook: u32) -> Result<Iterator, LoadError> {
        let program = self.object.programs.get(name).ok_or_else(error::missing)?;
        let function = self.object.functions.get(&program.function_key()).ok_or_else(error::missing)?;
        let code =
            IteratorCode { name, license: &program.license, instructions: &function.instructions, hook };
        bpf_call::load_iterator(&code, loader::verifier_log_level()).map(Iterator).map_err(
            |(io_error, verifier_log)| {
                let error = ProgramError::LoadError { io_error, verifier_log };
                LoadError::refused("iterate over descriptor tables", &error)
            },
        )
    }
}

/// Makes a map with the values that the object has for it.
fn make(name: &str, map: &Map) -> io::Result<OwnedFd> {
    let made = bpf_call::create_map(name, map)?;
    if !map.data().is_empty() {
        bpf_call::set_first(made.as_fd(), map.data())?;
    }
    if map.section_kind() == EbpfSectionKind::Rodata {
        bpf_call::freeze(made.as_fd())?;
    }
    Ok(made)
}

impl Iterator {
    /// Runs the program over everything once, and visits what it writes.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub(super) fn run<R: FromBytes>(&self, mut visit: impl FnMut(R)) -> io::Result<()> {
        let mut pass = File::from(bpf_call::start_iterator(self.0.as_fd())?);
        let mut buffer = vec![0u8; BUFFER_BYTES];
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..) {
            match pass.read(space) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // The kernel returns after a long walk without a record, and wants another call.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            }
            let mut rest = buffer.get(..filled).unwrap_or_default();
            while let Ok((record, tail)) = R::read_from_prefix(rest) {
                visit(record);
                rest = tail;
            }
            let kept = rest.len();
            buffer.copy_within(filled - kept..filled, 0);
            filled = kept;
        }
        Ok(())
    }
}
