//! What a worker may be in that keeps it from answering: stopped, frozen, traced, asleep in a call.
//!
//! Each is seen in /proc or in the cgroup before it counts, and lifted again before the worker is asked for anything.

use super::{Role, Stage, WorkerId, places};
use crate::message::{Ends, Reply, Request, Sleep};
use crate::socket::LIMIT;
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What lifts a condition.
enum Lift {
    Signal(i32, Signal),
    Write(PathBuf, &'static str),
    Ask(WorkerId, Request),
    /// The worker replies when it has woken up.
    Nothing,
}

#[derive(Default)]
pub(super) struct Conditions(Vec<Lift>);

impl Conditions {
    /// A process that version 1 of the cgroups has frozen does not even die.
    pub(super) fn thaw(&mut self) {
        for lift in self.0.drain(..) {
            if let Lift::Write(path, text) = lift {
                let _already_gone = std::fs::write(path, text);
            }
        }
    }
}

impl Stage {
    pub(super) fn lift_conditions(&mut self) -> Result<()> {
        while let Some(lift) = self.conditions.0.pop() {
            match lift {
                Lift::Signal(pid, signal) => {
                    rustix::process::kill_process(Pid::from_raw(pid).context("a pid")?, signal)?;
                }
                Lift::Write(path, text) => {
                    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
                }
                Lift::Ask(worker, request) => self.order(worker, &request)?,
                Lift::Nothing => {}
            }
        }
        Ok(())
    }

    /// As job control stops a process.
    pub(crate) fn stop(&mut self, worker: WorkerId) -> Result<()> {
        let pid = self.pid(worker)?;
        rustix::process::kill_process(Pid::from_raw(pid).context("a pid")?, Signal::STOP)?;
        self.conditions.0.push(Lift::Signal(pid, Signal::CONT));
        await_state_of(&process(pid), 'T')
    }

    /// As a debugger stops a process.
    pub(crate) fn trace(&mut self, tracer: WorkerId, worker: WorkerId) -> Result<()> {
        let pid = self.pid(worker)?;
        self.order(tracer, &Request::Trace { pid, stops: true })?;
        self.conditions.0.push(Lift::Ask(tracer, Request::Untrace { pid }));
        await_state_of(&process(pid), 't')
    }

    /// Waits until whoever starts now starts later than this worker, by the clock of /proc.
    pub(crate) fn await_later_start(&mut self, worker: WorkerId) -> Result<()> {
        let stat = std::fs::read_to_string(process(self.pid(worker)?) + "/stat")?;
        // proc_pid_stat(5): field 22, in clock ticks since boot; the name may contain anything.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace());
        let started: i64 = fields.and_then(|mut fields| fields.nth(19)).context("a start time")?.parse()?;
        // SAFETY: no pointers.
        let tick = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        until("the clock goes on", || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            Ok(now.tv_sec * tick + now.tv_nsec * tick / 1_000_000_000 > started)
        })
    }

    /// Has a thread of a worker wait uninterruptibly. Returns which; nothing lifts that.
    pub(crate) fn vfork_in_thread(&mut self, worker: WorkerId) -> Result<i32> {
        let pid = self.pid(worker)?;
        let Reply::Working { thread } = self.ask(worker, &Request::VforkInThread)? else {
            bail!("a thread was asked for");
        };
        await_state_of(&format!("/proc/{pid}/task/{thread}"), 'D').map(|()| thread)
    }

    /// Has a worker wait for what its peer says on one socket; the peer says it before anybody closes.
    pub(crate) fn block_in_read(&mut self, worker: WorkerId, on: Ends, peer: WorkerId) -> Result<()> {
        let pid = self.pid(worker)?;
        self.order(worker, &Request::BlockInRead { on })?;
        let say = Request::Say { on: on.flipped(), bytes: b"w".to_vec() };
        self.conditions.0.push(Lift::Ask(peer, say));
        await_call(pid, libc::SYS_recvfrom)
    }

