//! Threads that never sleep: event loops that the end of file wakes again and again, and honest work.
//!
//! The main thread looks for requests in between, seldom enough not to change what it is busy with.

use super::Worker;
use crate::channel::Channel;
use crate::message::{Reply, Work};
use anyhow::{Context as _, Result};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The name of a thread that is busy beside the main thread.
const BUSY_THREAD: &str = "leaky-busy";

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

pub(super) struct Busy {
    work: Work,
    sockets: Vec<RawFd>,
    epoll: OwnedFd,
    pipe: std::io::PipeReader,
    zeroes: std::fs::File,
}

impl Worker {
    /// The reply names the thread that is busy from now on.
    pub(super) fn begin_work(&mut self, work: Work, in_thread: bool, nice: i32) -> Result<Reply> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // There is nothing in it but its end.
        let (pipe, _) = std::io::pipe()?;
        if work == Work::PollPipe {
            epoll::add(&epoll, &pipe, EventData::new_u64(0), EventFlags::IN)?;
        } else {
            let once = if work == Work::ReadEofSlowly { EventFlags::ET } else { EventFlags::empty() };
            for socket in &self.sockets {
                epoll::add(&epoll, socket, EventData::new_u64(0), EventFlags::IN | once)?;
            }
        }
        let sockets = self.sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let zeroes = std::fs::File::open("/dev/zero")?;
        let busy = Busy { work, sockets, epoll, pipe, zeroes };
        if !in_thread {
            be_nice(nice);
            self.busy = Some(busy);
            return Ok(Reply::Working { thread: rustix::thread::gettid().as_raw_nonzero().get() });
        }
        let (tell, hear) = std::sync::mpsc::channel();
        std::thread::Builder::new().name(BUSY_THREAD.to_owned()).spawn(move || {
            be_nice(nice);
            let _worker_waits = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
            // Ends with the process.
            while busy.work_a_while().is_ok() {}
        })?;
        Ok(Reply::Working { thread: hear.recv().context("the thread has died")? })
    }
}

impl Busy {
    /// Works until a request comes.
    pub(super) fn until_asked(&self, channel: &Channel) -> Result<()> {
        loop {
            self.work_a_while()?;
            let mut waiting = [PollFd::new(channel.stream(), PollFlags::IN)];
            if rustix::event::poll(&mut waiting, Some(&NOW))? > 0 {
                return Ok(());
            }
        }
    }

    /// For some ten milliseconds.
    fn work_a_while(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_millis(10);
        while Instant::now() < until {
            for _ in 0..200 {
                self.work()?;
            }
        }
        Ok(())
    }

    fn read(&self) {
        for &socket in &self.sockets {
            let mut byte = [0_u8];
            // SAFETY: a pointer to a byte that may be written; a number that is closed is refused.
            unsafe { libc::recv(socket, byte.as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) };
        }
    }

    fn work(&self) -> Result<()> {
        match self.work {
            Work::PollEof | Work::PollPipe => {
                let mut event = libc::epoll_event { events: 0, u64: 0 };
                // SAFETY: there is room for one event; the descriptor lives as long as `self`.
                unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &raw mut event, 1, -1) };
            }
            Work::PollPipeAlone => {
                let mut waiting = [PollFd::new(&self.pipe, PollFlags::IN)];
                rustix::event::poll(&mut waiting, None)?;
            }
            Work::ReadEof => self.read(),
            Work::ReadEofSlowly => {
                self.read();
                compute(4_000);
            }
            Work::Compute => compute(1_000),
            Work::ComputeInKernel => {
                let mut buffer = [0_u8; 16_384];
                for _ in 0..20 {
                    rustix::io::read(&self.zeroes, &mut buffer)?;
                }
                black_box(&buffer);
            }
        }
        Ok(())
    }
}

/// Some nanoseconds a round.
fn compute(rounds: u64) {
    let sum = (0..rounds).fold(0, |sum, number| black_box(sum ^ (number * number)));
    black_box(sum);
}

/// Of this thread alone.
fn be_nice(nice: i32) {
    // SAFETY: plain numbers; 0 is the calling thread.
    let _only_slower = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}
