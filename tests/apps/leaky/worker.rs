//! A process of the stage, which does what requests say and nothing else.
//!
//! Workers own all TCP sockets; the stage has none, so it can never be a holder by accident. A worker
//! has one thread, except for the one that accepts in a named thread, and never forks then.

mod busy;
mod deep_stack;
mod ending;
mod frameless;
mod guarding;
mod handing;
mod jitted;
mod library;
mod machine_code;
mod opening;
mod own_place;
mod relaying;
mod sleeping;
mod unconnected;
mod wire;
mod words;

pub(crate) use deep_stack::FUNCTIONS as STACK_FUNCTIONS;
pub(crate) use handing::{fork, start_with_pid};
pub(crate) use jitted::{FUNCTIONS as JITTED_FUNCTIONS, map_path};
pub(crate) use library::FUNCTIONS as LIBRARY_FUNCTIONS;
pub(crate) use wire::{HERE, THERE};

use crate::channel::Channel;
use crate::message::{Ends, Reply, Request};
use crate::socket;
use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// First argument of a leaky that was started by exec from a worker.
pub(crate) const HOLD: &str = "__hold";

/// What a worker is born with, beside its channel.
#[derive(Default)]
pub(crate) struct Equipment {
    /// One channel for each child it will be asked to fork.
    pub spares: VecDeque<UnixStream>,
    /// Unix sockets to pass descriptors through.
    pub passage_out: Option<UnixStream>,
    pub passage_in: Option<UnixStream>,
}

pub(crate) struct Worker {
    channel: Channel,
    equipment: Equipment,
    listener: Option<Arc<OwnedFd>>,
    sockets: Vec<OwnedFd>,
    /// By cookie; the kernel forgets them at the end of a connection.
    ends: HashMap<u64, Ends>,
    ballast: Vec<OwnedFd>,
    /// What takes the last free descriptors.
    filler: Vec<OwnedFd>,
    /// Mappings of sockets.
    mapped: Vec<*mut std::ffi::c_void>,
    ring: Option<io_uring::IoUring>,
    library: Option<library::Library>,
    /// What it does between two requests; at most one of them.
    busy: Option<busy::Busy>,
    relay: Option<relaying::Relay>,
    wire: Option<wire::Wire>,
    guard: Option<guarding::Guard>,
    sending: bool,
    reading: bool,
}

