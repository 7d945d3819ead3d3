//! The calls in which a worker sleeps, or is held, and cannot answer: each can be ended from outside.
//!
//! The reply comes before the sleep. What wakes it: a request on the channel, SIGUSR1, or the end of the child.

use super::{Worker, handing};
use crate::message::{Reply, Sleep};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::AsRawFd as _;
use rustix::process::{Pid, WaitOptions};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::Duration;

/// The name of a child that does nothing and has no descriptor.
const IDLE_CHILD: &str = "leaky-idle";

impl Worker {
    /// Comes back when something has woken it.
    pub(super) fn sleep_in(&mut self, call: Sleep) -> Result<()> {
        match call {
            Sleep::Signal => self.sleep_until_signal(),
            Sleep::Child => self.sleep_until_child_ends(),
            Sleep::Vfork => self.sleep_in_vfork(),
            Sleep::Poll => self.sleep_in_poll(),
            Sleep::Select => self.sleep_in_select(),
            Sleep::Epoll => self.sleep_in_epoll(),
        }
    }

    fn sleep_until_signal(&mut self) -> Result<()> {
        // SAFETY: signal sets are plain data; the handler does nothing.
        let (mut blocked, mut nothing) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let handler: unsafe extern "C" fn(i32) = woken;
        // SAFETY: all pointers are to live values. The signal comes in sigsuspend() or not at all.
        unsafe {
            libc::sigemptyset(&raw mut blocked);
            libc::sigemptyset(&raw mut nothing);
            libc::sigaddset(&raw mut blocked, libc::SIGUSR1);
            libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const blocked, ptr::null_mut());
        }
        self.channel.send(&Reply::Done)?;
        // SAFETY: a pointer to a live value.
        unsafe { libc::sigsuspend(&raw const nothing) };
        Ok(())
    }

    fn sleep_until_child_ends(&mut self) -> Result<()> {
        let Some(child) = handing::fork()? else { self.become_idle() };
        // SAFETY: no pointers.
        unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
        Ok(())
    }

    /// The child has a copy of our memory, unlike one of vfork(); we wait for its end all the same.
    fn sleep_in_vfork(&mut self) -> Result<()> {
        let flags = libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: without CLONE_VM and with one thread this is a fork.
        let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if child == 0 {
            self.become_idle()
        }
        ensure!(child > 0, "vfork: {}", std::io::Error::last_os_error());
        rustix::process::waitpid(Pid::from_raw(i32::try_from(child)?), WaitOptions::empty())?;
        Ok(())
    }

    /// The life of a child that only is there. It replies, because its parent may not be able to.
    fn become_idle(&mut self) -> ! {
        (self.listener, self.ring) = (None, None);
        self.sockets.clear();
        let _second_net = handing::die_with_parent().and_then(|()| handing::rename(IDLE_CHILD));
        let _stage_waits = self.channel.send(&Reply::Forked { pid: std::process::id().cast_signed() });
        // SAFETY: nothing that the parent has is used or dropped any more.
        unsafe {
            libc::close_range(3, libc::c_uint::MAX, 0);
            loop {
                libc::sleep(3600);
            }
        }
    }

    fn sleep_in_poll(&mut self) -> Result<()> {
        let mut channel =
            libc::pollfd { fd: self.channel.stream().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        self.channel.send(&Reply::Done)?;
        // SAFETY: a pointer to one live value; no time limit and no signal mask.
        unsafe { libc::ppoll(&raw mut channel, 1, ptr::null(), ptr::null()) };
        Ok(())
    }

    fn sleep_in_select(&mut self) -> Result<()> {
        let channel = self.channel.stream().as_raw_fd();
        ensure!(channel < 1024, "select() is for small numbers");
        // SAFETY: a set is plain data, and the number fits into it.
        let mut set = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::FD_SET(channel, &raw mut set) };
        self.channel.send(&Reply::Done)?;
        let none = ptr::null_mut();
        // SAFETY: a pointer to a live set; no time limit and no signal mask.
        unsafe { libc::pselect(channel + 1, &raw mut set, none, none, ptr::null(), ptr::null()) };
        Ok(())
    }

    /// Each connection is an event of its own, and the handler of this one has not accepted.
    fn sleep_in_epoll(&mut self) -> Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let listener = self.listener.as_ref().context("no listener")?;
        epoll::add(&epoll, listener, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        let mut events = [std::mem::MaybeUninit::uninit(); 1];
        let (missed, _) = epoll::wait(&epoll, &mut events[..], None)?;
        ensure!(missed.len() == 1, "nobody has connected");
        epoll::add(&epoll, self.channel.stream(), EventData::new_u64(1), EventFlags::IN)?;
        self.channel.send(&Reply::Done)?;
        epoll::wait(&epoll, &mut events[..], None)?;
        Ok(())
    }
}

/// Threads that sleep until the process ends, each in its own way.
pub(super) fn start_sleepers() -> Result<Reply> {
    let (mute, silent) = UnixStream::pair()?;
    let spawn = |name: &str, sleep: fn(&UnixStream), about: UnixStream| {
        let (tell, hear) = std::sync::mpsc::channel();
        let run = move || {
            let _worker_waits = tell.send(());
            loop {
                sleep(&about);
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        hear.recv().context("a thread has died")
    };
    for _ in 0..3 {
        spawn("leaky-parked", |_| std::thread::park(), silent.try_clone()?)?;
    }
    spawn("leaky-timer", |_| std::thread::sleep(Duration::from_hours(1)), silent.try_clone()?)?;
    let read = |from: &UnixStream| {
        let _nothing_comes = rustix::io::read(from, &mut [0_u8]);
    };
    spawn("leaky-reader", read, silent)?;
    std::mem::forget(mute);
    Ok(Reply::Threads { count: std::fs::read_dir("/proc/self/task")?.count() })
}

/// A thread that waits for a child of its own as the caller of vfork() does. Nobody wakes it.
pub(super) fn vfork_in_thread() -> Result<Reply> {
    let (tell, hear) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("leaky-vforker".to_owned()).spawn(move || {
        let _worker_waits = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
        // SAFETY: without CLONE_VM this is a fork; the child makes system calls alone, and dies with this thread.
        unsafe {
            let child = libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0);
            if child == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::close_range(3, libc::c_uint::MAX, 0);
                loop {
                    libc::sleep(3600);
                }
            }
        }
    })?;
    Ok(Reply::Working { thread: hear.recv().context("the thread has died")? })
}

/// What the signal does that wakes a sleeper.
unsafe extern "C" fn woken(_signal: i32) {}

/// Attaches as a debugger does, which stops the process, or as a tracer of system calls that lets it run.
pub(super) fn trace(pid: i32, stops: bool) -> Result<()> {
    if !stops {
        return ptrace(libc::PTRACE_SEIZE, pid);
    }
    ptrace(libc::PTRACE_ATTACH, pid)?;
    // SAFETY: no pointers.
    let stopped = unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) };
    ensure!(stopped == pid, "process {pid} does not stop: {}", std::io::Error::last_os_error());
    Ok(())
}

pub(super) fn untrace(pid: i32) -> Result<()> {
    ptrace(libc::PTRACE_DETACH, pid)
}

fn ptrace(request: libc::c_uint, pid: i32) -> Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: neither request reads or writes memory.
    let answer = unsafe { libc::ptrace(request, pid, none, none) };
    if answer != 0 {
        bail!("cannot trace process {pid}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

pub(super) fn reap(child: i32) -> Result<()> {
    rustix::process::waitpid(Pid::from_raw(child), WaitOptions::empty())?;
    Ok(())
}
