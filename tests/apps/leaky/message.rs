//! What the stage asks of its workers and what they answer, one JSON line each.
//!
//! Workers answer exactly once to every request, in order. There is no I/O here.

use crate::socket::State;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The two ends of a connection as one side sees them; IPv4-mapped addresses are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl Ends {
    /// The same connection as the other side sees it: both ends are at one address, or at two of which each side
    /// believes that the first is its own (`worker/wire.rs`).
    pub(crate) fn flipped(self) -> Self {
        let Self { mut local, mut remote } = self;
        local.set_port(self.remote.port());
        remote.set_port(self.local.port());
        Self { local, remote }
    }
}

/// One connected socket of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SocketFacts {
    pub fd: i32,
    pub cookie: u64,
    pub ends: Ends,
}

/// CLOCK_MONOTONIC in nanoseconds, read beside something that happened to one socket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub ends: Ends,
    pub at_ns: u64,
}

/// Which code calls accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AcceptBy {
    MainThread,
    NamedThread,
    DeepStack,
    /// Code that was made at run time, with the deep stack below it.
    Jitted,
    /// The deep stack, below code that has no frame pointers.
    Frameless,
    /// The library that was loaded.
    Library,
}

/// What a process does all the time, or one thread of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// An event loop that is woken by the end of file and does not read it.
    PollEof,
    /// Reads the end of file again and again.
    ReadEof,
    /// Likewise, and works in between. An event loop tells of what is new alone (edge-triggered), as Go's does.
    ReadEofSlowly,
    /// In its own code.
    Compute,
    /// In the kernel, with a file that has nothing to do with any socket.
    ComputeInKernel,
    /// An event loop that is woken by the end of a pipe, and knows nothing of the sockets.
    PollPipe,
    /// The same, with poll(2).
    PollPipeAlone,
}

