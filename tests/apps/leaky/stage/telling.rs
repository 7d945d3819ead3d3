//! Builds truths from what the workers report.
//!
//! Matches sockets by their addresses, which are unique while both ends are alive. Takes nothing from outside the
//! workers but names and namespaces from /proc.

use super::{Stage, WorkerId};
use crate::message::{Ends, Reading, Reply, Request, SocketFacts};
use crate::sock_destroy;
use crate::socket::{self, State};
use crate::truth::{Extra, Holder, Opened, Opener, Truth};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;

/// When each socket entered CLOSE_WAIT, or its connection was over: not before the first reading, not after the second.
#[derive(Default)]
pub(crate) struct Ended {
    brackets: HashMap<Ends, (u64, u64)>,
    /// Whether the peer still holds its end.
    peer_waits: bool,
}

impl Ended {
    /// Of sockets that never were connected.
    pub(crate) fn never(opened: &[Opened]) -> Self {
        Self { brackets: opened.iter().map(|one| (one.ends, (0, 0))).collect(), peer_waits: false }
    }

    /// Completes truths that were told before it happened.
    pub(crate) fn happened_to(&self, truths: &mut [Truth]) {
        for truth in truths {
            let local = SocketAddr::new(truth.laddr, truth.lport);
            let remote = SocketAddr::new(truth.raddr, truth.rport);
            if let Some(bracket) = self.brackets.get(&Ends { local, remote }) {
                (truth.entered_before_ns, truth.entered_after_ns) = *bracket;
            }
        }
    }

    fn seen(&mut self, ends: Ends, at_ns: u64) {
        if let Some(bracket) = self.brackets.get_mut(&ends) {
            bracket.1 = at_ns;
        }
    }
}

impl Stage {
    /// Waits for the report of what a worker has accepted or connected.
    pub(crate) fn hear_opened(
        &mut self,
        opener: WorkerId,
        peer: WorkerId,
        how: &'static str,
    ) -> Result<Vec<Opened>> {
        let Reply::Opened { sockets, thread, comm } = self.hear(opener)? else {
            bail!("opened sockets were asked for");
        };
        let (pid, peer_pid) = (self.pid(opener)?, self.pid(peer)?);
        let opener = Opener { pid, tid: thread.unwrap_or(pid), comm, how };
        let opened = |socket: SocketFacts| Opened {
            ends: socket.ends,
            cookie: Some(socket.cookie),
            opener: Some(opener.clone()),
            peer_pid,
        };
        Ok(sockets.into_iter().map(opened).collect())
    }

    /// The peer closes; each witness has descriptors of the other ends and waits for CLOSE_WAIT.
    pub(crate) fn end_seen_by(&mut self, peer: WorkerId, witnesses: &[WorkerId]) -> Result<Ended> {
        self.end_with(peer, &Request::CloseEach, witnesses, State::CloseWait)
    }

    /// The peer closes one connection, which the witness sees; `on` is what the witness calls it.
    pub(crate) fn end_one_seen_by(
        &mut self,
        ended: &mut Ended,
        on: Ends,
        peer: WorkerId,
        witness: WorkerId,
    ) -> Result<()> {
        for reading in self.readings(peer, &Request::CloseOne { on: on.flipped() })? {
            ended.brackets.insert(on, (reading.at_ns, 0));
        }
        self.await_one(witness, on, State::CloseWait).map(|at_ns| ended.seen(on, at_ns))
    }

    /// Waits until one socket of a worker is in this state. Returns the clock then.
    pub(crate) fn await_one(&mut self, worker: WorkerId, on: Ends, state: State) -> Result<u64> {
        let readings = self.readings(worker, &Request::AwaitOne { on, state })?;
        readings.first().map(|reading| reading.at_ns).context("a reading")
    }

    /// A worker ends the sending half of one socket, and its peer acknowledges that.
    pub(crate) fn shut_down_one(&mut self, worker: WorkerId, on: Ends) -> Result<()> {
        self.readings(worker, &Request::ShutDownOne { on })?;
        self.await_one(worker, on, State::FinWait2).map(drop)
    }

    /// The peer ends only its sending half, and goes on receiving.
    pub(crate) fn half_end_seen_by(&mut self, peer: WorkerId, witnesses: &[WorkerId]) -> Result<Ended> {
        let ended = self.end_with(peer, &Request::ShutDownEach, witnesses, State::CloseWait)?;
        Ok(Ended { peer_waits: true, ..ended })
    }

    /// The peer resets; the witness has descriptors of the other ends.
    pub(crate) fn reset_seen_by(&mut self, peer: WorkerId, witness: WorkerId) -> Result<Ended> {
        self.end_with(peer, &Request::ResetEach, &[witness], State::Close)
    }

    /// Destroys sockets, of which the witness has descriptors, from outside.
    pub(crate) fn destroy(&mut self, opened: &[Opened], witness: WorkerId) -> Result<Ended> {
        let mut ended = Ended::default();
        for Opened { ends, cookie, .. } in opened {
            ended.brackets.insert(*ends, (socket::now_ns(), 0));
            let cookie = cookie.context("a cookie")?;
            sock_destroy::destroy(ends.local, ends.remote, cookie).context("SOCK_DESTROY is refused")?;
        }
        self.await_end(&mut ended, witness, State::Close)?;
        Ok(ended)
    }

