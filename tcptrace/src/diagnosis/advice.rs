//! What a verdict with its first reason means, and what to look at next: one sentence for people, the same in every
//! command.

use crate::model::{reason::ReasonId, verdict::Verdict};

/// The sentence, as the end of one about the process.
pub(crate) fn advice(verdict: Verdict, reason: Option<ReasonId>) -> &'static str {
    reason.and_then(|reason| of_reason(verdict, reason)).unwrap_or_else(|| of_verdict(verdict))
}

/// Where the reason says more than the verdict.
fn of_reason(verdict: Verdict, reason: ReasonId) -> Option<&'static str> {
    Some(match (reason, verdict) {
        (ReasonId::SpinsOnEof, _) => {
            "urgent, it burns a CPU: its loop gets the end of file again and again; look at the handler that neither closes nor stops watching the descriptor, or at the read that takes 0 bytes for no data yet"
        }
        (ReasonId::HolderStopped, _) => {
            "nothing is read or closed until it goes on (kill -CONT): find out who stopped it"
        }
        (ReasonId::HolderFrozen, _) => {
            "nothing is read or closed until its cgroup is thawed (cgroup.freeze, docker unpause)"
        }
        (ReasonId::HolderTraced, _) => "nothing is read or closed until the debugger lets it go on",
        (ReasonId::HolderUninterruptible, _) => {
            "it waits in the kernel, and no signal wakes it: look at what it waits for, a disk or a mount as a rule, or a child of vfork()"
        }
        (ReasonId::NoDescriptorsLeft, _) => {
            "raise its limit of open files for now, and look at what fills its descriptor table"
        }
        (ReasonId::NobodyAccepts, _) => {
            "nobody waits for connections there: look at what the threads of its holder wait for; where that only keeps the listener for a process that has gone (its parent, the service manager), restart the service"
        }
        (ReasonId::AcceptQueue, _) => {
            "never called accept() for it: the accept loop is stuck or too slow, or whoever holds the listener only inherited it: look at what its threads do"
        }
        (ReasonId::BlockedInWrite, _) => {
            "the cause is the peer that does not read: look there, and give writes a timeout"
        }
        (ReasonId::BehindBlockedWrite, _) => {
            "a consequence: look at the peer of the connection that blocks, and give writes a timeout"
        }
        (ReasonId::BehindBlockedRead, _) => {
            "a consequence: look at why nothing comes from the peer that its holder waits for, and give reads a timeout"
        }
        (ReasonId::WaitsForOtherLeg, _) => {
            "a relay that did its part: look at who holds the far end of the other leg, and at the relay's timeout for half-closed connections"
        }
        (ReasonId::SendsToNobody, _) => {
            "the peer is gone and everything written to it is lost: the application has to act on the end of file, or set TCP_USER_TIMEOUT"
        }
        (ReasonId::LastWords, _) => {
            "its peer took leave, and nobody has looked since: if it idles in a pool, let the pool test or evict idle connections; if it waits for an answer, look at what its threads do"
        }
        (ReasonId::Inherited, _) => {
            "has the connection from the process that started it, and keeps it open until it ends or closes it: if it was meant to have it, look at what its threads do, else have the other one set close-on-exec (SOCK_CLOEXEC)"
        }
        (ReasonId::InFlight, Verdict::NeverAccepted) => {
            "nobody has a descriptor of its listener: it may have been sent to a process that has not received it (recvmsg), look at what that one does"
        }
        (ReasonId::InFlight, Verdict::NoHolder) => {
            "is held by no descriptor: it may have been sent to a process that has not received it (recvmsg), look at what that one does; else a call that was not done when it was closed, a mapping of its memory, io_uring or the kernel holds it"
        }
        (ReasonId::OldGeneration, _) => {
            "it ends with its last connection: give it a time limit for that (as worker_shutdown_timeout of nginx or hard-stop-after of HAProxy)"
        }
        (ReasonId::ClientLeft, Verdict::EofRead) => {
            "has read everything, the end of file too, and never called close(): look for the path that returns without it or, if its handler still works on it, at what its threads do"
        }
        (ReasonId::ClientLeft, Verdict::EofUnread) => {
            "accepted, and its client has left: the handler is busy elsewhere or waits for something else, look at what its threads do"
        }
        (ReasonId::ClientLeft, Verdict::DataUnread) => {
            "accepted, and its client has left: the handler does not read what came last, look at what its threads do"
        }
        (ReasonId::IdleInPool, _) => {
            "idle in a connection pool, and its peer has ended it: let the pool test or evict idle connections; where no pool has it, look for who never closes it"
        }
        (ReasonId::Connected, Verdict::EofUnread) => {
            "sent a request that was never answered, and nobody waits for the answer any more: look at what its threads do"
        }
        (ReasonId::Connected, Verdict::DataUnread) => {
            "leaves an answer unread: its reader is blocked or gone, or the answer was not wanted; look at what its threads do"
        }
        (
            ReasonId::ClientLeft
            | ReasonId::Connected
            | ReasonId::HolderRunning
            | ReasonId::HolderSleeping
            | ReasonId::InFlight,
            _,
        ) => return None,
    })
}

/// Where no reason says more.
fn of_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::EofRead => {
            "has read everything, the end of file too, and never called close(): look for the path that returns without it"
        }
        Verdict::EofUnread => {
            "read all data but not yet the end of file: it idles, or its reader waits for something else"
        }
        Verdict::DataUnread => {
            "leaves received data unread: its reader is blocked or gone, look at what its threads wait for"
        }
        Verdict::NeverAccepted => {
            "never called accept() for it: the accept loop is stuck or too slow, look at the listener"
        }
        Verdict::HalfOpen => {
            "still sends on it, or its peer still waits for the answer: a legitimate half-close, not counted as a leak"
        }
        Verdict::NoHolder => {
            "is held by no descriptor: by a call that was not done when it was closed, by a mapping of its memory (TCP_ZEROCOPY_RECEIVE), by io_uring, by the kernel, or in flight between two processes"
        }
        Verdict::ConnectionOver => {
            "keeps the descriptor of a connection that is over and never called close(): look for the path that returns without it when a read or a write fails"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_have_forgotten_close_is_told_to_look_for_it() {
        let path = "look for the path that returns without it";
        for (reason, is_told) in [
            (None, true),
            (Some(ReasonId::ClientLeft), true),
            (Some(ReasonId::Connected), true),
            (Some(ReasonId::HolderSleeping), true),
            (Some(ReasonId::WaitsForOtherLeg), false),
            (Some(ReasonId::HolderStopped), false),
            (Some(ReasonId::SpinsOnEof), false),
        ] {
            assert_eq!(advice(Verdict::EofRead, reason).contains(path), is_told, "{reason:?}");
        }
    }

    #[test]
    fn a_pool_is_spoken_of_only_where_this_side_connected() {
        for verdict in Verdict::ALL {
            let sentence = advice(verdict, Some(ReasonId::ClientLeft));
            assert!(!sentence.contains("pool"), "{verdict}: {sentence}");
        }
        assert!(advice(Verdict::EofUnread, Some(ReasonId::IdleInPool)).contains("pool"));
    }
}
