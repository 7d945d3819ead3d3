//! Looks at what lies unread in a socket, where it may be the peer's last words. Takes nothing away: it peeks through a
//! copy of a holder's descriptor, which it closes at once. Keeps no byte.

use std::path::Path;

use rustix::net::{RecvFlags, recv};

use crate::{
    diagnosis::last_words::{self, MAX_BYTES},
    model::holders::Holders,
    process::descriptor::copy_socket,
};

/// Most sockets peeked at in one look, at some ten microseconds each.
pub(super) const MOST_PEEKS: u32 = 1_024;

/// Whether nothing but last words lies unread in the socket with this cookie, where `recv_q` counts the FIN.
pub(super) fn has_last_words(proc_root: &Path, cookie: u64, holders: &Holders, recv_q: u32) -> bool {
    let unread = recv_q.saturating_sub(1);
    if unread == 0 || unread > MAX_BYTES {
        return false;
    }
    let copy = holders.iter().find_map(|(pid, fds)| copy_socket(*pid, *fds.first()?, cookie, proc_root).ok());
    let Some(copy) = copy else { return false };
    // One more than there is: the last words have to be all.
    let mut bytes = [0; MAX_BYTES as usize + 1];
    match recv(&copy, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, length)) if length == unread as usize => {
            bytes.get(..length).is_some_and(last_words::are_last_words)
        }
        _ => false,
    }
}
