//! The number of a process. A number of the host says nothing in another pid namespace, and the same number may be
//! somebody else's there: so each number says whose it is.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tcptrace_ebpf::record::HOST_PID;

/// The number of a process or of a thread: the one that /proc shows, or, where /proc does not show the process, the one
/// that it has on the host.
///
/// In records a number of the host is null: nobody takes it for one of theirs. Beside it, `host_pid` has the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(u32);

impl Pid {
    /// A process that is not visible, by a number that is not known either.
    pub const UNKNOWN: Self = Self(HOST_PID);

    /// A process that /proc shows by this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number & !HOST_PID)
    }

    /// A process that /proc does not show, by its number in the root pid namespace.
    #[must_use]
    pub const fn of_host(number: u32) -> Self {
        Self(number | HOST_PID)
    }

    /// As the kernel side and recordings write it.
    #[must_use]
    pub const fn from_wire(number: u32) -> Self {
        Self(number)
    }

    /// As recordings have it.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self.0
    }

    /// The number in /proc; `None` when /proc does not show the process.
    #[must_use]
    pub fn visible(self) -> Option<u32> {
        (self.0 & HOST_PID == 0).then_some(self.0)
    }

    /// The number on the host of a process that /proc does not show; `None` of others, and when it is not known.
    #[must_use]
    pub fn on_host(self) -> Option<u32> {
        (self.0 & HOST_PID != 0 && self != Self::UNKNOWN).then_some(self.0 & !HOST_PID)
    }

    /// From the two fields of a record.
    pub(crate) fn or_of_host(self, host_pid: Option<u32>) -> Self {
        match (self.visible(), host_pid) {
            (None, Some(number)) => Self::of_host(number),
            _ => self,
        }
    }
}

/// `4711`, or `4711 of the host`.
impl fmt::Display for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.visible(), self.on_host()) {
            (Some(number), _) => fmt::Display::fmt(&number, formatter),
            (None, Some(number)) => formatter.pad(&format!("{number} of the host")),
            (None, None) => formatter.pad("not visible"),
        }
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Pid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.visible() {
            Some(number) => serializer.serialize_u32(number),
            None => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Pid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<u32>::deserialize(deserializer)?.map_or(Self::UNKNOWN, Self::new))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_the_host_is_never_one_of_ours() {
        let (ours, theirs) = (Pid::new(4711), Pid::of_host(4711));
        assert_ne!(ours, theirs);
        assert_eq!((ours.visible(), ours.on_host(), ours.to_string()), (Some(4711), None, "4711".into()));
        assert_eq!((theirs.visible(), theirs.on_host()), (None, Some(4711)));
        assert_eq!(theirs.to_string(), "4711 of the host");
        assert_eq!(Pid::UNKNOWN.to_string(), "not visible");
        assert_eq!(Pid::from_wire(theirs.to_wire()), theirs);
    }

    #[test]
    fn records_have_null_for_what_is_not_ours() {
        assert_eq!(serde_json::to_string(&[Pid::new(7), Pid::of_host(7)]).unwrap(), "[7,null]");
        let read: Vec<Pid> = serde_json::from_str("[7,null]").unwrap();
        assert_eq!(read, [Pid::new(7), Pid::UNKNOWN]);
        assert_eq!(Pid::UNKNOWN.or_of_host(Some(7)), Pid::of_host(7));
        assert_eq!(Pid::new(5).or_of_host(None), Pid::new(5));
    }
}
