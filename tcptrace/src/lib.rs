//! tcptrace names the process that never closed its TCP sockets, and says why.
//!
//! The rooms, from the ground up: `model` (values), `diagnosis` (rules), `host`, `kernel` (the one door to
//! BPF), `netlink` (the one door to sock_diag), `process`, `stacks`, `inspect`, `forms`, `output`, `report`,
//! `commands`. No import points up. See ARCHITECTURE.md.

pub mod commands;
mod diagnosis;
mod forms;
mod host;
mod inspect;
mod kernel;
mod model;
mod netlink;
mod output;
mod process;
mod report;
mod stacks;

pub use self::host::{
    allocator::keep_little as keep_little_memory, interrupts::heed as heed_interrupts,
    open_files::raise as raise_open_files, world::World,
};

/// What this repository's own tests, fuzz targets and example programs use; no promise to anybody else.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        commands::{
            help::command as command_line,
            shared::sockets::{CloseWaitTable, NextStep},
        },
        forms::{
            reading::{losses::Losses, reader::Reader},
            tct::{
                block::BLOCK_BYTES,
                decoder::{BlockDecoder, Item},
                encoder::BlockEncoder,
                frame::HEADER_BYTES,
                index::{note, trailer},
                preamble::preamble,
            },
        },
        model::{
            endpoints::Endpoints,
            pid::Pid,
            record::{Record, Totals},
            socket::{Identity, KernelSocket, Socket, SocketKey},
            state::State,
            task::{Comm, Task},
            transition::Transition,
        },
    };

    /// What reads bytes of strangers, for the fuzz targets.
    pub mod fuzzed {
        pub use crate::stacks::{
            elf::read_all as read_elf,
            go::{line::Line as GoLine, lines_of as go_lines},
            hotspot::walk as walk_java,
            mappings::{Mapping, parse_all as parse_mappings},
            perf_map::look_up as look_up_perf_map,
            php::{holds_php, script_line as php_script_line},
            point::{ScriptLanguage, ScriptLine},
            python::{LineFormat, holds_python, line as python_line, script_line as python_script_line},
            ruby::{holds_ruby, script_line as ruby_script_line},
            unwind::{has_caller_rule, unwound},
        };
    }
}
