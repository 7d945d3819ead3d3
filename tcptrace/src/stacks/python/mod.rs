//! Lines of Python on the stacks of calls, from the code objects that the frames ran. What an object says is believed only as
//! far as it has the right type. `scripts/` has what is common to interpreters.

mod code;
pub(super) mod file;
mod fuzzed;
mod layout;
mod lines;
mod packages;
pub(super) mod program;

use std::{os::fd::OwnedFd, path::Path, sync::Arc};

use tcptrace_ebpf::interpreter::{PYTHON_ENTRY, ScriptFrame};

use self::{
    code::{CodeCache, Process, Types},
    file::PythonFile,
    packages::Packages,
};
pub use self::{
    fuzzed::{holds_python, script_line},
    layout::LineFormat,
    lines::line,
};
use super::{
    interpreters::may_be_own_python, memory::ProcessMemory, point::Point, rating::is_installed,
    scripts::merge::Lines,
};

/// Gives names and lines to the frames of Python.
#[derive(Default)]
pub(super) struct PythonLines {
    cache: CodeCache,
    packages: Packages,
}

impl PythonLines {
    /// The lines of frames of a process (its pid, directory and memory) whose build of Python lies so many bytes from where its
    /// file says.
    ///
    /// Ends with an address where callers are missing: at a frame that makes no sense, and where there were more.
    pub(super) fn read(
        &mut self,
        (pid, directory, memory): (u32, &OwnedFd, &ProcessMemory),
        (build, bias): (&PythonFile, u64),
        frames: &[ScriptFrame],
        is_deeper: bool,
    ) -> Lines {
        let types = Types {
            code: build.code_type.wrapping_add(bias),
            text: build.text_type.wrapping_add(bias),
            bytes: build.bytes_type.wrapping_add(bias),
        };
        let process = Process { pid, memory, layout: &build.layout, types };
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
        if let Some(outermost) = frames.last().filter(|_| is_deeper) {
            points.push(Point::Address { address: outermost.code & !PYTHON_ENTRY, by: None });
        }
        end(&mut ends, points.len());
        Lines { points, ends }
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
fn without_mark(frame: &ScriptFrame) -> ScriptFrame {
    ScriptFrame { code: frame.code & !PYTHON_ENTRY, ..*frame }
}
