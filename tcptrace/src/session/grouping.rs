//! Puts sockets together that have something in common. Pure.

use std::{collections::HashMap, net::SocketAddr};

use crate::record::{Group, Leak};

/// What sockets can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupBy {
    /// The processes that answer for them
    Process,
    /// The peer: its address, with the port where many sockets go to the same one
    Peer,
    /// The verdict
    Verdict,
}

impl GroupBy {
    /// Divides the sockets, which keep their order; groups come in the order of their first sockets.
    pub fn divide(by: Option<Self>, leaks: Vec<Leak>) -> Vec<Group> {
        let Some(by) = by else {
            return if leaks.is_empty() { Vec::new() } else { vec![Group { title: None, leaks }] };
        };
        let mut to_peer: HashMap<SocketAddr, u32> = HashMap::new();
        for leak in &leaks {
            *to_peer.entry(leak.socket.endpoints.remote).or_default() += 1;
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut by_title: HashMap<String, usize> = HashMap::new();
        for leak in leaks {
            let remote = leak.socket.endpoints.remote;
            let title = match by {
                Self::Process => processes(&leak),
                // A port that only one socket goes to is the client's, chosen at random.
                Self::Peer if to_peer.get(&remote).is_some_and(|count| *count > 1) => remote.to_string(),
                Self::Peer => remote.ip().to_string(),
                Self::Verdict => {
                    leak.verdict.map_or_else(|| "no verdict".to_owned(), |verdict| verdict.to_string())
                }
            };
            let at = *by_title.entry(title).or_insert_with_key(|title| {
                groups.push(Group { title: Some(title.clone()), leaks: Vec::new() });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(at) {
                group.leaks.push(leak);
            }
        }
        groups
    }
}

fn processes(leak: &Leak) -> String {
    let names: Vec<String> = leak
        .owners
        .iter()
        .map(|owner| {
            let process = &owner.process;
            match process.container.as_ref().or(process.unit.as_ref()) {
                Some(place) => format!("{} (pid {}) in {place}", process.comm, process.pid),
                None => format!("{} (pid {})", process.comm, process.pid),
            }
        })
        .collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
