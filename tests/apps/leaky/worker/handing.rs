//! How a descriptor gets to where nobody expects it: dup, fork, exec, SCM_RIGHTS, io_uring, a mapping.
//!
//! Nothing here touches the connection itself.

use super::{Equipment, HOLD, Worker};
use crate::channel::Channel;
use crate::message::Reply;
use crate::socket::LIMIT;
use anyhow::{Context as _, Error, Result, bail, ensure};
use rustix::cmsg_space;
use rustix::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use rustix::io::FdFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::Signal;
use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What does not fit any more.
static MORE: [u8; 1 << 20] = [b'm'; 1 << 20];

/// Sends until nothing more fits. Returns how many bytes that were.
pub(super) fn fill(socket: &OwnedFd) -> Result<usize> {
    let end = Instant::now() + LIMIT;
    let mut bytes = 0;
    loop {
        ensure!(Instant::now() < end, "the peer takes everything");
        match rustix::net::send(socket, &MORE, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(length) => bytes += length,
            Err(rustix::io::Errno::AGAIN) => return Ok(bytes),
            Err(errno) => return Err(errno).context("cannot fill the socket"),
        }
    }
}

/// Waits until the peer has made room.
pub(super) fn send_more(socket: &OwnedFd) -> Result<()> {
    rustix::net::send(socket, &MORE, SendFlags::NOSIGNAL).map(drop).context("cannot send")
}

/// Bytes of a mapping.
const MAPPED: usize = 64 * 1024;

impl Worker {
    pub(super) fn duplicate(&mut self) -> Result<()> {
        let copies = self.sockets.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>()?;
        self.sockets = copies;
        Ok(())
    }

    /// In the child there is no answer to give: it waits for requests of its own.
    pub(super) fn fork(&mut self, outlives_parent: bool) -> Result<Option<Reply>> {
        let channel = self.equipment.spares.pop_front().context("no spare channel for a child")?;
        if let Some(pid) = fork()? {
            return Ok(Some(Reply::Forked { pid }));
        }
        self.channel = Channel::new(channel);
        rename("leaky-heir")?;
        if !outlives_parent {
            die_with_parent()?;
        }
        Ok(None)
    }

    /// Comes back only with an error.
    pub(super) fn exec(&self, program: &Path, listener: bool) -> Error {
        let numbers = || -> Result<[String; 3]> {
            let mut list = Vec::new();
            for socket in &self.sockets {
                rustix::io::fcntl_setfd(socket, FdFlags::empty())?;
                list.push(socket.as_raw_fd().to_string());
            }
            let channel = self.channel.stream();
            rustix::io::fcntl_setfd(channel, FdFlags::empty())?;
            let listener = self.listener.as_ref().filter(|_| listener);
            if let Some(listener) = listener {
                rustix::io::fcntl_setfd(listener, FdFlags::empty())?;
            }
            let listener = listener.map(|one| one.as_raw_fd().to_string()).unwrap_or_default();
            Ok([channel.as_raw_fd().to_string(), list.join(","), listener])
        };
        match numbers() {
            Ok(numbers) => {
                let error = std::process::Command::new(program).arg(HOLD).args(numbers).exec();
                Error::new(error).context(format!("cannot execute {}", program.display()))
            }
            Err(error) => error,
        }
    }

    pub(super) fn map_sockets(&mut self) -> Result<()> {
        for socket in self.sockets.drain(..) {
            // SAFETY: a new mapping, which nobody reads.
            let mapped =
                unsafe { mmap(ptr::null_mut(), MAPPED, ProtFlags::READ, MapFlags::SHARED, &socket, 0) };
            self.mapped.push(mapped.context("this kernel maps no TCP sockets, so the case cannot be built")?);
        }
        Ok(())
    }

    pub(super) fn unmap_sockets(&mut self) -> Result<()> {
        for mapped in self.mapped.drain(..) {
            // SAFETY: it was mapped with this length, and nobody reads it.
            unsafe { munmap(mapped, MAPPED) }?;
        }
        Ok(())
    }

    pub(super) fn register_in_ring(&mut self) -> Result<()> {
        let ring = io_uring::IoUring::new(8).context(
            "this host refuses io_uring (see /proc/sys/kernel/io_uring_disabled), so the case cannot be built",
        )?;
        let handed = self.take_all()?;
        let numbers: Vec<_> = handed.iter().map(AsRawFd::as_raw_fd).collect();
        ring.submitter().register_files(&numbers).context("io_uring refuses to register files")?;
        self.ring = Some(ring);
        Ok(())
    }

    /// All sockets or, where there are none, the listener.
    fn take_all(&mut self) -> Result<Vec<OwnedFd>> {
        let mut all: Vec<OwnedFd> = self.sockets.drain(..).collect();
        if all.is_empty() {
            let listener = self.listener.take().context("neither sockets nor a listener")?;
            all.push(Arc::into_inner(listener).context("a thread has the listener, too")?);
        }
        Ok(all)
    }