/// The call in which a process sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sleep {
    /// Until a signal comes (SIGUSR1 ends it).
    Signal,
    /// Until a child ends.
    Child,
    /// Uninterruptible, until a child made by vfork() ends.
    Vfork,
    /// On its channel alone.
    Poll,
    /// The same.
    Select,
    /// On its channel and its listener, of which it has missed the event.
    Epoll,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Listen {
        address: SocketAddr,
        share_port: bool,
        mptcp: bool,
    },
    /// From now on, let only so many connections wait.
    LimitBacklog {
        to: i32,
    },
    Accept {
        count: usize,
        by: AcceptBy,
    },
    Connect {
        address: SocketAddr,
        count: usize,
        mptcp: bool,
    },
    /// Which sockets do you hold now?
    Describe,
    /// How many connections wait to be accepted?
    Backlog,
    /// Send this many bytes on every socket.
    Send {
        bytes: usize,
    },
    /// Send these bytes on one socket.
    Say {
        on: Ends,
        bytes: Vec<u8>,
    },
    /// Read exactly so many bytes from one socket.
    Hear {
        on: Ends,
        bytes: usize,
    },
    /// Read one socket until the end of file.
    HearEnd {
        on: Ends,
    },
    /// Send on one socket until no more fits, and tell how many bytes that were.
    Fill {
        on: Ends,
    },
    /// Read from one socket, after the reply.
    BlockInRead {
        on: Ends,
    },
    /// Send on one socket until no more fits, and go on sending, after the reply.
    BlockInSend {
        on: Ends,
    },
    /// Read every socket until the end of file.
    ReadToEnd,
    /// Wait until every socket is in this state, with a clock reading when it is.
    Await {
        state: State,
    },
    /// The same for one socket.
    AwaitOne {
        on: Ends,
        state: State,
    },
    /// As the peer: close every socket, with a clock reading before each.
    CloseEach,
    /// As the peer: close one socket, with a clock reading before.
    CloseOne {
        on: Ends,
    },
    /// End the sending half of one socket, with a clock reading before.
    ShutDownOne {
        on: Ends,
    },
    /// As the peer: end the sending half of every socket, with a clock reading before each.
    ShutDownEach,
    /// As the peer: reset every connection, with a clock reading before each.
    ResetEach,
    /// Have the kernel probe every second whether the peer of each socket is still there.
    KeepAlive,
    /// Disconnect every socket, and make more that have no connection.
    NeverConnect,
    /// Send something every 100 ms from now on.
    KeepSending,
    /// Read and throw away whatever comes from now on; close at the end of file.
    KeepReading,
    /// Copy from one socket of each pair to the other and back, and pass each end of file on.
    Relay {
        pairs: Vec<(Ends, Ends)>,
    },
    /// Be the wire to a host elsewhere.
    OpenWire,
    /// Let no packet through any more.
    CutWire,
    /// Do this all the time, in a thread of its own if asked for.
    Busy {
        with: Work,
        in_thread: bool,
        nice: i32,
    },
    /// Sleep in this call, after the reply.
    SleepIn {
        call: Sleep,
    },
    /// Start threads that sleep in different calls.
    StartSleepers,
    /// Have a thread sleep uninterruptibly, as [`Sleep::Vfork`] does.
    VforkInThread,
    /// Trace a process as a debugger does, and stop it, or let it run until `Untrace`.
    Trace {
        pid: i32,
        stops: bool,
    },
    Untrace {
        pid: i32,
    },
    /// Hold `count` more descriptors that are no sockets.
    Ballast {
        count: usize,
    },
    /// Use up all descriptors, until accept() finds none.
    UseUpDescriptors {
        limit: u64,
    },
    /// End the main thread; another goes on.
    EndMainThread,
    /// Duplicate every socket and close the original.
    Duplicate,
    /// Fork; the child talks on the next spare channel.
    Fork {
        outlives_parent: bool,
    },
    /// Wait until this child has ended.
    Reap {
        child: i32,
    },
    /// Wait until `parent` has become your parent, and die with it from now on.
    AwaitParent {
        parent: i32,
    },
    /// Replace yourself by this program, which keeps the sockets, and the listener if asked for.
    Exec {
        program: PathBuf,
        listener: bool,
    },
    /// When the stage is gone, write to the switch of these frozen cgroups, and remove them.
    Guard {
        switch: PathBuf,
        thawed: String,
        folders: Vec<PathBuf>,
    },
    /// Be called this from now on.
    Rename {
        name: String,
    },
    /// Live in a mount namespace of your own from now on, with an empty file system over this folder.
    MountOver {
        folder: PathBuf,
    },
    /// Copy the program that you run.
    CopyProgram {
        to: PathBuf,
    },
    LoadLibrary {
        path: PathBuf,
    },
    /// Map every socket as TCP_ZEROCOPY_RECEIVE wants it, and close the descriptors.
    MapSockets,
    /// Put every socket, or without any the listener, into an io_uring's file table and close the descriptors.
    RegisterInRing,
    /// Send on every socket until no more fits, and once more by an io_uring request; close the descriptors.
    SendInRing,
    /// Send on every socket until no more fits, and once more in a thread of its own; close the descriptors.
    SendInThread,
    /// Pass every socket, or without any the listener, into the outgoing passage and close the descriptors.
    PassOn,
    /// Take this many sockets from the incoming passage.
    Receive {
        count: usize,
    },
    /// Close the descriptors of the sockets.
    CloseSockets,
    CloseListener,
    /// Give up everything that keeps a socket alive, in the way a careful program would.
    Release,
    Exit,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Listening {
        address: SocketAddr,
    },
    /// `thread` is the thread that opened them when it is not the main one.
    Opened {
        sockets: Vec<SocketFacts>,
        thread: Option<i32>,
        comm: String,
    },
    Holding {
        sockets: Vec<SocketFacts>,
        listener: Option<i32>,
    },
    Waiting {
        count: u32,
    },
    Readings(Vec<Reading>),
    Forked {
        pid: i32,
    },
    Working {
        thread: i32,
    },
    Filled {
        bytes: usize,
    },
    /// How many threads there are.
    Threads {
        count: usize,
    },
    Failed(String),
}
