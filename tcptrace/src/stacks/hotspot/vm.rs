//! A virtual machine in a process: what it says of itself, read once.

use std::path::Path;

use super::{
    archives::Archives,
    description::{Description, SYMBOLS, Symbols},
    frames::Step,
    layout::{CONSTANTS, Layout, TYPES},
};
use crate::stacks::{
    elf::Elf,
    memory::{Look, Memory},
    registers::FrameRegisters,
};

/// What libjvm.so exports, at the addresses that the file says.
#[derive(Clone, Debug)]
pub(in crate::stacks) struct Exports(Symbols);

impl Exports {
    /// Reads them; `None` of a file that exports no description of HotSpot.
    pub(in crate::stacks) fn read(elf: &Elf<'_>) -> Option<Self> {
        let addresses = SYMBOLS.into_iter().zip(elf.exported(SYMBOLS)?);
        addresses.map(|(name, address)| Some((name, address?))).collect::<Option<Symbols>>().map(Self)
    }

    /// Those at these addresses.
    pub(super) fn of(symbols: Symbols) -> Self {
        Self(symbols)
    }

    /// Where they are in a process that has mapped the file so far from those addresses.
    pub(in crate::stacks) fn moved(&self, base: u64) -> Self {
        Self(self.0.iter().map(|(name, address)| (*name, address.wrapping_add(base))).collect())
    }
}

/// Whether a file may be a Java VM, by its name; what it exports tells.
pub(in crate::stacks) fn is_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"libjvm.so"))
}

/// HotSpot in a process.
#[derive(Debug)]
pub(in crate::stacks) struct HotSpot<M> {
    memory: M,
    exports: Exports,
    /// `None` until it has described itself: it does so early, but not first of all.
    layout: Option<Layout>,
    archives: Archives,
}

impl<M: Memory> HotSpot<M> {
    pub(in crate::stacks) fn new(memory: M, exports: Exports, archives: Archives) -> Self {
        Self { memory, exports, layout: None, archives }
    }

    /// Whether the program still runs in its process.
    pub(in crate::stacks) fn is_there(&self) -> bool {
        let address = self.exports.0.values().next();
        address.is_some_and(|address| self.memory.fill(*address, &mut [0; 8]).is_some())
    }

    /// Begins a look at a stack; `None` where the program is gone, or does not describe itself.
    pub(in crate::stacks) fn look(&mut self) -> Option<StackLook<'_>> {
        if self.layout.is_none() {
            let look = Look::at(&self.memory);
            let described = Description::read(&look, &self.exports.0, &TYPES, &CONSTANTS);
            self.layout = described.and_then(|description| Layout::of(&look, &description));
        }
        let look = Look::at(&self.memory);
        let layout = self.layout.as_ref()?;
        look.u64(layout.code.low)?;
        Some(StackLook { layout, look, archives: &mut self.archives })
    }
}

/// A look at one stack.
pub(in crate::stacks) struct StackLook<'a> {
    layout: &'a Layout,
    look: Look<'a>,
    archives: &'a mut Archives,
}

impl StackLook<'_> {
    /// Goes to the caller of the frame with these registers.
    pub(in crate::stacks) fn step(&mut self, at: FrameRegisters, stack: &dyn Fn(u64) -> Option<u64>) -> Step {
        match self.layout.step(&self.look, at, stack) {
            Step::Elsewhere => Step::Elsewhere,
            Step::Frame { lines, caller } => {
                let lines = lines.into_iter().map(|line| self.archives.place(line)).collect();
                Step::Frame { lines, caller }
            }
        }
    }
}
