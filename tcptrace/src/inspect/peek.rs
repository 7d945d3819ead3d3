//! Looks at what lies unread in a socket, where it may be the peer's last words. Takes nothing away: it peeks through a
//! copy of a holder's descriptor, which it closes at once. Keeps no byte.

use std::path::Path;

use rustix::net::{RecvFlags, recv};

use crate::{
    diagnosis::last_words::{self, MAX_BYTES, Words},
    model::{connection_side::ConnectionSide, holders::Holders},
    process::descriptor::copy_socket,
};

/// Most sockets peeked at in one look, at some ten microseconds each.
pub(super) const MOST_PEEKS: u32 = 1_024;

/// What lies unread in the socket with this cookie, on this side of its connection: `unread` bytes, without the FIN.
pub(super) fn unread_words(
    proc_root: &Path,
    cookie: u64,
    holders: &Holders,
    unread: u32,
    side: Option<ConnectionSide>,
) -> Words {
    let copy = holders.iter().find_map(|(pid, fds)| copy_socket(*pid, *fds.first()?, cookie, proc_root).ok());
    let Some(copy) = copy else { return Words::Unknown };
    // One more than there is: the last words have to be all.
    let mut bytes = [0; MAX_BYTES as usize + 1];
    match recv(&copy, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, length)) if length == unread as usize => {
            bytes.get(..length).map_or(Words::Unknown, |bytes| last_words::recognize(bytes, side))
        }
        _ => Words::Unknown,
    }
}