    /// By the freezer of version 2 of the cgroups, or of version 1 where the host has one. It is a cgroup further up that
    /// is frozen, as that of a container is.
    pub(crate) fn freeze(&mut self, worker: WorkerId, version: u8) -> Result<()> {
        let path = PathBuf::from(format!("leaky-frozen-{}/inner", std::process::id()));
        let is_it = |kind: &str| match version {
            1 => kind.starts_with("cgroup ") && kind.rsplit(',').any(|option| option == "freezer"),
            _ => kind.starts_with("cgroup2 "),
        };
        let root = places::mounts(is_it)?.into_iter().next();
        let root = root.with_context(|| format!("no freezer of version {version} is mounted"))?;
        let folder = self.put_below(worker, root, &path)?;
        let (switch, frozen, thawed, status, is_frozen) = match version {
            1 => ("freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"),
            _ => ("cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"),
        };
        let switch = folder.with_file_name(switch);
        let guard = self.start(Role::Bystander)?;
        let outer = folder.parent().context("a cgroup above")?.to_owned();
        let folders = vec![folder.clone(), outer];
        let request = Request::Guard { switch: switch.clone(), thawed: thawed.to_owned(), folders };
        self.order(guard, &request)?;
        std::fs::write(&switch, frozen).with_context(|| switch.display().to_string())?;
        self.conditions.0.push(Lift::Write(switch, thawed));
        until("the cgroup is frozen", || {
            Ok(std::fs::read_to_string(folder.join(status))?.lines().any(|line| line.trim() == is_frozen))
        })
    }

    /// Has a worker sleep in this call.
    pub(crate) fn put_to_sleep(&mut self, worker: WorkerId, call: Sleep) -> Result<()> {
        let pid = self.pid(worker)?;
        let reply = self.ask(worker, &Request::SleepIn { call })?;
        let number = match call {
            Sleep::Signal => Some(libc::SYS_rt_sigsuspend),
            Sleep::Child => Some(libc::SYS_wait4),
            // Its state is what matters.
            Sleep::Vfork => None,
            Sleep::Poll => Some(libc::SYS_ppoll),
            Sleep::Select => Some(libc::SYS_pselect6),
            Sleep::Epoll => Some(libc::SYS_epoll_pwait),
        };
        let lift = match (call, reply) {
            (Sleep::Signal, _) => Lift::Signal(pid, Signal::USR1),
            (Sleep::Child | Sleep::Vfork, Reply::Forked { pid: child }) => Lift::Signal(child, Signal::KILL),
            _ => Lift::Nothing,
        };
        self.conditions.0.push(lift);
        match number {
            Some(number) => await_call(pid, number),
            None => await_state_of(&process(pid), 'D'),
        }
    }

    /// Has a worker write to one socket, whose peer reads nothing, until the peer's window is closed. Returns how many bytes
    /// it has written.
    pub(crate) fn fill(&mut self, worker: WorkerId, on: Ends) -> Result<usize> {
        let Reply::Filled { bytes } = self.ask(worker, &Request::Fill { on })? else {
            bail!("a number of bytes was asked for");
        };
        let pid = self.pid(worker)?;
        until("the window is closed", || probes_for_room(pid, on))?;
        Ok(bytes)
    }

    /// Has a worker send on one socket what its peer has no room for; `reader` is told to read before anybody closes.
    pub(crate) fn block_in_send(&mut self, worker: WorkerId, on: Ends, reader: WorkerId) -> Result<()> {
        let pid = self.pid(worker)?;
        self.order(worker, &Request::BlockInSend { on })?;
        self.conditions.0.push(Lift::Ask(reader, Request::KeepReading));
        await_call(pid, libc::SYS_sendto)
    }
}

/// Whether a socket of a process's network namespace has data that the peer's window has no room for: its timer asks again and
/// again (4 in proc_pid_net(5), `get_tcp4_sock` of net/ipv4/tcp_ipv4.c).
fn probes_for_room(pid: i32, on: Ends) -> Result<bool> {
    let is_at = |field: &&str, port: u16| field.ends_with(&format!(":{port:04X}"));
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        for fields in text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            let [_, local, remote, _, _, timer, ..] = &fields[..] else { continue };
            if is_at(local, on.local.port()) && is_at(remote, on.remote.port()) {
                return Ok(timer.starts_with("04:"));
            }
        }
    }
    bail!("{on:?} is not there")
}

/// Waits until the main thread of a process sleeps in this call.
fn await_call(pid: i32, number: libc::c_long) -> Result<()> {
    let number = number.to_string();
    until(&format!("process {pid} sleeps in call {number}"), || {
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall"))?;
        Ok(call.split(' ').next() == Some(&number) && state_of(&process(pid))? == 'S')
    })
}

fn process(pid: i32) -> String {
    format!("/proc/{pid}")
}

/// Waits until a process or a thread is in this state.
fn await_state_of(folder: &str, state: char) -> Result<()> {
    until(&format!("{folder} is in state {state}"), || Ok(state_of(folder)? == state))
}

/// proc_pid_stat(5): the state follows the name, which may contain anything.
fn state_of(folder: &str) -> Result<char> {
    let stat = std::fs::read_to_string(Path::new(folder).join("stat"))?;
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.context("a process without a state")
}

fn until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !is_so()? {
        if Instant::now() > end {
            bail!("awaited that {what}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
