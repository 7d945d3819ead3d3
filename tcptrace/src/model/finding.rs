//! The result of inspecting a socket. Inspects nothing.

use std::sync::Arc;

use super::{
    close_wait::Since,
    ended::EndedHow,
    no_site::NoSite,
    other_end::OtherEnd,
    owner::{CalledBy, OpenedBy, Owner},
    process::DescriptorUse,
    reason::Reason,
    socket::{Socket, SocketKey, TcpFlavour},
    stack::Stack,
    state::State,
    task::OpenedHow,
    verdict::{UnknownBecause, Verdict},
};

/// The result of inspecting a socket.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its key in the table.
    pub key: SocketKey,
    /// The socket, completed by sock_diag.
    pub socket: Socket,
    pub state: State,
    /// Since when it has been in CLOSE_WAIT, or its connection has been over. In other states only the later
    /// bound is meaningful: nothing has arrived from the peer since then.
    pub since: Since,
    /// When it was inspected (CLOCK_MONOTONIC, nanoseconds).
    pub looked_at_ns: u64,
    /// Whether it is still in the state it was inspected for.
    pub is_stuck: bool,
    /// Unread bytes; the FIN counts as one.
    pub recv_q: Option<u32>,
    /// Unacknowledged bytes.
    pub send_q: Option<u32>,
    /// `None` in states other than CLOSE_WAIT and CLOSE, and if the facts do not suffice.
    pub verdict: Option<Verdict>,
    /// Why there is no verdict or no owner, where there might be one; `None` when both are known.
    pub unknown_because: Option<UnknownBecause>,
    /// The processes responsible for it.
    pub owners: Vec<Owner>,
    /// Who opened it, if seen.
    pub opened_by: Option<OpenedBy>,
    /// Why `opened_by` is not known; `None` where it is.
    pub no_site: Option<NoSite>,
    /// Who read the end of file first, if seen.
    pub eof_read_by: Option<CalledBy>,
    /// How often a second the end of file was read since, if that was counted.
    pub eof_reads_per_second: Option<u64>,
    /// Descriptors of the first process that answers for it, if known.
    pub descriptors: Option<DescriptorUse>,
    /// Why it is stuck, the most telling reason first.
    pub because: Vec<Reason>,
    /// How its connection ended, in state CLOSE and if known.
    pub ended_how: Option<EndedHow>,
    /// The other end, if it is on this host.
    pub other_end: Option<OtherEnd>,
    /// Whether keep-alive probes are at work, if known.
    pub keep_alive: Option<bool>,
    /// How the kernel listed it; `None` if its namespace did not answer and only a descriptor was seen.
    pub listed_as: Option<ListedAs>,
}

impl Finding {
    /// How it was opened, if seen.
    #[must_use]
    pub fn opened_how(&self) -> Option<OpenedHow> {
        self.opened_by.as_ref().map(|opened| opened.how)
    }

    /// The stack that opened it, or what stands for one that nobody has.
    #[must_use]
    pub fn opening_stack(&self) -> Option<Arc<Stack>> {
        match (&self.opened_by, &self.no_site) {
            (Some(opened), _) => opened.called.stack.clone(),
            (None, no_site) => no_site.clone().map(|no_site| Arc::new(Stack::unknown(no_site))),
        }
    }

    /// The age that counts, in nanoseconds: where keep-alive keeps the certain one small for ever, the greatest that is
    /// possible. 0 of a connection that nobody saw ending.
    #[must_use]
    pub fn likely_age_ns(&self) -> u64 {
        let (least, most) = self.since.age_at(self.looked_at_ns);
        match (self.state, self.keep_alive) {
            (State::Close, _) if !self.since.is_exact() => 0,
            (_, Some(true)) => most.unwrap_or(least),
            _ => least,
        }
    }
}

/// What a lookup in the kernel needs besides cookie and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedAs {
    /// The kernel's table that it is in.
    pub flavour: TcpFlavour,
    /// The index of the interface that it is bound to; 0 when none.
    pub interface: u32,
}
