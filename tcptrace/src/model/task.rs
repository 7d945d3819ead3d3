//! Tasks and the calls they made on sockets, as the kernel side reports them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::{numbered::numbered, pid::Pid};

/// A task's name: arbitrary bytes up to the first NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Task {
    /// Whether it is a worker of the kernel's (`create_worker` of kernel/workqueue.c names it so), which closes what the last
    /// process has left to it: a ring of io_uring with its sockets, descriptors in flight that nobody can receive any more.
    #[must_use]
    pub(crate) fn is_kernel_worker(&self) -> bool {
        self.pid == self.tid && self.comm.as_bytes().starts_with(b"kworker/")
    }
}

impl Comm {
    /// The name without its padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The name as text; what is not UTF-8 is replaced. May hold control characters.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// The name that shows as this text; `None` when no task can have it. A byte that was no UTF-8 shows as U+FFFD,
    /// which is longer: where that leaves no room, a byte that shows the same stands for it.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        /// No byte of any UTF-8 text.
        const NO_CHARACTER: u8 = 0xff;
        let comm = |name: &[u8]| {
            let mut bytes = [0; 16];
            bytes.get_mut(..name.len())?.copy_from_slice(name);
            (!name.contains(&0)).then_some(Self(bytes))
        };
        let shortened = || {
            let mut bytes = Vec::with_capacity(text.len());
            for character in text.chars() {
                match character {
                    char::REPLACEMENT_CHARACTER => bytes.push(NO_CHARACTER),
                    _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            bytes
        };
        comm(text.as_bytes()).or_else(|| comm(&shortened()))
    }
}

impl Serialize for Comm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Comm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Comm;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a task")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Comm, E> {
                Comm::from_text(text)
                    .ok_or_else(|| E::custom(format_args!("`{}` is no name of a task", text.escape_debug())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_text())
    }
}

/// A task, by its numbers in the pid namespace of /proc, or on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// Process: the thread group id.
    pub pid: Pid,
    /// Thread.
    pub tid: Pid,
    /// Name of the thread at that moment.
    pub comm: Comm,
}

numbered! {
    /// How a socket was opened.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum OpenedHow {
        Accept = 1,
        Connect = 2,
    }
}

impl OpenedHow {
    /// The name of the system call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connect => "connect",
        }
    }
}

/// A call on a socket, observed in the caller's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller.
    pub task: Task,
    /// CLOCK_MONOTONIC of the call, in nanoseconds.
    pub ktime_ns: u64,
    /// The id of the user stack that the kernel side kept, if any.
    pub stack: Option<u32>,
}

/// The opener of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opener {
    /// The call that opened it.
    pub call: Call,
    /// The kind of call.
    pub how: OpenedHow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_no_text_shows_as_it_did() {
        let comm = Comm([0xff, b'a', 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, b'b', 0, 0, 0, 0, 0, 0, 0, 0]);
        let shown = comm.to_text().into_owned();
        assert!(shown.len() > 16);
        assert_eq!(Comm::from_text(&shown).map(|comm| comm.to_text().into_owned()), Some(shown));
    }
}