    pub(super) fn send_in_ring(&mut self) -> Result<()> {
        let mut ring =
            io_uring::IoUring::new(8).context("this host refuses io_uring, so the case cannot be built")?;
        let length = u32::try_from(MORE.len())?;
        for socket in &self.sockets {
            fill(socket)?;
            let fd = io_uring::types::Fd(socket.as_raw_fd());
            let request = io_uring::opcode::Send::new(fd, MORE.as_ptr(), length).build();
            // SAFETY: what is sent is there for as long as the process.
            unsafe { ring.submission().push(&request) }.context("the ring is full")?;
        }
        ring.submit().context("io_uring refuses the requests")?;
        let done = ring.completion().next();
        ensure!(done.is_none(), "io_uring is done with a request at once: {done:?}");
        self.ring = Some(ring);
        self.sockets.clear();
        Ok(())
    }

    pub(super) fn send_in_thread(&mut self) -> Result<()> {
        for socket in self.sockets.drain(..) {
            fill(&socket)?;
            let fd = socket.as_raw_fd();
            let (tell, hear) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let _nobody_else_asks = tell.send(rustix::thread::gettid().as_raw_nonzero());
                // SAFETY: the number is that of a socket until the call has begun.
                unsafe { libc::send(fd, MORE.as_ptr().cast(), MORE.len(), libc::MSG_NOSIGNAL) };
            });
            let thread = hear.recv().context("the thread has died")?;
            // The number of the call comes first, and the descriptor after it.
            let call = format!("{} {fd:#x} ", libc::SYS_sendto);
            let path = format!("/proc/self/task/{thread}/syscall");
            let end = Instant::now() + LIMIT;
            while !std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&call)) {
                ensure!(Instant::now() < end, "the thread does not wait in send()");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    pub(super) fn pass_on(&mut self) -> Result<()> {
        let handed = self.take_all()?;
        let passage = self.equipment.passage_out.as_ref().context("no passage out")?;
        for socket in handed {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let rights = [socket.as_fd()];
            ensure!(control.push(SendAncillaryMessage::ScmRights(&rights)), "no room for a descriptor");
            rustix::net::sendmsg(passage, &[IoSlice::new(b"s")], &mut control, SendFlags::NOSIGNAL)
                .context("cannot pass a descriptor on")?;
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, count: usize) -> Result<()> {
        let passage = self.equipment.passage_in.as_ref().context("no passage in")?;
        for _ in 0..count {
            self.sockets.push(take_one(passage)?);
        }
        Ok(())
    }
}

/// Takes one descriptor out of a passage.
pub(super) fn take_one(passage: &UnixStream) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(passage, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    received.context("a message without a descriptor")
}

/// `None` in the child.
pub(crate) fn fork() -> Result<Option<i32>> {
    // SAFETY: the stage and every worker that forks have one thread, so no lock can stay taken.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("cannot fork"),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Closes what fork copied from the stage: the channels of other workers, above all.
pub(super) fn keep_only(channel: &UnixStream, equipment: &Equipment) -> Result<()> {
    let kept: Vec<RawFd> = std::iter::once(channel)
        .chain(&equipment.spares)
        .chain(&equipment.passage_out)
        .chain(&equipment.passage_in)
        .map(AsRawFd::as_raw_fd)
        .chain(0..=2)
        .collect();
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|one| !kept.contains(one)) {
        // One of the numbers was that of the folder itself, which is closed by now: an error is fine.
        // SAFETY: their owners are the stage's values, which this process never touches or drops.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}

/// Executes `program` as a new process with this pid, which must be free (Linux 5.5, and root).
pub(crate) fn start_with_pid(pid: i32, program: &Path, channel: &UnixStream) -> Result<()> {
    let wanted = [pid];
    // SAFETY: clone_args is plain numbers, for which all zeroes is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = wanted.as_ptr() as u64;
    arguments.set_tid_size = wanted.len() as u64;
    // SAFETY: without CLONE_VM and with one thread this is a fork; the child only executes a program.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) } {
        -1 => Err(std::io::Error::last_os_error()).with_context(|| format!("cannot start a process {pid}")),
        0 => {
            let _second_net = die_with_parent();
            let error = match rustix::io::fcntl_setfd(channel, FdFlags::empty()) {
                Ok(()) => {
                    let number = channel.as_raw_fd().to_string();
                    std::process::Command::new(program).arg(HOLD).args([number.as_str(), "", ""]).exec()
                }
                Err(error) => error.into(),
            };
            let _nobody_listens = writeln!(std::io::stderr(), "{}: {error}", program.display());
            // SAFETY: _exit has no preconditions; nothing of the parent's copy may be dropped here.
            unsafe { libc::_exit(1) }
        }
        _ => Ok(()),
    }
}

pub(super) fn rename(name: &str) -> Result<()> {
    Ok(rustix::thread::set_name(&CString::new(name)?)?)
}

pub(super) fn die_with_parent() -> Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// An orphan goes to the nearest subreaper, which the stage is.
pub(super) fn await_parent(parent: i32) -> Result<()> {
    let until = Instant::now() + LIMIT;
    while rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        if Instant::now() > until {
            bail!("awaited for {LIMIT:?} that process {parent} becomes the parent");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    die_with_parent()
}
