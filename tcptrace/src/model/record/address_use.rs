//! What has a local port at one address, as far as bind() minds. Values only; what bind() makes of them is decided in
//! `diagnosis::time_wait::address_in_use`.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::model::{endpoints::Endpoint, owner_count::OwnerCount, state::State};

/// What sockets do with a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressRole {
    /// They listen.
    Listener,
    /// They are bound, and neither listen nor are connected.
    Bound,
    /// They are connections of a service, or of a process that has bound the port before connect().
    Connection,
    /// They are connections from here, for which connect() chose the port.
    Outgoing,
}

/// The sockets of one role that have a local port at one address.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressUse {
    /// The address, which may be a wildcard, and the port.
    pub local: Endpoint,
    pub role: AddressRole,
    /// Whether sockets of IPv6 leave IPv4 alone (`IPV6_V6ONLY`); `None` for IPv4 and where that is not known.
    pub is_v6_only: Option<bool>,
    /// The sockets by state, minisockets included, the most frequent first.
    pub by_state: Vec<(State, u64)>,
    /// How many of them are minisockets, which a timer ends.
    pub minisockets: u64,
    /// How many of the others no process holds: they were closed, and the peer has not acknowledged it yet.
    pub orphans: u64,
    /// Nanoseconds until the last of the minisockets is gone.
    pub last_left_ns: Option<u64>,
    /// The peer of the first of the connections.
    pub remote: Option<Endpoint>,
    /// The effective user of the first of the sockets that are no minisockets.
    pub uid: Option<u32>,
    /// Whether all of the sockets that were asked have SO_REUSEADDR; `None` if none could be asked.
    pub has_reuseaddr: Option<bool>,
    /// The same of SO_REUSEPORT.
    pub has_reuseport: Option<bool>,
    /// How many of the sockets a process holds; `None` where nobody looked.
    pub held: Option<u64>,
    /// Who holds them, the most of them first.
    pub held_by: Vec<OwnerCount>,
    /// Who closed the minisockets first, as far as that was seen.
    pub closed_first_by: Vec<OwnerCount>,
}

impl AddressUse {
    /// How many sockets there are.
    pub fn count(&self) -> u64 {
        self.by_state.iter().map(|(_, count)| count).sum()
    }

    /// How many of them no timer ends.
    pub fn open(&self) -> u64 {
        self.count().saturating_sub(self.minisockets)
    }

    /// Whether bind() with SO_REUSEADDR succeeds beside them; without it, it always fails. `None` if that depends on
    /// an option of theirs that is not known (`inet_csk_bind_conflict` of net/ipv4/inet_connection_sock.c): a socket
    /// that nobody holds cannot be asked.
    pub fn admits_reuseaddr(&self) -> Option<bool> {
        match self.has_reuseaddr {
            _ if self.role == AddressRole::Listener => Some(false),
            Some(true) if self.held != Some(self.count()) => None,
            has_reuseaddr => has_reuseaddr,
        }
    }

    /// Whether bind() fails whatever its options: for certain, or because connect() gives sockets no SO_REUSEADDR.
    pub fn fails_with_reuseaddr(&self) -> bool {
        self.admits_reuseaddr().map_or(self.role == AddressRole::Outgoing, |admits| !admits)
    }
}

impl Serialize for AddressUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            local,
            role,
            is_v6_only,
            by_state,
            minisockets,
            orphans,
            last_left_ns,
            remote,
            uid,
            has_reuseaddr,
            has_reuseport,
            held,
            held_by,
            closed_first_by,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("lport", &local.port())?;
        map.serialize_entry("family", if local.ip().is_ipv4() { &4 } else { &6 })?;
        map.serialize_entry("laddr", &local.ip())?;
        map.serialize_entry("interface", &local.address().interface())?;
        map.serialize_entry("role", role)?;
        map.serialize_entry("bind_with_reuseaddr", &self.admits_reuseaddr())?;
        map.serialize_entry("v6_only", is_v6_only)?;
        map.serialize_entry("by_state", &ByState(by_state))?;
        map.serialize_entry("minisockets", minisockets)?;
        map.serialize_entry("orphans", orphans)?;
        map.serialize_entry("last_left_ns", last_left_ns)?;
        map.serialize_entry("raddr", &remote.map(|remote| remote.ip()))?;
        map.serialize_entry("rport", &remote.map(|remote| remote.port()))?;
        map.serialize_entry("uid", uid)?;
        map.serialize_entry("reuseaddr", has_reuseaddr)?;
        map.serialize_entry("reuseport", has_reuseport)?;
        map.serialize_entry("held", held)?;
        map.serialize_entry("held_by", held_by)?;
        map.serialize_entry("closed_first_by", closed_first_by)?;
        map.end()
    }
}

/// Counts by state: an object, in the order of the list.
pub(super) struct ByState<'a>(pub(super) &'a [(State, u64)]);

impl Serialize for ByState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}
