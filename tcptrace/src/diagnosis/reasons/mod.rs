//! Why a socket is stuck, in words that a person can act on: pure rules from facts to reasons, the most telling first. No
//! I/O, no clock. A reason that the facts do not prove is not given.

pub(crate) mod accepting;
pub(crate) mod facts;
pub(crate) mod generations;
mod holder;
pub(crate) mod inherited;
pub(crate) mod legs;
mod socket;

use std::fmt;

use self::facts::ReasonFacts;
use crate::model::{
    connection_side::ConnectionSide,
    escape::EscapedName,
    process::ProcessIdentity,
    reason::{Reason, ReasonId, ReasonNumbers},
    verdict::Verdict,
};

/// Reasons of one socket, at most.
const MOST_REASONS: usize = 8;

/// Why the socket is stuck, the most telling reason first.
pub(crate) fn because(facts: &ReasonFacts<'_>) -> Vec<Reason> {
    let mut found = Vec::new();
    holder::add(facts, &mut found);
    found.extend(inherited::inherited(facts));
    accepting::add(facts, &mut found);
    socket::add(facts, &mut found);
    found.sort_by_key(|reason| rank(reason.id, facts));
    found.dedup_by_key(|reason| reason.id);
    found.truncate(MOST_REASONS);
    found
}

/// How telling a reason is; the lowest comes first.
fn rank(id: ReasonId, facts: &ReasonFacts<'_>) -> u8 {
    match id {
        // What was accepted is no consequence of it.
        ReasonId::NoDescriptorsLeft if facts.verdict != Some(Verdict::NeverAccepted) => 20,
        // A client idles as it likes, unless it has asked for something; a handler has to be there when its client leaves.
        ReasonId::LastWords
            if facts.side == Some(ConnectionSide::Accepted) || socket::is_unanswered(facts) =>
        {
            17
        }
        // Who has read everything was not kept from it, and nobody looks at a connection that idles.
        ReasonId::HolderUninterruptible if !is_unread(facts) || idles(facts) => 18,
        // Another one that has the socket could have read or closed it.
        ReasonId::HolderStopped | ReasonId::HolderFrozen | ReasonId::HolderTraced
            if !facts.holders.iter().all(holder::is_kept_from_running) =>
        {
            18
        }
        // Nobody was found who could accept it.
        ReasonId::InFlight if facts.verdict == Some(Verdict::NeverAccepted) => 10,
        ReasonId::SpinsOnEof => 0,
        ReasonId::HolderStopped => 1,
        ReasonId::HolderFrozen => 2,
        ReasonId::HolderTraced => 3,
        ReasonId::HolderUninterruptible => 4,
        ReasonId::NoDescriptorsLeft => 5,
        ReasonId::NobodyAccepts => 6,
        ReasonId::BlockedInWrite => 7,
        ReasonId::SendsToNobody => 8,
        ReasonId::BehindBlockedWrite | ReasonId::BehindBlockedRead => 9,
        ReasonId::WaitsForOtherLeg => 10,
        ReasonId::AcceptQueue => 11,
        ReasonId::LastWords => 12,
        ReasonId::OldGeneration | ReasonId::Inherited => 13,
        ReasonId::ClientLeft => 14,
        ReasonId::IdleInPool => 15,
        ReasonId::Connected => 16,
        ReasonId::InFlight => 17,
        ReasonId::HolderRunning => 18,
        ReasonId::HolderSleeping => 19,
    }
}

/// Whether nobody has read what came, or taken the connection.
fn is_unread(facts: &ReasonFacts<'_>) -> bool {
    matches!(facts.verdict, Some(Verdict::EofUnread | Verdict::DataUnread | Verdict::NeverAccepted))
}

/// Whether nobody has to look at it: this side connected, and waits for no answer.
fn idles(facts: &ReasonFacts<'_>) -> bool {
    facts.verdict == Some(Verdict::EofUnread)
        && facts.side == Some(ConnectionSide::Connected)
        && !socket::is_unanswered(facts)
}

fn reason(id: ReasonId, text: String, numbers: ReasonNumbers) -> Reason {
    Reason { id, text, numbers }
}

/// A process as sentences name it: `java (812)`.
struct Named<'a>(&'a ProcessIdentity);

impl fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", EscapedName(&self.0.comm), self.0.pid)
    }
}

#[cfg(test)]
mod tests;
