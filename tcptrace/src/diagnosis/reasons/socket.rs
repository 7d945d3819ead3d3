//! Reasons that lie with the socket and its connections: its peer, its queues, and the other sockets of its holder.

use super::{
    Named,
    facts::{Awaited, BlockedWrite, HolderFacts, InFlight, OtherHolder, OtherLeg, ReasonFacts},
    holder::what_keeps_from_running,
    reason,
};
use crate::{
    diagnosis::last_words::LastWords,
    model::{
        connection_side::ConnectionSide,
        doing::ThreadDoing,
        escape::EscapedName,
        reason::{Reason, ReasonId, ReasonNumbers},
        units::{Elapsed, ms_in_ns, plural},
        verdict::Verdict,
    },
};

pub(super) fn add(facts: &ReasonFacts<'_>, found: &mut Vec<Reason>) {
    found.extend(sending(facts));
    found
        .extend(facts.blocked.filter(|blocked| blocked.is_leg || leaves_something_unread(facts)).map(behind));
    found.extend(behind_read(facts));
    found.extend(facts.leg.as_ref().map(leg));
    found.extend(facts.last_words.map(|words| last_words(facts, words)));
    found.extend(side(facts));
    found.extend(in_flight(facts));
}

/// Where descriptors wait that are in no table, of which this may be one.
fn in_flight(facts: &ReasonFacts<'_>) -> Option<Reason> {
    const NAMED: usize = 3;
    let first = facts.in_flight.first()?;
    let mut named: Vec<String> = facts
        .in_flight
        .iter()
        .take(NAMED)
        .map(|InFlight { process, fd, count }| {
            format!("{} for {} (fd {fd})", plural(*count, "descriptor"), Named(process))
        })
        .collect();
    if facts.in_flight.len() > NAMED {
        named.push("…".to_owned());
    }
    let what = if facts.verdict == Some(Verdict::NeverAccepted) { "its listener" } else { "it" };
    let text = format!("{what} may be in flight: in Unix sockets wait {}", named.join(", "));
    let numbers =
        ReasonNumbers { pid: first.process.pid.visible(), fd: Some(first.fd), ..ReasonNumbers::default() };
    Some(reason(ReasonId::InFlight, text, numbers))
}

/// Whether its handler should have read it by now. Nobody waits for an idle connection that this side made, and a client that
/// turned to something else may have left its answer: nothing tells that it would come back.
fn leaves_something_unread(facts: &ReasonFacts<'_>) -> bool {
    facts.side == Some(ConnectionSide::Accepted)
        && matches!(facts.verdict, Some(Verdict::DataUnread | Verdict::EofUnread))
}

/// Whether what was sent arrives.
fn sending(facts: &ReasonFacts<'_>) -> Option<Reason> {
    let (sending, send_q) = facts.sending.zip(facts.send_q)?;
    let bytes = plural(u64::from(send_q), "byte");
    let since = |ms: Option<u32>| ms.map(ms_in_ns);
    let for_text = |for_ns: Option<u64>| for_ns.map(|ns| format!(" for {}", Elapsed(ns))).unwrap_or_default();
    if sending.finds_nobody(send_q, facts.has_answered_since_fin) {
        let for_ns = since(facts.times.map(|times| times.last_ack_recv_ms));
        let since_fin = match facts.has_answered_since_fin {
            Some(false) => " since its FIN",
            _ => "",
        };
        let text = format!(
            "it sends to nobody: the peer has acknowledged nothing{since_fin}{}, and {bytes} wait",
            for_text(for_ns)
        );
        let numbers = ReasonNumbers { bytes: Some(send_q.into()), for_ns, ..ReasonNumbers::default() };
        return Some(reason(ReasonId::SendsToNobody, text, numbers));
    }
    sending.is_blocked(send_q).then(|| {
        let for_ns = since(facts.times.map(|times| times.last_data_sent_ms));
        let text = format!(
            "{bytes} wait because the peer does not read: its window is closed{}{}",
            for_text(for_ns),
            facts.other_holder.as_ref().map(other_holder).unwrap_or_default()
        );
        let numbers = ReasonNumbers { bytes: Some(send_q.into()), for_ns, ..ReasonNumbers::default() };
        reason(ReasonId::BlockedInWrite, text, numbers)
    })
}

