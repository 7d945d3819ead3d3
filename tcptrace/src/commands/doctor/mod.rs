//! `tcptrace doctor`: what this host offers and lacks.

pub(crate) mod arguments;
mod check;
mod host;
mod kernel;
mod programs;
pub(crate) mod run;
mod text;
