//! Ends the chosen sockets of one network namespace, and looks what became of them. The only part that
//! ends anything.

use std::{thread, time::Duration};

use rustc_hash::FxHashMap;
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
};

use super::{descriptor, recheck::recheck};
use crate::model::{
    clearing::{Change, Method, Outcome, Refusal},
    selection::Selection,
};
use crate::{
    host::clock::Clocks,
    model::{
        finding::Finding,
        socket::TcpFlavour,
        state::{State, StateSet},
    },
    netlink::{self as sock_diag, DiagSocket, SockDiag, SocketId},
};

/// How long the peers of sockets that were shut down are given to acknowledge: a round trip, as a rule.
const PATIENCE: Duration = Duration::from_millis(250);

/// Between two looks at sockets that are on their way.
const PAUSE: Duration = Duration::from_millis(5);

/// A socket that is to end.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it was listed.
    pub finding: Finding,
    /// By which way, or why by none.
    pub method: Result<Method, Refusal>,
}

/// What was done to a target, and when (CLOCK_MONOTONIC, nanoseconds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acted {
    /// What came of it.
    pub outcome: Outcome,
    /// When the socket was asked about before acting.
    pub at_ns: u64,
}

/// Ends the targets, all of one network namespace that `talk` belongs to; one entry for each, in their order.
///
/// Between the look at a socket and the end of it lies one request. The kernel compares the cookie once more
/// (SOCK_DESTROY), or the descriptor in our hands has it (shutdown).
pub(crate) fn end(
    talk: Result<SockDiag, sock_diag::Error>,
    targets: &[Target],
    selection: &Selection,
    clocks: &Clocks,
) -> Vec<Acted> {
    let mut namespace = match talk {
        Ok(diag) => Namespace { diag, mptcp: FxHashMap::default() },
        Err(error) => {
            let unreachable = Refusal::System(error.to_string());
            let refused = |target: &Target| {
                let refusal = target.method.clone().err().unwrap_or_else(|| unreachable.clone());
                Acted { outcome: Outcome::Refused(refusal), at_ns: clocks.monotonic_ns() }
            };
            return targets.iter().map(refused).collect();
        }
    };
    let has_mptcp = targets.iter().any(|target| is_mptcp(&target.finding));
    if has_mptcp {
        namespace.list_mptcp();
    }
    let mut acted: Vec<Acted> = targets
        .iter()
        .map(|target| {
            let at_ns = clocks.monotonic_ns();
            let outcome = namespace.end(target, at_ns, selection).err().unwrap_or(Outcome::Gone);
            Acted { outcome, at_ns }
        })
        .collect();
    // What was ended is looked at again: `Gone` was no more than a hope so far.
    let give_up_ns = clocks.monotonic_ns() + PATIENCE.as_nanos() as u64;
    let mut open: Vec<(&Target, &mut Outcome)> = targets
        .iter()
        .zip(&mut acted)
        .map(|(target, acted)| (target, &mut acted.outcome))
        .filter(|(_, outcome)| **outcome == Outcome::Gone)
        .collect();
    loop {
        if has_mptcp {
            namespace.list_mptcp();
        }
        for (target, outcome) in &mut open {
            **outcome = namespace.became(target);
        }
        open.retain(|(_, outcome)| matches!(outcome, Outcome::Closing(_)));
        if open.is_empty() || clocks.monotonic_ns() > give_up_ns {
            return acted;
        }
        thread::sleep(PAUSE);
    }
}

struct Namespace {
    diag: SockDiag,
    /// The MPTCP connections, by cookie: the kernel does not find one by its addresses.
    mptcp: FxHashMap<u64, DiagSocket>,
}

impl Namespace {
    fn list_mptcp(&mut self) {
        self.mptcp.clear();
        let mptcp = &mut self.mptcp;
        let listed = self.diag.dump(TcpFlavour::Mptcp, StateSet::ALL, true, |socket| {
            mptcp.insert(socket.cookie, socket);
        });
        if let Err(error) = listed {
            log::debug!("{error}");
        }
    }

    /// Asks for the socket; `None` when this very one is no more.
    fn look(&mut self, finding: &Finding) -> Result<Option<DiagSocket>, Refusal> {
        let id = id(finding)?;
        if is_mptcp(finding) {
            return Ok(self.mptcp.get(&id.cookie).cloned());
        }
        self.diag.lookup(TcpFlavour::Tcp, &id, true).map_err(system)
    }

    /// Ends one socket, if it is what was listed.
    ///
    /// # Errors
    /// The outcome, when it was not ended.
    fn end(&mut self, target: &Target, at_ns: u64, selection: &Selection) -> Result<(), Outcome> {
        let Target { finding, method } = target;
        let method = method.clone().map_err(Outcome::Refused)?;
        let id = id(finding).map_err(Outcome::Refused)?;
        // In our hands first, so that the look comes right before the act.
        let descriptor = match method {
            Method::Shutdown => Some(descriptor::take(&finding.owners, id.cookie)),
            Method::Destroy => None,
        };
        let fresh = self.look(finding).map_err(Outcome::Refused)?.ok_or(Outcome::Changed(Change::Ended))?;
        recheck(finding, &fresh, at_ns, selection).map_err(Outcome::Changed)?;
        match descriptor {
            Some(descriptor) => match shutdown(descriptor.map_err(Outcome::Refused)?, Shutdown::Both) {
                Ok(()) => Ok(()),
                Err(Errno::NOTCONN) => Err(Outcome::Changed(Change::Ended)),
                Err(errno) => Err(Outcome::Refused(Refusal::System(format!("shutdown(2): {errno}")))),
            },
            None => match self.diag.destroy(&id) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Outcome::Changed(Change::Ended)),
                Err(error) => Err(Outcome::Refused(not_destroyed(error))),
            },
        }
    }

    /// What became of a socket that was ended.
    fn became(&mut self, target: &Target) -> Outcome {
        let state = match self.look(&target.finding) {
            Ok(fresh) => fresh.and_then(|fresh| State::from_number(fresh.state)),
            Err(refusal) => return Outcome::Refused(refusal),
        };
        match state {
            // An MPTCP connection stays in the kernel's table, in CLOSE, for as long as it is held.
            None | Some(State::Close) => Outcome::Gone,
            Some(state) if state == target.finding.state => Outcome::Refused(Refusal::Ignored),
            Some(state) => Outcome::Closing(state),
        }
    }
}

fn is_mptcp(finding: &Finding) -> bool {
    finding.listed_as.is_some_and(|listed| listed.flavour == TcpFlavour::Mptcp)
}

fn id(finding: &Finding) -> Result<SocketId, Refusal> {
    let (listed, cookie) = finding.listed_as.zip(finding.socket.cookie).ok_or(Refusal::OutOfReach)?;
    let endpoints = finding.socket.endpoints;
    Ok(SocketId { cookie, local: endpoints.local, remote: endpoints.remote, interface: listed.interface })
}

fn system(error: sock_diag::Error) -> Refusal {
    Refusal::System(error.to_string())
}

/// Whether the kernel can destroy sockets at all was asked before: what it does not support here is the kind.
fn not_destroyed(error: sock_diag::Error) -> Refusal {
    match error {
        sock_diag::Error::System { source, .. }
            if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) =>
        {
            Refusal::Minisocket
        }
        error => system(error),
    }
}