/// Who does not read, and what keeps it from that.
fn other_holder(holder: &OtherHolder<'_>) -> String {
    let OtherHolder { process, doing } = holder;
    let name = Named(process);
    match doing.and_then(what_keeps_from_running) {
        Some(what) => format!("; {name}, which holds the other end, is {what}"),
        None => format!("; {name} holds the other end"),
    }
}

fn behind(blocked: BlockedWrite) -> Reason {
    let BlockedWrite { pid, fd, remote, bytes, is_leg } = blocked;
    let count = plural(u64::from(bytes), "byte");
    let text = if is_leg {
        format!(
            "one leg of a relay: what comes here goes to {remote} (fd {fd}), whose peer does not read; {count} wait \
             there, and this one behind them"
        )
    } else {
        format!(
            "its holder is blocked in writing {count} to {remote} (fd {fd}), whose peer does not read: this one waits behind it"
        )
    };
    let numbers = ReasonNumbers {
        pid: Some(pid),
        fd: Some(fd),
        address: Some(remote.to_string()),
        bytes: Some(bytes.into()),
        ..ReasonNumbers::default()
    };
    reason(ReasonId::BehindBlockedWrite, text, numbers)
}

/// Where all who could have read or accepted it have been waiting for something else since before its end came. What was read
/// needs no reader, and a thread that has rested since may have forgotten it. Who never accepted anything there may have
/// the listener by chance.
fn behind_read(facts: &ReasonFacts<'_>) -> Option<Reason> {
    let is_waited_for = match facts.verdict {
        Some(Verdict::NeverAccepted) => facts.holders.iter().all(|holder| holder.has_accepted != Some(false)),
        _ => leaves_something_unread(facts),
    };
    is_waited_for.then_some(())?;
    let longest: Vec<(&HolderFacts<'_>, &Awaited)> = facts
        .holders
        .iter()
        .map(|holder| Some((holder, waits_since_before(holder, facts.ended_at_ns?)?)))
        .collect::<Option<_>>()?;
    let (holder, Awaited { fd, remote, since_ns }) = *longest.first()?;
    let for_ns = since_ns.map(|since_ns| facts.looked_at_ns.saturating_sub(since_ns));
    let text = format!(
        "{} waits for {remote} (fd {fd}){}, and does nothing else: this one waits behind it",
        Named(holder.process),
        for_ns.map(|ns| format!(" for {}", Elapsed(ns))).unwrap_or_default(),
    );
    let numbers = ReasonNumbers {
        pid: holder.process.pid.visible(),
        fd: Some(*fd),
        address: Some(remote.to_string()),
        for_ns,
        ..ReasonNumbers::default()
    };
    Some(reason(ReasonId::BehindBlockedRead, text, numbers))
}

/// What the kernel counts in jiffies of ten milliseconds at most may be off by one at both times.
const JIFFIES_NS: u64 = 20_000_000;

/// The other connection that the process has waited for longest, if each of its threads has waited for one since then.
fn waits_since_before<'a>(holder: &HolderFacts<'a>, ended_at_ns: u64) -> Option<&'a Awaited> {
    let doing = holder.doing.filter(|doing| !doing.has_more)?;
    let waits = |thread: &ThreadDoing| {
        let fd = thread.call.as_ref()?.awaited().filter(|fd| !holder.fds.contains(fd))?;
        holder.awaited.iter().find(|awaited| awaited.fd == fd)
    };
    let waits: Vec<&Awaited> = doing.threads.iter().map(waits).collect::<Option<_>>()?;
    let is_since = |awaited: &&Awaited| {
        awaited.since_ns.is_some_and(|since_ns| since_ns.saturating_add(JIFFIES_NS) <= ended_at_ns)
    };
    waits.iter().all(is_since).then_some(())?;
    waits.into_iter().min_by_key(|awaited| awaited.since_ns)
}

