//! Lines of interpreted code on the stacks of calls. The kernel side reads the frames at the call, of processes that
//! [`finder`] has found to run Python, PHP or Ruby; here they get names and lines, soon after, from the code that the frames ran.
//! Nothing in a process is stopped, written or attached to, and what it says is believed only as far as it fits together.

mod builds;
pub(super) mod files;
pub(crate) mod finder;
mod machine;
pub(super) mod merge;
pub(super) mod variable;

use std::{os::fd::OwnedFd, path::Path, sync::Arc};

use tcptrace_ebpf::interpreter::FRAMES_READ;

pub(super) use self::merge::{Part, merged};
use self::{builds::Builds, machine::Machine, merge::Lines};
use super::{memory::ProcessMemory, php::PhpLines, point::Point, python::PythonLines, ruby::RubyLines};
use crate::model::captured_stack::CapturedFrames;

/// Gives names and lines to the frames of interpreters.
pub(super) struct ScriptLines {
    builds: Arc<Builds>,
    python: PythonLines,
    php: PhpLines,
    ruby: RubyLines,
}

/// The lines of a stack, and where the machine is that runs them.
pub(super) struct ReadLines {
    pub(super) lines: Lines,
    machine: Arc<Machine>,
    /// What the process adds to the addresses that the file of the machine says.
    bias: u64,
}

impl ReadLines {
    /// What the machine has at an address.
    pub(super) fn part(&self, address: u64) -> Part {
        self.machine.part(address.wrapping_sub(self.bias))
    }
}

impl ScriptLines {
    pub(super) fn new(builds: Arc<Builds>) -> Self {
        Self { builds, python: PythonLines::default(), php: PhpLines::default(), ruby: RubyLines::default() }
    }

    /// The lines of frames that were read at a call, by the directory of the process. `None` where there are none.
    ///
    /// Ends with an address where callers are missing: at a frame that makes no sense, and where there were more.
    pub(super) fn read(
        &mut self,
        pid: u32,
        process: &OwnedFd,
        captured: &CapturedFrames,
    ) -> Option<ReadLines> {
        let CapturedFrames { head, frames } = captured;
        let machine = self.builds.get(head.build).filter(|_| head.outcome == FRAMES_READ)?;
        let memory = ProcessMemory::open(process).ok()?;
        let bias = head.root.wrapping_sub(machine.root());
        let is_deeper = head.is_deeper != 0;
        let lines = match &*machine {
            Machine::Python(build) => {
                self.python.read((pid, process, &memory), (build, bias), frames, is_deeper)
            }
            Machine::Php(build) => self.php.read((pid, process, &memory), build, frames, is_deeper),
            Machine::Ruby(build) => self.ruby.read((pid, &memory), build, frames, is_deeper),
        };
        let is_told = matches!(lines.points.first(), Some(Point::Script(_)));
        is_told.then_some(ReadLines { lines, machine, bias })
    }

    /// Whether a library that a process has mapped is an extension of the application's own.
    pub(super) fn is_own_extension(&mut self, pid: u32, process: &OwnedFd, path: &Path) -> bool {
        self.python.is_own_extension(pid, process, path)
    }
}
