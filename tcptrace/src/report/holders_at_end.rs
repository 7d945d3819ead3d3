//! Who held the stuck sockets of a session at its end, by its summary: a process that was reported may have handed them to
//! others, and ended. Pure.

use std::collections::{HashMap, HashSet};

use super::{
    entities::Entities,
    stay::{Holder, Stay, StayHolders},
};
use crate::model::{endpoints::Endpoint, owner::Evidence};

/// A summary may leave out peers of a process that has so many.
const MOST_PEERS: usize = 1_024;

/// A process with more sockets at the end than were reported of it.
struct Heir {
    process: u32,
    /// `None` where the summary may not have all of them.
    peers: Option<HashSet<Endpoint>>,
    /// Sockets that it held and that no record has it for.
    more: u64,
}

/// What the end of one session changed.
struct Changes {
    /// Processes that held none any more.
    gone: HashSet<u32>,
    heirs: Vec<Heir>,
}

/// The holders at the end of each session that has a summary.
pub(crate) struct HoldersAtEnd {
    /// By index of the session; only those in which sockets changed hands.
    sessions: HashMap<u32, Changes>,
}

impl HoldersAtEnd {
    /// By the summaries and these stays, of which those that are open count.
    pub(crate) fn new<'a>(entities: &Entities, stays: impl Iterator<Item = &'a Stay>) -> Self {
        let mut sessions: HashMap<u32, Changes> = (0..)
            .zip(&entities.sessions)
            .filter_map(|(index, session)| {
                let summary = session.summary.as_deref()?;
                let mut changes = Changes { gone: HashSet::new(), heirs: Vec::new() };
                for of_process in &summary.processes {
                    let Some(process) = entities.in_summary(session.host, summary, of_process) else {
                        continue;
                    };
                    if of_process.still_stuck == 0 {
                        changes.gone.insert(process);
                    } else {
                        let peers = (of_process.peers.len() < MOST_PEERS)
                            .then(|| of_process.peers.iter().map(|peer| peer.peer).collect());
                        changes.heirs.push(Heir { process, peers, more: of_process.still_stuck });
                    }
                }
                (!changes.gone.is_empty() && !changes.heirs.is_empty()).then_some((index, changes))
            })
            .collect();
        if !sessions.is_empty() {
            for stay in stays.filter(|stay| stay.end.is_none()) {
                let Some(changes) = sessions.get_mut(&stay.session) else { continue };
                for held in indices(stay) {
                    if let Some(heir) = changes.heirs.iter_mut().find(|heir| heir.process == held) {
                        heir.more = heir.more.saturating_sub(1);
                    }
                }
            }
        }
        Self { sessions }
    }

    /// Who held the socket of this stay at the end, where that is not who was reported; each stay is asked about once.
    pub(crate) fn of(&mut self, stay: &Stay) -> Option<StayHolders> {
        if stay.end.is_some() {
            return None;
        }
        let changes = self.sessions.get_mut(&stay.session)?;
        if !indices(stay).any(|held| changes.gone.contains(&held)) {
            return None;
        }
        let reported = stay.report.as_ref()?.holders.iter();
        let is_gone = |holder: &&Holder| holder.process.is_some_and(|held| changes.gone.contains(&held));
        let mut holders: Vec<Holder> = reported.filter(|holder| !is_gone(holder)).copied().collect();
        for heir in &mut changes.heirs {
            let has_peer =
                heir.peers.as_ref().is_none_or(|peers| peers.contains(&stay.socket.endpoints.remote));
            if heir.more > 0 && has_peer && !holders.iter().any(|held| held.process == Some(heir.process)) {
                heir.more -= 1;
                holders.push(Holder { process: Some(heir.process), fd: None, evidence: Evidence::FdTable });
            }
        }
        // Where nobody is found, the one that was reported is the best that is known.
        (!holders.is_empty()).then(|| holders.into_iter().collect())
    }
}

/// The processes that were reported to hold the socket of a stay.
fn indices(stay: &Stay) -> impl Iterator<Item = u32> {
    stay.report.iter().flat_map(|report| report.holders.iter()).filter_map(|holder| holder.process)
}
