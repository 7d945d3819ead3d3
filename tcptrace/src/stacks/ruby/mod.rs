//! Lines of Ruby on the stacks of calls, from the instruction sequences that the frames ran. `scripts/` has what is common to
//! interpreters.

mod code;
pub(super) mod file;
mod fuzzed;
mod layout;
mod positions;
pub(super) mod program;
pub(super) mod sources;

use std::sync::Arc;

use tcptrace_ebpf::interpreter::ScriptFrame;

pub use self::fuzzed::{holds_ruby, script_line};
use self::{
    code::{Found, Process, SequenceCache},
    file::RubyFile,
};
use super::{memory::ProcessMemory, point::Point, scripts::merge::Lines};

/// Gives names and lines to the frames of Ruby.
#[derive(Default)]
pub(super) struct RubyLines(SequenceCache);

impl RubyLines {
    /// The lines of frames of a process: its pid and memory.
    ///
    /// Ends with an address where callers are missing: at a frame that makes no sense, and where there were more.
    pub(super) fn read(
        &mut self,
        (pid, memory): (u32, &ProcessMemory),
        build: &RubyFile,
        frames: &[ScriptFrame],
        is_deeper: bool,
    ) -> Lines {
        let process = Process { pid, memory, layout: &build.layout };
        let mut points = Vec::new();
        let mut is_whole = !is_deeper;
        for frame in frames {
            match self.0.find(&process, frame) {
                Found::Line(line) => points.push(Point::Script(Arc::new(line))),
                Found::WithoutCode => {}
                Found::Nothing => {
                    is_whole = false;
                    break;
                }
            }
        }
        if let Some(outermost) = frames.last().filter(|_| !is_whole) {
            points.push(Point::Address { address: outermost.code, by: None });
        }
        let ends = vec![points.len()];
        Lines { points, ends }
    }
}
