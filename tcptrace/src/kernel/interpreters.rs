//! The processes that run an interpreter, as the kernel side is told of them, and the programs that it says were started. Finds
//! out nothing about them.

use std::{io, time::Duration};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
    programs::{ProgramError, RawTracePoint},
};
use tcptrace_ebpf::interpreter::InterpreterProcess;
use zerocopy::IntoBytes as _;

use super::{
    error::{self, LoadError},
    records::Records,
};
use crate::host::wakeup::Wakeup;

/// Programs that are taken at once.
const BATCH: usize = 256;

/// The processes whose frames the kernel side reads.
pub(crate) struct InterpreterProcesses(HashMap<MapData, u32, [u8; size_of::<InterpreterProcess>()]>);

/// The processes that began to run another program.
pub(crate) struct StartedPrograms(Records);

pub(super) fn open(object: &mut Ebpf, started: Records) -> Option<(InterpreterProcesses, StartedPrograms)> {
    let processes = HashMap::try_from(object.take_map("INTERPRETERS")?).ok()?;
    Some((InterpreterProcesses(processes), StartedPrograms(started)))
}

impl InterpreterProcesses {
    /// Has the frames of a process read from now on.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub(crate) fn insert(&mut self, pid: u32, process: &InterpreterProcess) -> io::Result<()> {
        let mut bytes = [0; size_of::<InterpreterProcess>()];
        bytes.copy_from_slice(process.as_bytes());
        self.0.insert(pid, bytes, 0).map_err(io::Error::other)
    }
}

impl StartedPrograms {
    /// Waits until a program is started or somebody wakes the thread, or for this time at most, and passes the processes to
    /// `visit`.
    pub(crate) fn wait(&mut self, wakeup: &Wakeup, at_most: Duration, visit: &mut dyn FnMut(u32)) {
        if at_most > Duration::ZERO {
            self.0.wait(wakeup, at_most);
        }
        self.0.take(BATCH, |record| {
            let number = record.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
            if let Some(pid) = number.and_then(|number| u32::try_from(number).ok()) {
                visit(pid);
            }
        });
    }
}

/// Attaches the programs that see processes being forked and programs being started.
pub(super) fn attach(object: &mut Ebpf) -> Result<(), LoadError> {
    let refused = |error: ProgramError| LoadError::refused("see programs being started", &error);
    for (program, tracepoint) in
        [("process_forked", "sched_process_fork"), ("program_started", "sched_process_exec")]
    {
        let program = object.program_mut(program).ok_or_else(error::missing)?;
        let program: &mut RawTracePoint = program.try_into().map_err(refused)?;
        program.load().map_err(refused)?;
        program.attach(tracepoint).map_err(refused)?;
    }
    Ok(())
}
