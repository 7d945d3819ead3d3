//! Which interpreter a file holds, by what it exports: the program itself, or a library. What its own name says counts for
//! nothing.

use std::fs::File;

use tcptrace_ebpf::interpreter::FrameWalk;

use super::merge::Part;
use crate::stacks::{
    elf::{BoundedFile, Elf, Segment},
    php::file::{self as php, PhpFile},
    python::file::{self as python, PythonFile},
    ruby::file::{self as ruby, RubyFile},
};

/// An interpreter whose frames are known here. Addresses are those that its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Python(PythonFile),
    Php(PhpFile),
    Ruby(RubyFile),
}

impl Machine {
    /// Reads it from a file.
    fn of(elf: &Elf<'_>) -> Option<Self> {
        python::read(elf)
            .map(Self::Python)
            .or_else(|| php::read(elf).map(Self::Php))
            .or_else(|| ruby::read(elf).map(Self::Ruby))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        match self {
            Self::Python(file) => &file.segments,
            Self::Php(file) => &file.segments,
            Self::Ruby(file) => &file.segments,
        }
    }

    /// Where the way to its frames begins.
    pub(super) fn root(&self) -> u64 {
        match self {
            Self::Python(file) => file.runtime,
            Self::Php(file) => file.globals,
            Self::Ruby(file) => file.machine,
        }
    }

    pub(super) fn walk(&self) -> FrameWalk {
        match self {
            Self::Python(file) => file.layout.walk,
            Self::Php(file) => file.layout.walk,
            Self::Ruby(file) => file.layout.walk,
        }
    }

    /// What it has at an address.
    pub(super) fn part(&self, address: u64) -> Part {
        let machine_code = match self {
            Self::Python(file) if file.evaluates.contains(&address) => return Part::Evaluates,
            Self::Python(file) => &file.machine_code,
            Self::Php(file) => &file.machine_code,
            Self::Ruby(file) => &file.machine_code,
        };
        if machine_code.contains(&address) { Part::Machine } else { Part::Other }
    }
}

/// How the names of libraries begin that may hold an interpreter.
const LIBRARIES: [&[u8]; 3] = [b"libpython", b"libphp", b"libruby"];

/// What a file has to do with interpreters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MachinePart {
    /// It holds one.
    Holds(Box<Machine>),
    /// It needs a library that holds one, which is mapped when the program is loaded.
    Needs,
    /// It holds a build that nobody knows here, or nothing of the kind.
    Nothing,
}

impl MachinePart {
    /// Reads it from a file that nobody vouches for.
    pub(super) fn of(file: File) -> Self {
        let file = BoundedFile::new(file);
        let Some(elf) = Elf::read(&file) else { return Self::Nothing };
        if let Some(machine) = Machine::of(&elf) {
            return Self::Holds(Box::new(machine));
        }
        let is_library = |name: &[u8]| LIBRARIES.iter().any(|begin| name.starts_with(begin));
        if elf.needs().is_some_and(|mut needed| needed.any(is_library)) {
            return Self::Needs;
        }
        Self::Nothing
    }
}