fn leg(leg: &OtherLeg) -> Reason {
    let OtherLeg { pid, fd, remote, for_ns, far } = leg;
    let since = for_ns.map(|ns| format!(" for at least {}", Elapsed(ns))).unwrap_or_default();
    let (far_pid, far_comm) = match far {
        Some((pid, comm)) => (*pid, Some(comm.clone())),
        None => (None, None),
    };
    let holder = match far {
        Some((Some(pid), comm)) => format!(", which {} ({pid}) holds", EscapedName(comm)),
        Some((None, comm)) => format!(", which {} holds", EscapedName(comm)),
        None => String::new(),
    };
    let text = format!(
        "one leg of a relay: the end was passed on, and the other leg, fd {fd} to {remote}, has been waiting{since} for the \
         far end{holder}"
    );
    let numbers = ReasonNumbers {
        pid: Some(*pid),
        fd: Some(*fd),
        address: Some(remote.to_string()),
        for_ns: *for_ns,
        far_pid,
        far_comm,
        ..ReasonNumbers::default()
    };
    reason(ReasonId::WaitsForOtherLeg, text, numbers)
}

fn last_words(facts: &ReasonFacts<'_>, words: LastWords) -> Reason {
    let LastWords { bytes, protocol } = words;
    let count = plural(u64::from(bytes), "byte");
    let pause_ms =
        facts.times.map_or(0, |times| times.last_data_sent_ms.saturating_sub(times.last_data_recv_ms));
    let said = match protocol {
        Some(protocol) => protocol.in_words().to_owned(),
        None => {
            format!(
                "they came with its FIN, {} after this side had sent anything",
                Elapsed(ms_in_ns(pause_ms))
            )
        }
    };
    let text = format!("only the peer's last words lie unread ({count}: {said}): everything before was read");
    let numbers = ReasonNumbers {
        bytes: Some(bytes.into()),
        protocol: protocol.map(|protocol| protocol.name().to_owned()),
        ..ReasonNumbers::default()
    };
    reason(ReasonId::LastWords, text, numbers)
}

/// Whether this side sent something after the last data that it got.
pub(super) fn is_unanswered(facts: &ReasonFacts<'_>) -> bool {
    // Before any data has come, the times of both are that of connect(), if the request followed at once.
    if let (Some(false), Some(has_sent)) = (facts.has_received, facts.has_sent) {
        return has_sent;
    }
    facts.times.is_some_and(|times| times.last_data_sent_ms < times.last_data_recv_ms)
}

/// What follows from who made the connection.
fn side(facts: &ReasonFacts<'_>) -> Option<Reason> {
    let unread = facts.recv_q.map(|unread| u64::from(unread.saturating_sub(1)));
    let bytes = unread.filter(|_| facts.verdict == Some(Verdict::DataUnread));
    let count = bytes.map(|bytes| plural(bytes, "byte")).unwrap_or_default();
    let (id, text) = match (facts.side?, facts.verdict?) {
        (ConnectionSide::Accepted, Verdict::EofRead) => {
            (ReasonId::ClientLeft, "accepted here: all that came was read, the end of file with it".to_owned())
        }
        (ConnectionSide::Accepted, Verdict::EofUnread) => (
            ReasonId::ClientLeft,
            "accepted here: the client left, and its handler has not noticed".to_owned(),
        ),
        (ConnectionSide::Accepted, Verdict::DataUnread) => (
            ReasonId::ClientLeft,
            format!("accepted here: the client left, and its handler has not read its last {count}"),
        ),
        // This side has spoken last.
        (ConnectionSide::Connected, Verdict::EofUnread) if is_unanswered(facts) => (
            ReasonId::Connected,
            "this side connected; its last request was never answered, and nobody has looked since"
                .to_owned(),
        ),
        // The last words are the last data that came, so an answer before them cannot be told from none.
        (ConnectionSide::Connected, Verdict::EofUnread) if facts.last_words.is_some() => (
            ReasonId::IdleInPool,
            "this side connected, and nobody looks at it: it idles, as in a connection pool, or its last request was \
             never answered"
                .to_owned(),
        ),
        (ConnectionSide::Connected, Verdict::EofUnread) => (
            ReasonId::IdleInPool,
            "this side connected, and waits for no answer: it idles, as in a connection pool".to_owned(),
        ),
        (ConnectionSide::Connected, Verdict::EofRead) => {
            (ReasonId::Connected, "this side connected, and read to the end".to_owned())
        }
        (ConnectionSide::Connected, Verdict::DataUnread) => (
            ReasonId::Connected,
            format!("this side connected, and has not read the last {count} of the answer"),
        ),
        (_, Verdict::NeverAccepted | Verdict::HalfOpen | Verdict::NoHolder | Verdict::ConnectionOver) => {
            return None;
        }
    };
    Some(reason(id, text, ReasonNumbers { bytes, ..ReasonNumbers::default() }))
}
