//! Ends the chosen sockets of one network namespace and checks the outcomes. The only part of the tool that
//! ends sockets.

use std::{path::Path, thread, time::Duration};

use rustc_hash::FxHashMap;
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
};

use super::{descriptor, recheck::recheck};
use crate::{
    host::world::World,
    model::{
        clearing::{Change, Method, Outcome, Refusal},
        criteria::Criteria,
        finding::Finding,
        socket::TcpFlavour,
        state::{State, StateSet},
        units::in_nanoseconds,
    },
    netlink::{self as sock_diag, DiagSocket, SockDiag, SocketId},
};

/// How long to wait until peers acknowledge a shutdown: a round trip, as a rule.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_millis(250);

/// The time between two looks at closing sockets.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A socket to end.
#[derive(Clone, Debug)]
pub(crate) struct ClearTarget {
    pub finding: Finding,
    /// How to end it, or why it cannot be ended.
    pub method: Result<Method, Refusal>,
}

/// The outcome of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetOutcome {
    pub outcome: Outcome,
    /// When the socket was looked up before acting (CLOCK_MONOTONIC, nanoseconds).
    pub at_ns: u64,
}

/// Ends the targets, all in the network namespace of `talk`; returns one outcome per target, in order.
///
/// Only one request lies between looking up a socket and ending it. The kernel compares the cookie once more
/// (SOCK_DESTROY), or our copy of the descriptor has it (shutdown).
pub(crate) fn end(
    talk: Result<SockDiag, sock_diag::Error>,
    targets: &[ClearTarget],
    criteria: &Criteria,
    world: &World,
) -> Vec<TargetOutcome> {
    let clocks = &world.clocks;
    let mut namespace = match talk {
        Ok(diag) => Namespace { diag, proc: &world.proc, mptcp: FxHashMap::default() },
        Err(error) => {
            let unreachable = Refusal::System(error.to_string());
            let refused = |target: &ClearTarget| {
                let refusal = target.method.clone().err().unwrap_or_else(|| unreachable.clone());
                TargetOutcome { outcome: Outcome::Refused(refusal), at_ns: clocks.monotonic_ns() }
            };
            return targets.iter().map(refused).collect();
        }
    };
    let has_mptcp = targets.iter().any(|target| is_mptcp(&target.finding));
    if has_mptcp {
        namespace.list_mptcp();
    }
    let mut acted: Vec<TargetOutcome> = targets
        .iter()
        .map(|target| {
            let at_ns = clocks.monotonic_ns();
            let outcome = namespace.end(target, at_ns, criteria).err().unwrap_or(Outcome::Gone);
            TargetOutcome { outcome, at_ns }
        })
        .collect();
    // Looks at the ended sockets again: `Gone` was only an assumption so far.
    let give_up_ns = clocks.monotonic_ns() + in_nanoseconds(ACKNOWLEDGE_TIMEOUT);
    let mut open: Vec<(&ClearTarget, &mut Outcome)> = targets
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
            **outcome = namespace.outcome(target);
        }
        open.retain(|(_, outcome)| matches!(outcome, Outcome::Closing(_)));
        if open.is_empty() || clocks.monotonic_ns() > give_up_ns {
            return acted;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

struct Namespace<'a> {
    diag: SockDiag,
    /// Where processes are looked at.
    proc: &'a Path,
    /// MPTCP connections by cookie: the kernel does not look them up by address.
    mptcp: FxHashMap<u64, DiagSocket>,
}

impl Namespace<'_> {
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

    /// Looks up the socket; `None` if it is gone.
    fn look(&mut self, finding: &Finding) -> Result<Option<DiagSocket>, Refusal> {
        let id = id(finding)?;
        if is_mptcp(finding) {
            return Ok(self.mptcp.get(&id.cookie).cloned());
        }
        self.diag.lookup(TcpFlavour::Tcp, &id, true).map_err(|error| system(&error))
    }

    /// Ends a socket, if it is still what was listed.
    ///
    /// # Errors
    /// The outcome, if it was not ended.
    fn end(&mut self, target: &ClearTarget, at_ns: u64, criteria: &Criteria) -> Result<(), Outcome> {
        let ClearTarget { finding, method } = target;
        let method = method.clone().map_err(Outcome::Refused)?;
        let id = id(finding).map_err(Outcome::Refused)?;
        // Copied first, so that the lookup comes right before the act.
        let descriptor = match method {
            Method::Shutdown => Some(descriptor::take(&finding.owners, id.cookie, self.proc)),
            Method::Destroy => None,
        };
        let fresh = self.look(finding).map_err(Outcome::Refused)?.ok_or(Outcome::Changed(Change::Ended))?;
        recheck(finding, &fresh, at_ns, criteria).map_err(Outcome::Changed)?;
        match descriptor {
            Some(descriptor) => match shutdown(descriptor.map_err(Outcome::Refused)?, Shutdown::Both) {
                Ok(()) => Ok(()),
                Err(Errno::NOTCONN) => Err(Outcome::Changed(Change::Ended)),
                Err(errno) => Err(Outcome::Refused(Refusal::System(format!("shutdown(2): {errno}")))),
            },
            None => match self.diag.destroy(&id) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Outcome::Changed(Change::Ended)),
                Err(error) => Err(Outcome::Refused(not_destroyed(&error))),
            },
        }
    }

    /// The outcome of a socket after it was ended.
    fn outcome(&mut self, target: &ClearTarget) -> Outcome {
        let state = match self.look(&target.finding) {
            Ok(fresh) => fresh.and_then(|fresh| State::from_number(fresh.state)),
            Err(refusal) => return Outcome::Refused(refusal),
        };
        match state {
            // An MPTCP connection stays in the kernel's table, in CLOSE, while a process holds it.
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

fn system(error: &sock_diag::Error) -> Refusal {
    Refusal::System(error.to_string())
}

/// A probe has shown that the kernel can destroy sockets, so EOPNOTSUPP is about this kind of socket.
fn not_destroyed(error: &sock_diag::Error) -> Refusal {
    match error {
        sock_diag::Error::System { source, .. }
            if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) =>
        {
            Refusal::Minisocket
        }
        error => system(error),
    }
}
