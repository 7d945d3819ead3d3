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

use std::{fs::File, os::fd::OwnedFd, path::Path, sync::Arc};

use tcptrace_ebpf::python::{PYTHON_ENTRY, PYTHON_READ, PythonFrame};

pub(super) use self::merge::{Part, merged};
use self::{
    builds::Builds,
    code::{CodeCache, Process, Types},
    file::{PythonFile, PythonPart},
    merge::Lines,
    packages::Packages,
};
pub use self::{
    fuzzed::{holds_python, script_line},
    layout::LineFormat,
    lines::line,
};
use super::{interpreters::may_be_own_python, memory::ProcessMemory, point::Point, rating::is_installed};
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
    pub(super) lines: Lines,
    build: Arc<PythonFile>,
    /// What the process adds to the addresses that the file of the machine says.
    bias: u64,
}

impl ReadLines {
    /// What the machine has at an address.
    pub(super) fn part(&self, address: u64) -> Part {
        let stated = address.wrapping_sub(self.bias);
        match &*self.build {
            build if build.evaluates.contains(&stated) => Part::Evaluates,
            build if build.machine_code.contains(&stated) => Part::Machine,
            _ => Part::Other,
        }
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
        let (mut points, mut ends) = (Vec::new(), Vec::new());
        for frame in frames {
            let (frame, is_entry) = (without_mark(frame), build.layout.begins_call(frame));
            // One without code stands for the call of the machine, since 3.12.
            if frame.code == 0 {
                end(&mut ends, points.len());
                continue;
            }
            let Some(mut line) = self.cache.line(&process, &frame) else {
                points.push(Point::Address { address: frame.code, by: None });
                break;
            };
            if let Some(file) = line.file.as_deref().filter(|file| may_be_own_python(file)) {
                line.package = self.packages.of(pid, directory, file);
            }
            points.push(Point::Script(Arc::new(line)));
            if is_entry {
                end(&mut ends, points.len());
            }
        }
        if let Some(outermost) = frames.last().filter(|_| head.is_deeper != 0) {
            points.push(Point::Address { address: outermost.code & !PYTHON_ENTRY, by: None });
        }
        end(&mut ends, points.len());
        matches!(points.first(), Some(Point::Script(_))).then_some(ReadLines {
            lines: Lines { points, ends },
            build,
            bias,
        })
    }

    /// Whether a library that a process has mapped is an extension of the application's own.
    pub(super) fn is_own_extension(&mut self, pid: u32, process: &OwnedFd, path: &Path) -> bool {
        // PyInstaller unpacks those of others there.
        const UNPACKED: &str = "/_MEI";
        let Some(path) = path.to_str() else { return false };
        let is_library = Path::new(path).extension().is_some_and(|extension| extension == "so");
        let may_be = is_library && !path.contains(UNPACKED) && !is_installed(Path::new(path));
        may_be && may_be_own_python(path) && self.packages.of(pid, process, path).is_none()
    }
}

/// Notes that a call of the machine ends there, if it has run any line.
fn end(ends: &mut Vec<usize>, at: usize) {
    if at > ends.last().copied().unwrap_or(0) {
        ends.push(at);
    }
}

/// A frame without the mark of its entry.
fn without_mark(frame: &PythonFrame) -> PythonFrame {
    PythonFrame { code: frame.code & !PYTHON_ENTRY, ..*frame }
}