/// The life of a freshly forked worker.
pub(crate) fn live(name: &str, channel: UnixStream, equipment: Equipment) -> ! {
    // Dying with the stage is a second net: a worker also ends when its channel does.
    let prepared = handing::die_with_parent()
        .and_then(|()| handing::rename(name))
        .and_then(|()| handing::keep_only(&channel, &equipment));
    let outcome = prepared.and_then(|()| Worker::new(Channel::new(channel), equipment, Vec::new()).serve());
    if let Err(error) = &outcome {
        let _nobody_listens = writeln!(std::io::stderr(), "{name}: {error:#}");
    }
    // SAFETY: _exit has no preconditions; the copies of the stage's values must not be dropped here.
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

/// The life of a worker after exec: `__hold CHANNEL SOCKET,SOCKET,… LISTENER`, all numbers of descriptors.
pub(crate) fn hold(mut words: impl Iterator<Item = String>) -> Result<()> {
    let mut take = || -> Result<Vec<OwnedFd>> {
        let numbers = words.next().context("a list of descriptors is needed")?;
        let own = |number: &str| -> Result<OwnedFd> {
            // SAFETY: the worker that called exec left these descriptors open for us and nobody else.
            Ok(unsafe { OwnedFd::from_raw_fd(number.parse()?) })
        };
        numbers.split(',').filter(|number| !number.is_empty()).map(own).collect()
    };
    let channel = take()?.pop().context("no channel")?;
    let sockets = take()?;
    let listener = take()?.pop();
    let mut channel = Channel::new(UnixStream::from(channel));
    channel.send(&Reply::Done)?;
    let mut worker = Worker::new(channel, Equipment::default(), sockets);
    worker.listener = listener.map(Arc::new);
    worker.serve()
}

impl Worker {
    fn new(channel: Channel, equipment: Equipment, sockets: Vec<OwnedFd>) -> Self {
        Self {
            channel,
            equipment,
            listener: None,
            sockets,
            ends: HashMap::new(),
            ballast: Vec::new(),
            filler: Vec::new(),
            mapped: Vec::new(),
            ring: None,
            library: None,
            busy: None,
            relay: None,
            wire: None,
            guard: None,
            sending: false,
            reading: false,
        }
    }

    /// Answers requests until the stage is gone.
    fn serve(mut self) -> Result<()> {
        loop {
            self.keep_busy_until_asked()?;
            let Some(request) = self.channel.receive()? else {
                self.guard.iter().for_each(guarding::Guard::thaw);
                return Ok(());
            };
            if let Request::EndMainThread = request {
                return ending::go_on_in_another_thread(self);
            }
            let reply = match self.answer(request) {
                Ok(Some(reply)) => reply,
                Ok(None) => continue,
                Err(error) => Reply::Failed(format!("{error:#}")),
            };
            self.channel.send(&reply)?;
        }
    }

    /// `None` when the answer is not this process's to give.
    fn answer(&mut self, request: Request) -> Result<Option<Reply>> {
        match request {
            Request::Listen { address, share_port, mptcp } => {
                return self.listen(&address, share_port, mptcp).map(Some);
            }
            Request::Accept { count, by } => return self.accept(count, by).map(Some),
            Request::Connect { address, count, mptcp } => {
                return self.connect(&address, count, mptcp).map(Some);
            }
            Request::Describe => return self.describe().map(Some),
            Request::Backlog => {
                let listener = self.listener.as_ref().context("no listener")?;
                return Ok(Some(Reply::Waiting { count: socket::backlog(listener.as_fd())? }));
            }
            Request::CloseEach => return self.close_each().map(Some),
            Request::ShutDownEach => return self.shut_down_each().map(Some),
            Request::ResetEach => return self.reset_each().map(Some),
            Request::NeverConnect => return self.never_connect().map(Some),
            Request::KeepAlive => self.sockets.iter().try_for_each(socket::keep_alive)?,
            Request::Await { state } => return self.await_state(state).map(Some),
            Request::AwaitOne { on, state } => return self.await_one(on, state).map(Some),
            Request::CloseOne { on } => return self.close_one(on).map(Some),
            Request::ShutDownOne { on } => return self.shut_down_one(on).map(Some),
            Request::Say { on, bytes } => self.say(on, &bytes)?,
            Request::Hear { on, bytes } => self.hear_bytes(on, bytes)?,
            Request::HearEnd { on } => socket::read_to_end(self.one(on)?)?,
            Request::Relay { pairs } => self.relay = Some(self.relay(&pairs)?),
            Request::OpenWire => self.wire = Some(wire::Wire::open()?),
            Request::CutWire => self.wire.as_mut().context("no wire")?.is_cut = true,
            Request::Busy { with, in_thread, nice } => {
                return self.begin_work(with, in_thread, nice).map(Some);
            }
            Request::StartSleepers => return sleeping::start_sleepers().map(Some),
            Request::VforkInThread => return sleeping::vfork_in_thread().map(Some),
            Request::Fill { on } => {
                return Ok(Some(Reply::Filled { bytes: handing::fill(self.one(on)?)? }));
            }
            // Those three have replied before they slept.
            Request::BlockInRead { on } => return self.block_in_read(on).map(|()| None),
            Request::SleepIn { call } => return self.sleep_in(call).map(|()| None),
            Request::BlockInSend { on } => return self.block_in_send(on).map(|()| None),
            Request::Trace { pid, stops } => sleeping::trace(pid, stops)?,
            Request::Untrace { pid } => sleeping::untrace(pid)?,
            Request::Reap { child } => sleeping::reap(child)?,
            Request::LimitBacklog { to } => {
                rustix::net::listen(self.listener.as_ref().context("no listener")?, to)?;
            }
            Request::UseUpDescriptors { limit } => self.use_up_descriptors(limit)?,
            Request::Fork { outlives_parent } => return self.fork(outlives_parent),
            Request::Send { bytes } => self.send(bytes)?,
            Request::ReadToEnd => self.sockets.iter().try_for_each(socket::read_to_end)?,
            Request::KeepSending => {
                self.sending = true;
                self.send(1)?;
            }
            Request::KeepReading => self.reading = true,
            Request::Ballast { count } => self.add_ballast(count)?,
            Request::EndMainThread => bail!("only the loop can do that"),
            Request::Duplicate => self.duplicate()?,
            Request::AwaitParent { parent } => handing::await_parent(parent)?,
            Request::Exec { program, listener } => return Err(self.exec(&program, listener)),
            Request::Guard { switch, thawed, folders } => {
                self.guard(guarding::Guard { switch, thawed, folders })?;
            }
            Request::Rename { name } => handing::rename(&name)?,
            Request::MountOver { folder } => own_place::mount_over(&folder)?,
            Request::CopyProgram { to } => own_place::copy_program(&to)?,
            Request::LoadLibrary { path } => self.library = Some(library::Library::load(&path)?),
            Request::MapSockets => self.map_sockets()?,
            Request::RegisterInRing => self.register_in_ring()?,
            Request::SendInRing => self.send_in_ring()?,
            Request::SendInThread => self.send_in_thread()?,
            Request::PassOn => self.pass_on()?,
            Request::Receive { count } => self.receive(count)?,
            Request::CloseSockets => self.sockets.clear(),
            Request::CloseListener => self.listener = None,
            Request::Release => self.release()?,
            // SAFETY: _exit has no preconditions.
            Request::Exit => unsafe { libc::_exit(0) },
        }
        // Exec that went well is answered by the program that took our place.
        Ok(Some(Reply::Done))
    }

    /// A worker that has something to do does so while it waits for the next request.
    fn keep_busy_until_asked(&mut self) -> Result<()> {
        if let Some(busy) = &self.busy {
            return busy.until_asked(&self.channel);
        }
        if let Some(relay) = &mut self.relay {
            return relay.until_asked(&self.channel, &self.sockets);
        }
        if let Some(wire) = &mut self.wire {
            return wire.carry_until_asked(&self.channel);
        }
        let tenth = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while self.sending || self.reading {
            let mut waiting = vec![PollFd::new(self.channel.stream(), PollFlags::IN)];
            if self.reading {
                waiting.extend(self.sockets.iter().map(|one| PollFd::new(one, PollFlags::IN)));
            }
            rustix::event::poll(&mut waiting, self.sending.then_some(&tenth))?;
            if waiting.first().is_some_and(|channel| !channel.revents().is_empty()) {
                return Ok(());
            }
            if self.reading {
                self.sockets.retain(socket::drain);
            }
            // The other side may be gone by now, which is no concern of this case.
            self.sending = self.sending && self.send(1).is_ok();
        }
        Ok(())
    }
}
