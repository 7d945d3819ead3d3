//! The iterator over all descriptor tables: which process holds which TCP socket, on the whole host,
//! in every network and pid namespace, in one pass.

use std::{
    fs::File,
    io::{self, Read as _},
};

use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{Iter, ProgramError},
};
use tcptrace_ebpf::record::HolderRecord;
use zerocopy::FromBytes as _;

use super::load::{self, HostTypes, LoadError};
use crate::transition::StateSet;

const PROGRAM: &str = "holders";

/// Records read at once; the kernel hands out eight pages at most in a call.
const BUFFER_RECORDS: usize = 512;

/// The loaded iterator; each [`HolderScan::run`] is a pass of its own.
pub struct HolderScan {
    object: Ebpf,
    states: Array<MapData, u32>,
}

impl HolderScan {
    /// Loads the iterator (Linux 5.11 with BTF). With queues, it tells for each listener's descriptor which
    /// connections in CLOSE_WAIT wait for accept() there; that takes a tenth of a second longer to load.
    ///
    /// # Errors
    /// When the kernel has no BTF or refuses the program: a scan of /proc is the way then.
    pub fn new(with_queues: bool) -> Result<Self, LoadError> {
        let refused = |error: &ProgramError| LoadError::refused("iterate over descriptor tables", error);
        let types = HostTypes::read()?;
        let mut object = load::holders(&types, with_queues)?;
        let map = object.take_map("HOLDER_STATES").ok_or_else(load::missing)?;
        let states = Array::try_from(map)
            .map_err(|error| LoadError::refused("open the iterator's settings", &error))?;
        let program = object.program_mut(PROGRAM).ok_or_else(load::missing)?;
        let program: &mut Iter = program.try_into().map_err(|error| refused(&error))?;
        program.load("task_file", &types.btf).map_err(|error| refused(&error))?;
        Ok(Self { object, states })
    }

    /// Visits every descriptor that refers to a TCP socket in one of `states`.
    ///
    /// # Errors
    /// When the kernel ends the pass early.
    pub fn run(&mut self, states: StateSet, mut visit: impl FnMut(HolderRecord)) -> io::Result<()> {
        self.states.set(0, states.bits(), 0).map_err(io::Error::other)?;
        let mut pass = self.start().map_err(io::Error::other)?;
        let mut buffer = vec![0u8; BUFFER_RECORDS * size_of::<HolderRecord>()];
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..) {
            match pass.read(space) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // The kernel asks to be called again when it has walked long without a record.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            }
            let mut rest = buffer.get(..filled).unwrap_or_default();
            while let Ok((record, tail)) = HolderRecord::read_from_prefix(rest) {
                visit(record);
                rest = tail;
            }
            let kept = rest.len();
            buffer.copy_within(filled - kept..filled, 0);
            filled = kept;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<File, Box<dyn std::error::Error + Send + Sync>> {
        let program = self.object.program_mut(PROGRAM).ok_or("the iterator is gone")?;
        let program: &mut Iter = program.try_into()?;
        let link = program.attach()?;
        Ok(program.take_link(link)?.into_file()?)
    }
}
