//! Directs a case: starts the processes, sends them requests, and cleans up after them.
//!
//! It holds no TCP socket itself. However it ends, its processes end with it.

mod conditions;
mod places;
mod telling;

pub(crate) use telling::Ended;

use crate::cases::{Case, Setting};
use crate::channel::Channel;
use crate::message::{Reply, Request};
use crate::socket;
use crate::worker::{self, Equipment};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longer than any wait of a worker, so that the worker can still report what it waited for.
const REPLY_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// May end up with the leaked socket.
    Holder,
    /// The other end, which closes first.
    Peer,
    /// The other end of another connection of the holder, which it waits for.
    FarEnd,
    /// Has nothing to do with it.
    Bystander,
}

impl Role {
    pub(crate) fn comm(self) -> &'static str {
        match self {
            Self::Holder => "leaky-holder",
            Self::Peer => "leaky-peer",
            Self::FarEnd => "leaky-far",
            Self::Bystander => "bystander",
        }
    }
}

/// A process of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerId(usize);

struct Member {
    pid: i32,
    role: Role,
    channel: Channel,
    spares: VecDeque<UnixStream>,
    gone: bool,
}

pub(crate) struct Stage {
    pub case: Case,
    pub setting: Setting,
    members: Vec<Member>,
    places: places::Places,
    conditions: conditions::Conditions,
}

impl Stage {
    pub(crate) fn new(case: Case, setting: Setting) -> Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self {
            case,
            setting,
            members: Vec::new(),
            places: places::Places::default(),
            conditions: conditions::Conditions::default(),
        })
    }

    pub(crate) fn start(&mut self, role: Role) -> Result<WorkerId> {
        self.start_with(role, 0, Equipment::default())
    }

    /// Starts a worker that can be asked to fork `heirs` times.
    pub(crate) fn start_with(
        &mut self,
        role: Role,
        heirs: usize,
        mut equipment: Equipment,
    ) -> Result<WorkerId> {
        let mut spares = VecDeque::new();
        for _ in 0..heirs {
            let (ours, theirs) = UnixStream::pair()?;
            spares.push_back(ours);
            equipment.spares.push_back(theirs);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let Some(pid) = worker::fork()? else { worker::live(role.comm(), theirs, equipment) };
        self.enlist(pid, role, ours, spares)
    }

    fn enlist(
        &mut self,
        pid: i32,
        role: Role,
        stream: UnixStream,
        spares: VecDeque<UnixStream>,
    ) -> Result<WorkerId> {
        let channel = Channel::new(stream);
        channel.limit_waiting(REPLY_TIMEOUT)?;
        self.members.push(Member { pid, role, channel, spares, gone: false });
        Ok(WorkerId(self.members.len() - 1))
    }

    /// Has a worker fork; the child inherits all its descriptors.
    pub(crate) fn fork(&mut self, parent: WorkerId, outlives_parent: bool) -> Result<WorkerId> {
        let Reply::Forked { pid } = self.ask(parent, &Request::Fork { outlives_parent })? else {
            bail!("a fork was asked for");
        };
        let spare = self.member(parent)?.spares.pop_front().context("no spare channel")?;
        self.enlist(pid, Role::Holder, spare, VecDeque::new())
    }

    pub(crate) fn tell(&mut self, worker: WorkerId, request: &Request) -> Result<()> {
        let member = self.member(worker)?;
        member.channel.send(request).with_context(|| format!("process {}", member.pid))
    }

    pub(crate) fn hear(&mut self, worker: WorkerId) -> Result<Reply> {
        let member = self.member(worker)?;
        let (role, pid) = (member.role, member.pid);
        let reply = member.channel.receive().with_context(|| format!("{role:?} {pid}"))?;
        match reply.with_context(|| format!("{role:?} {pid} died"))? {
            Reply::Failed(why) => bail!("{role:?} {pid}: {why}"),
            reply => Ok(reply),
        }
    }

    pub(crate) fn ask(&mut self, worker: WorkerId, request: &Request) -> Result<Reply> {
        self.tell(worker, request)?;
        self.hear(worker).with_context(|| format!("{request:?}"))
    }

    /// Sends a request whose reply is only that it is done.
    pub(crate) fn order(&mut self, worker: WorkerId, request: &Request) -> Result<()> {
        let reply = self.ask(worker, request)?;
        ensure!(matches!(reply, Reply::Done), "{request:?} was answered by {reply:?}");
        Ok(())
    }

    pub(crate) fn pid(&mut self, worker: WorkerId) -> Result<i32> {
        Ok(self.member(worker)?.pid)
    }

    /// Has a worker exit, and waits until its pid is free again.
    pub(crate) fn dismiss(&mut self, worker: WorkerId) -> Result<()> {
        self.tell(worker, &Request::Exit)?;
        let member = self.member(worker)?;
        rustix::process::waitpid(Pid::from_raw(member.pid), WaitOptions::empty())?;
        member.gone = true;
        Ok(())
    }

    /// Has a child of another worker exit, and its parent notice.
    pub(crate) fn dismiss_child(&mut self, parent: WorkerId, child: WorkerId) -> Result<()> {
        self.tell(child, &Request::Exit)?;
        let pid = self.pid(child)?;
        self.order(parent, &Request::Reap { child: pid })?;
        self.member(child)?.gone = true;
        Ok(())
    }

    /// Has every holder close what it holds. Returns the clock before and after.
    pub(crate) fn release(&mut self) -> Result<(u64, u64)> {
        self.lift_conditions()?;
        let before = socket::now_ns();
        for worker in (0..self.members.len()).map(WorkerId) {
            let member = self.member(worker)?;
            if matches!(member.role, Role::Holder | Role::FarEnd) && !member.gone {
                self.order(worker, &Request::Release)?;
            }
        }
        Ok((before, socket::now_ns()))
    }

    fn member(&mut self, worker: WorkerId) -> Result<&mut Member> {
        self.members.get_mut(worker.0).context("no such worker")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.conditions.thaw();
        for member in self.members.iter().filter(|member| !member.gone) {
            if let Some(pid) = Pid::from_raw(member.pid) {
                let _already_dead = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        // Orphans become our children one by one, as their parents are reaped.
        while rustix::process::wait(WaitOptions::empty()).is_ok() {}
        self.places.remove();
    }
}
