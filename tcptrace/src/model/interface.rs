//! The interface that an IPv6 link-local address is on: each link has such addresses of its own.
//!
//! Names of interfaces are kept once for the whole process, because an endpoint has room for a number only. They are
//! chosen by whoever is root in a network namespace: one that could do harm is not taken, and their number is bounded.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::{PoisonError, RwLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Most names that are kept; the interfaces beyond are known by their index.
const MOST_NAMES: usize = 4_096;

/// Most interfaces whose name is kept; beyond, all but the names are forgotten and learned again.
const MOST_INTERFACES: usize = 16_384;

/// Longest name, without the NUL: `IFNAMSIZ` of include/uapi/linux/if.h.
const NAME_BYTES: usize = 15;

/// An interface of a network namespace, by its index, its name, or both.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// The kernel's number of it; 0 when not known.
    pub(super) index: u32,
    /// One more than the position of its name among the names; 0 when not known.
    pub(super) name: u16,
}

/// What has been learned.
struct Names {
    all: Vec<&'static str>,
    numbers: Option<HashMap<&'static str, u16>>,
    of: Option<HashMap<(u32, u32), u16>>,
}

static NAMES: RwLock<Names> = RwLock::new(Names { all: Vec::new(), numbers: None, of: None });

impl Names {
    /// The number of a name; 0 where it is not taken.
    fn number(&mut self, name: &str) -> u16 {
        let numbers = self.numbers.get_or_insert_default();
        if let Some(number) = numbers.get(name) {
            return *number;
        }
        if !is_harmless(name) || self.all.len() >= MOST_NAMES {
            return 0;
        }
        // Never freed: the names are few, and endpoints refer to them for ever.
        let name: &'static str = Box::leak(Box::from(name));
        self.all.push(name);
        let number = u16::try_from(self.all.len()).unwrap_or(0);
        numbers.insert(name, number);
        number
    }
}

/// Whether a name can stand in a terminal, behind a `%` and before a `]`. The kernel itself refuses spaces, `/` and `:`
/// only (`dev_valid_name` of net/core/dev.c).
fn is_harmless(name: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@' | b'+');
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain)
}

impl Interface {
    /// By its index, and by its name if that was learned.
    pub(crate) fn of_namespace(netns: u32, index: u32) -> Self {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.of.as_ref().and_then(|of| of.get(&(netns, index)));
        Self { index, name: name.copied().unwrap_or(0) }
    }

    /// Keeps the name of an interface.
    pub(crate) fn learn(netns: u32, index: u32, name: &str) {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        let number = names.number(name);
        let of = names.of.get_or_insert_default();
        if of.len() >= MOST_INTERFACES {
            of.clear();
        }
        of.insert((netns, index), number);
    }

    /// As recordings have it; an empty name is one that is not known.
    pub(crate) fn from_parts(index: u32, name: &str) -> Self {
        if name.is_empty() {
            return Self { index, name: 0 };
        }
        let name = NAMES.write().unwrap_or_else(PoisonError::into_inner).number(name);
        Self { index, name }
    }

    /// The kernel's number of it; 0 when not known.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    pub(crate) fn has_name(self) -> bool {
        self.name != 0
    }

    /// Its name, when known.
    pub(crate) fn name(self) -> Option<&'static str> {
        let position = usize::from(self.name).checked_sub(1)?;
        NAMES.read().unwrap_or_else(PoisonError::into_inner).all.get(position).copied()
    }
}

/// `eth0`, or the index.
impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.write_str(name),
            None => self.index.fmt(formatter),
        }
    }
}

/// The text names neither an interface nor its index.
#[derive(Debug, thiserror::Error)]
#[error("no interface has this name")]
pub struct NoInterface;

impl FromStr for Interface {
    type Err = NoInterface;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(0) => Err(NoInterface),
            Ok(index) => Ok(Self { index, name: 0 }),
            Err(_) if is_harmless(text) => Ok(Self::from_parts(0, text)),
            Err(_) => Err(NoInterface),
        }
    }
}

impl Serialize for Interface {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interface {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_known_by_its_index_until_its_name_is_learned() {
        let (netns, other) = (900_001, 900_002);
        assert_eq!(Interface::of_namespace(netns, 3).to_string(), "3");
        Interface::learn(netns, 3, "test-eth0");
        assert_eq!(Interface::of_namespace(netns, 3).to_string(), "test-eth0");
        assert_eq!(Interface::of_namespace(other, 3).to_string(), "3", "another namespace");
        Interface::learn(netns, 3, "test-lan");
        assert_eq!(Interface::of_namespace(netns, 3).to_string(), "test-lan", "it was renamed");
        assert_eq!("test-lan".parse::<Interface>().unwrap().to_string(), "test-lan");
        assert_eq!("17".parse::<Interface>().unwrap().index(), 17);
    }

    #[test]
    fn a_name_that_could_do_harm_is_not_taken() {
        for name in ["", "\u{1b}[2J", "a]b", "a%b", "=1+1", "a\"b", "sixteen-and-more", "\u{e9}th"] {
            Interface::learn(900_003, 4, name);
            assert_eq!(Interface::of_namespace(900_003, 4).to_string(), "4", "{name:?}");
            assert!(name.parse::<Interface>().is_err(), "{name:?}");
        }
        assert!("0".parse::<Interface>().is_err());
    }
}
