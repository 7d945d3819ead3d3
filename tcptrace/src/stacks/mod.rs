//! Turns the addresses of a stack into lines of code. Reads untrusted files: bounded, and on a thread with a deadline.

mod binary;
pub(crate) mod deadline;
mod debug_files;
pub(crate) mod elf;
pub(crate) mod frame;
mod function_name;
pub(crate) mod go;
pub(crate) mod hotspot;
mod interpreters;
mod java;
mod kept_code;
mod kind;
mod mapped_code;
pub(crate) mod mappings;
mod memory;
mod modules;
mod names_of_languages;
pub(crate) mod perf_map;
pub(crate) mod point;
pub(crate) mod prospect;
pub(crate) mod python;
mod rating;
mod registers;
mod site;
mod sources;
pub(crate) mod symbols;
pub(crate) mod unwind;
