//! The entries of a block of records: what the first byte of each says. Shared by both directions.

/// The low half of the first byte of a transition: the state entered, 1 to 12. For all other entries it is 0.
pub const STATE: u8 = 0x0f;

/// A transition: its socket was not seen in this block before.
pub const NEW_SOCKET: u8 = 0x10;
/// A transition: the task on the CPU is another than that of the transition before.
pub const OTHER_TASK: u8 = 0x20;
/// A transition: a byte follows that tells what else is not as foreseen.
pub const UNFORESEEN: u8 = 0x40;
/// A transition: it happened before the transition before.
pub const EARLIER: u8 = 0x80;

/// Unforeseen: the state left.
pub const OLD_STATE: u8 = 0x01;
/// Unforeseen: the time in it.
pub const DWELL: u8 = 0x02;
/// Unforeseen: what [`Place`](crate::forms::tct::sockets::Place) says.
pub const OTHER_PLACE: u8 = 0x04;
/// The ends are foreseen to be those of the transition before, seen from the other side.
pub const MIRRORED: u8 = 0x08;
/// Unforeseen: local address, local port, remote address, remote port.
pub const LOCAL_ADDRESS: u8 = 0x10;
pub const LOCAL_PORT: u8 = 0x20;
pub const REMOTE_ADDRESS: u8 = 0x40;
pub const REMOTE_PORT: u8 = 0x80;

/// The first byte of the other entries, which all say their length. From [`FIRST_RECORD`] on they are records.
pub const CLOCK: u8 = 0x10;
pub const TOTALS: u8 = 0x20;
pub const ADDRESS: u8 = 0x30;
pub const PLACE: u8 = 0x40;
pub const TASK: u8 = 0x50;
pub const PROCESS: u8 = 0x60;
pub const STACK: u8 = 0x70;
pub const FIRST_RECORD: u8 = 0xc0;
pub const LEAK: u8 = 0xc0;
pub const LEAK_END: u8 = 0xd0;
pub const TEXT: u8 = 0xe0;
