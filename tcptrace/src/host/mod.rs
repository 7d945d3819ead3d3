//! Facts about the machine the tool runs on: who we are, what it is called, how its clocks relate.
//! Collected first; nothing here decides what follows from them.

pub mod clock;
pub mod identity;
pub mod privilege;
pub mod tracefs;
