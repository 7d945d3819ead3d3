//! The first byte of each kind of entry in a block of records, for writing and reading.

/// The low half of the first byte of a transition: the state entered, 1 to 12. For all other entries it is 0.
pub(crate) const STATE: u8 = 0x0f;

/// A transition: its socket was not seen in this block before.
pub(crate) const NEW_SOCKET: u8 = 0x10;
/// A transition: the task on the CPU is another than that of the transition before.
pub(crate) const OTHER_TASK: u8 = 0x20;
/// A transition: a byte follows that tells what else is not as foreseen.
pub(crate) const UNFORESEEN: u8 = 0x40;
/// A transition: it happened before the transition before.
pub(crate) const EARLIER: u8 = 0x80;

/// Unforeseen: the state left.
pub(crate) const OLD_STATE: u8 = 0x01;
/// Unforeseen: the time in it.
pub(crate) const DWELL: u8 = 0x02;
/// Unforeseen: what [`Place`](crate::forms::tct::sockets::Place) says.
pub(crate) const OTHER_PLACE: u8 = 0x04;
/// The ends are foreseen to be those of the transition before, seen from the other side.
pub(crate) const MIRRORED: u8 = 0x08;
/// Unforeseen: local address, local port, remote address, remote port.
pub(crate) const LOCAL_ADDRESS: u8 = 0x10;
pub(crate) const LOCAL_PORT: u8 = 0x20;
pub(crate) const REMOTE_ADDRESS: u8 = 0x40;
pub(crate) const REMOTE_PORT: u8 = 0x80;

/// The first byte of the other entries, which all say their length. From [`FIRST_RECORD`] on they are records.
pub(crate) const CLOCK: u8 = 0x10;
pub(crate) const TOTALS: u8 = 0x20;
pub(crate) const ADDRESS: u8 = 0x30;
pub(crate) const PLACE: u8 = 0x40;
pub(crate) const TASK: u8 = 0x50;
pub(crate) const PROCESS: u8 = 0x60;
pub(crate) const STACK: u8 = 0x70;
pub(crate) const INTERFACE: u8 = 0x80;
pub(crate) const FIRST_RECORD: u8 = 0xc0;
pub(crate) const LEAK: u8 = 0xc0;
pub(crate) const LEAK_END: u8 = 0xd0;
pub(crate) const TEXT: u8 = 0xe0;
