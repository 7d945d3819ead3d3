//! Lines of Python on the stacks of calls. The kernel side reads the frames at the call, of processes that
//! [`finder`] has found to run Python; here they get names and lines, soon after, from the code objects. Nothing in a
//! process is stopped, written or attached to, and what it says is believed only as far as objects have the right types.

mod builds;
mod code;
mod file;
pub(crate) mod finder;
mod fuzzed;
mod layout;
mod lines;
mod merge;
mod packages;
pub(super) mod program;

use std::{fs::File, os::fd::OwnedFd, sync::Arc};

use tcptrace_ebpf::python::PYTHON_READ;

pub(super) use self::merge::merged;
use self::{
    builds::Builds,
    code::{CodeCache, Process, Types},
    file::{PythonFile, PythonPart},
    packages::Packages,
};
pub use self::{
    fuzzed::{holds_python, script_line},
    layout::LineFormat,
    lines::line,
};
use super::{interpreters::may_be_own_python, memory::ProcessMemory, point::Point};
use crate::model::captured_stack::CapturedPython;

/// Which Python 3 a file holds, by its minor version, if its lines can be read.
pub(super) fn version(file: File) -> Option<u8> {
    match PythonPart::of(file) {
        PythonPart::Holds(python) => Some(python.minor),
        PythonPart::Needs | PythonPart::Nothing => None,
    }
}

/// Gives names and lines to the frames of Python.
pub(super) struct PythonLines {
    builds: Arc<Builds>,
    cache: CodeCache,
    packages: Packages,
}

/// The lines of a stack, and where the machine is that runs them.
pub(super) struct ReadLines {
    /// Innermost first.
    pub(super) points: Vec<Point>,
    build: Arc<PythonFile>,
    /// What the process adds to the addresses that the file of the machine says.
    bias: u64,
}

impl ReadLines {
    /// Whether an address is one of the machine's code.
    pub(super) fn is_machine(&self, address: u64) -> bool {
        self.build.machine_code.contains(&address.wrapping_sub(self.bias))
    }
}

impl PythonLines {
    pub(super) fn new(builds: Arc<Builds>) -> Self {
        Self { builds, cache: CodeCache::default(), packages: Packages::default() }
    }

    /// The lines of frames that were read at a call, by the directory of the process. `None` where there are none.
    ///
    /// Ends with an address where callers are missing: at a frame that makes no sense, and where there were more.
    pub(super) fn read(&mut self, pid: u32, process: &OwnedFd, python: &CapturedPython) -> Option<ReadLines> {
        let CapturedPython { head, frames } = python;
        let build = self.builds.get(head.build).filter(|_| head.outcome == PYTHON_READ)?;
        let memory = ProcessMemory::open(process).ok()?;
        let bias = head.runtime.wrapping_sub(build.runtime);
        let types = Types {
            code: build.code_type.wrapping_add(bias),
            text: build.text_type.wrapping_add(bias),
            bytes: build.bytes_type.wrapping_add(bias),
        };
        let directory = process;
        let process = Process { pid, memory: &memory, layout: &build.layout, types };
        let mut points = Vec::new();
        for frame in frames.iter().filter(|frame| frame.code != 0) {
            let Some(mut line) = self.cache.line(&process, frame) else {
                points.push(Point::Address { address: frame.code, by: None });
                break;
            };
            if let Some(file) = line.file.as_deref().filter(|file| may_be_own_python(file)) {
                line.package = self.packages.of(pid, directory, file);
            }
            points.push(Point::Script(Arc::new(line)));
        }
        if let Some(outermost) = frames.last().filter(|_| head.is_deeper != 0) {
            points.push(Point::Address { address: outermost.code, by: None });
        }
        matches!(points.first(), Some(Point::Script(_))).then_some(ReadLines { points, build, bias })
    }
}
