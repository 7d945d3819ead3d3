//! Lines of PHP on the stacks of calls, from the op arrays that the frames ran. `scripts/` has what is common to interpreters.

mod code;
pub(super) mod file;
mod fuzzed;
mod layout;
mod packages;
pub(super) mod program;
pub(super) mod sources;

use std::{os::fd::OwnedFd, sync::Arc};

use tcptrace_ebpf::interpreter::{PHP_NAMELESS, ScriptFrame};

pub use self::fuzzed::{holds_php, script_line};
use self::{
    code::{Found, FunctionCache, Process},
    file::PhpFile,
    packages::Packages,
};
use super::{memory::ProcessMemory, point::Point, scripts::merge::Lines};

/// Gives names and lines to the frames of PHP.
#[derive(Default)]
pub(super) struct PhpLines {
    cache: FunctionCache,
    packages: Packages,
}

impl PhpLines {
    /// The lines of frames of a process: its pid, directory and memory.
    ///
    /// Ends with an address where callers are missing: at a frame that makes no sense, at one that stands for a generator
    /// which others run by `yield from` (`zend_generator.execute_fake` of Zend/zend_generators.h), and where there were more.
    pub(super) fn read(
        &mut self,
        (pid, directory, memory): (u32, &OwnedFd, &ProcessMemory),
        build: &PhpFile,
        frames: &[ScriptFrame],
        is_deeper: bool,
    ) -> Lines {
        let process = Process { pid, memory, layout: &build.layout };
        let mut points = Vec::new();
        let mut is_whole = !is_deeper;
        for frame in frames {
            match self.cache.find(&process, frame) {
                Found::Line(mut line) => {
                    let file = line.file.as_deref();
                    line.package = file.and_then(|file| self.packages.of(pid, directory, file));
                    points.push(Point::Script(Arc::new(line)));
                }
                Found::Unnamed => {}
                Found::Nothing => {
                    is_whole = false;
                    break;
                }
            }
        }
        if let Some(outermost) = frames.last().filter(|_| !is_whole) {
            points.push(Point::Address { address: outermost.code & !PHP_NAMELESS, by: None });
        }
        let ends = vec![points.len()];
        Lines { points, ends }
    }
}