    /// The last one of two sides to do so ends its sending half, which is the end of each connection.
    pub(crate) fn shut_down_to_the_end(&mut self, last: WorkerId) -> Result<Ended> {
        let readings = self.readings(last, &Request::ShutDownEach)?.into_iter();
        let brackets = readings.map(|reading| (reading.ends, (reading.at_ns, 0))).collect();
        let mut ended = Ended { brackets, peer_waits: false };
        self.await_end(&mut ended, last, State::Close)?;
        Ok(ended)
    }

    /// The peer closes, and finds out by itself that the other side has entered CLOSE_WAIT: that
    /// kernel does so before it acknowledges the FIN (tcp_fin in net/ipv4/tcp_input.c), and the
    /// acknowledgement is what brings the peer to FIN_WAIT2.
    pub(crate) fn end_unseen(&mut self, peer: WorkerId) -> Result<Ended> {
        let ended = self.half_end_unseen(peer)?;
        self.readings(peer, &Request::CloseEach)?;
        Ok(Ended { peer_waits: false, ..ended })
    }

    /// As [`Stage::end_unseen`], where the peer ends only its sending half.
    pub(crate) fn half_end_unseen(&mut self, peer: WorkerId) -> Result<Ended> {
        let mut ended = self.begin_end(peer, &Request::ShutDownEach)?;
        for reading in self.readings(peer, &Request::Await { state: State::FinWait2 })? {
            ended.seen(reading.ends.flipped(), reading.at_ns);
        }
        Ok(Ended { peer_waits: true, ..ended })
    }

    /// The descriptor that a worker has of one of its sockets.
    pub(crate) fn descriptor(&mut self, worker: WorkerId, on: Ends) -> Result<i32> {
        let Reply::Holding { sockets, .. } = self.ask(worker, &Request::Describe)? else {
            bail!("a description was asked for");
        };
        sockets.iter().find(|one| one.ends == on).map(|one| one.fd).context("it does not hold that")
    }

    fn end_with(
        &mut self,
        peer: WorkerId,
        how: &Request,
        witnesses: &[WorkerId],
        state: State,
    ) -> Result<Ended> {
        let mut ended = self.begin_end(peer, how)?;
        for &witness in witnesses {
            self.await_end(&mut ended, witness, state)?;
        }
        Ok(ended)
    }

    fn await_end(&mut self, ended: &mut Ended, witness: WorkerId, state: State) -> Result<()> {
        for reading in self.readings(witness, &Request::Await { state })? {
            ended.seen(reading.ends, reading.at_ns);
        }
        Ok(())
    }

    fn begin_end(&mut self, peer: WorkerId, how: &Request) -> Result<Ended> {
        let readings = self.readings(peer, how)?.into_iter();
        let brackets = readings.map(|reading| (reading.ends.flipped(), (reading.at_ns, 0))).collect();
        Ok(Ended { brackets, peer_waits: false })
    }

    fn readings(&mut self, worker: WorkerId, request: &Request) -> Result<Vec<Reading>> {
        match self.ask(worker, request)? {
            Reply::Readings(readings) => Ok(readings),
            other => bail!("{request:?} was answered by {other:?}"),
        }
    }

    /// Asks `holders` what they hold, and returns the truth about every socket in `opened`.
    pub(crate) fn truths(
        &mut self,
        verdict: Option<&'static str>,
        recv_q: u32,
        opened: &[Opened],
        holders: &[WorkerId],
        ended: &Ended,
    ) -> Result<Vec<Truth>> {
        let mut held: HashMap<Ends, Vec<Holder>> = HashMap::new();
        let mut queues = Vec::new();
        for &holder in holders {
            let Reply::Holding { sockets, listener } = self.ask(holder, &Request::Describe)? else {
                bail!("a description was asked for");
            };
            let pid = self.pid(holder)?;
            let comm = comm(pid)?;
            let one = |fd| Holder { pid, fds: vec![fd], comm: comm.clone() };
            for socket in sockets {
                held.entry(socket.ends).or_default().push(one(socket.fd));
            }
            queues.extend(listener.map(one));
        }
        let netns = match holders.first() {
            Some(&holder) => netns(self.pid(holder)?)?,
            None => netns(opened.first().context("nothing was opened")?.peer_pid)?,
        };
        let case = self.case.to_possible_value().context("a case has a name")?.get_name().to_owned();
        let tell = |one: &Opened| {
            let bracket = ended.brackets.get(&one.ends).context("the end of a connection was not seen")?;
            // A socket that nobody accepted belongs to those who hold the listener.
            let mut holders = match one.opener {
                Some(_) => held.get(&one.ends).cloned().unwrap_or_default(),
                None => queues.clone(),
            };
            holders.sort_by_key(|holder| holder.pid);
            Ok(Truth {
                case: case.clone(),
                cookie: one.cookie,
                family: if one.ends.local.is_ipv4() { 4 } else { 6 },
                laddr: one.ends.local.ip(),
                lport: one.ends.local.port(),
                raddr: one.ends.remote.ip(),
                rport: one.ends.remote.port(),
                netns,
                protocol: "tcp",
                holders,
                opener: one.opener.clone(),
                peer_pid: one.peer_pid,
                peer_comm: comm(one.peer_pid)?,
                verdict,
                entered_before_ns: bracket.0,
                entered_after_ns: bracket.1,
                recv_q,
                extra: Extra { peer_waits: ended.peer_waits, ..Extra::default() },
            })
        };
        opened.iter().map(tell).collect()
    }
}

fn comm(pid: i32) -> Result<String> {
    let path = format!("/proc/{pid}/comm");
    Ok(std::fs::read_to_string(&path).context(path)?.trim_end().to_owned())
}

fn netns(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/net");
    Ok(std::fs::metadata(&path).context(path)?.ino())
}
