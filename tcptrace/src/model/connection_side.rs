//! Which side made a connection.

/// Which side made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionSide {
    /// The peer: this side accepted it.
    Accepted,
    /// This side.
    Connected,
}
