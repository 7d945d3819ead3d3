//! The names of the cases, what can be set about them, and what most of them have in common.
//!
//! How a case comes about is in the file of its group; nothing here starts a process by itself.

mod handed;
mod held;
mod over;
mod placed;
mod stacks;
mod unaccepted;

use crate::message::{AcceptBy, Reply, Request};
use crate::stage::{Role, Stage, WorkerId};
use crate::truth::{Opened, Truth};
use crate::worker::Equipment;
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    AcceptedKept,
    EofUnread,
    DataUnread,
    HalfOpen,
    HalfClosedAwaited,
    KeptAlive,
    ResetKept,
    DestroyedKept,
    ShutDownBothKept,
    NeverConnected,
    AcceptedByThread,
    ConnectKept,
    ListenerClosed,
    MainThreadEnded,
    OpenerDeepStack,
    OpenerJitted,
    OpenerContained,
    OpenerFrameless,
    OpenerProgramDeleted,
    OpenerLibraryDeleted,
    OpenerTrap,
    ClosedInTime,
    DupOriginalClosed,
    ForkChildHolds,
    ForkBothHold,
    ExecInherited,
    ScmRightsSenderClosed,
    ScmRightsInFlight,
    IoUringFixed,
    IoUringRequest,
    ClosedInCall,
    NeverAccepted,
    NeverAcceptedReuseport,
    NeverAcceptedPrefork,
    OpenerExited,
    OpenerDied,
    ExecRenamed,
    PidReused,
    OtherNetns,
    OtherPidns,
    Cgroup,
    Mptcp,
    MptcpFallback,
    Many,
}

pub(crate) fn build(stage: &mut Stage) -> Result<Vec<Truth>> {
    match stage.case {
        Case::AcceptedKept => held::accepted_kept(stage),
        Case::EofUnread => held::eof_unread(stage),
        Case::DataUnread => held::data_unread(stage),
        Case::HalfOpen => held::half_open(stage),
        Case::HalfClosedAwaited => held::half_closed_awaited(stage),
        Case::KeptAlive => held::kept_alive(stage),
        Case::ResetKept => over::reset_kept(stage),
        Case::DestroyedKept => over::destroyed_kept(stage),
        Case::ShutDownBothKept => over::shut_down_both_kept(stage),
        Case::NeverConnected => over::never_connected(stage),
        Case::AcceptedByThread => held::accepted_by_thread(stage),
        Case::ConnectKept => held::connect_kept(stage),
        Case::ListenerClosed => held::listener_closed(stage),
        Case::MainThreadEnded => held::main_thread_ended(stage),
        Case::OpenerDeepStack => stacks::opener_deep_stack(stage),
        Case::OpenerJitted => stacks::opener_jitted(stage),
        Case::OpenerContained => stacks::opener_contained(stage),
        Case::OpenerFrameless => stacks::opener_frameless(stage),
        Case::OpenerProgramDeleted => stacks::opener_program_deleted(stage),
        Case::OpenerLibraryDeleted => stacks::opener_library_deleted(stage),
        Case::OpenerTrap => stacks::opener_trap(stage),
        Case::ClosedInTime => held::closed_in_time(stage),
        Case::DupOriginalClosed => handed::dup_original_closed(stage),
        Case::ForkChildHolds => handed::fork_child_holds(stage),
        Case::ForkBothHold => handed::fork_both_hold(stage),
        Case::ExecInherited => handed::exec_inherited(stage),
        Case::ScmRightsSenderClosed => handed::scm_rights_sender_closed(stage),
        Case::ScmRightsInFlight => handed::scm_rights_in_flight(stage),
        Case::IoUringFixed => handed::io_uring_fixed(stage),
        Case::IoUringRequest => handed::io_uring_request(stage),
        Case::ClosedInCall => handed::closed_in_call(stage),
        Case::NeverAccepted => unaccepted::never_accepted(stage),
        Case::NeverAcceptedReuseport => unaccepted::never_accepted_reuseport(stage),
        Case::NeverAcceptedPrefork => unaccepted::never_accepted_prefork(stage),
        Case::OpenerExited => handed::opener_exited(stage),
        Case::OpenerDied => handed::opener_died(stage),
        Case::ExecRenamed => handed::exec_renamed(stage),
        Case::PidReused => handed::pid_reused(stage),
        Case::OtherNetns => placed::other_netns(stage),
        Case::OtherPidns => placed::other_pidns(stage),
        Case::Cgroup => placed::cgroup(stage),
        Case::Mptcp => placed::mptcp(stage),
        Case::MptcpFallback => placed::mptcp_fallback(stage),
        Case::Many => placed::many(stage),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    #[value(name = "4")]
    V4,
    #[value(name = "6")]
    V6,
    /// IPv4 on an IPv6 socket of the leaking side.
    Mapped,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Setting {
    /// Address family of the leaking side
    #[arg(long, value_enum, default_value = "4")]
    pub family: Family,
    /// Sockets to leak, in all
    #[arg(long, default_value_t = 1)]
    pub count: usize,
    /// Processes that share them (many)
    #[arg(long, default_value_t = 10)]
    pub processes: usize,
    /// Descriptors that are no sockets, for each holder (many)
    #[arg(long, default_value_t = 0)]
    pub ballast: usize,
    /// Where the holder is put, relative to the cgroup root (cgroup)
    #[arg(long, default_value = "system.slice/leaky-test.service")]
    pub cgroup: PathBuf,
}

impl Family {
    /// Where the leaking side listens.
    fn own_address(self) -> SocketAddr {
        let address = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            // A dual-stack listener is what makes v4-mapped sockets in real life.
            Self::Mapped => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(address, 0)
    }

    /// Where the peer listens, which never knows of mapping.
    fn peer_address(self) -> SocketAddr {
        match self {
            Self::V4 | Self::Mapped => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Self::V6 => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        }
    }

    /// How the leaking side writes the address of a peer.
    fn dialled(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::Mapped, IpAddr::V4(v4)) => {
                SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port())
            }
            _ => address,
        }
    }
}

/// A holder with sockets, and the peer of all of them.
struct Pair {
    holder: WorkerId,
    peer: WorkerId,
    opened: Vec<Opened>,
}

/// What differs between the holders of the cases.
struct Accepting {
    by: AcceptBy,
    heirs: usize,
    equipment: Equipment,
    mptcp: bool,
}

impl Default for Accepting {
    fn default() -> Self {
        Self { by: AcceptBy::MainThread, heirs: 0, equipment: Equipment::default(), mptcp: false }
    }
}

/// A fresh holder accepts `--count` connections of a fresh peer.
fn accepted(stage: &mut Stage, accepting: Accepting) -> Result<Pair> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start_with(Role::Holder, accepting.heirs, accepting.equipment)?;
    let opened = accept(stage, holder, peer, accepting.by, accepting.mptcp)?;
    Ok(Pair { holder, peer, opened })
}

/// The holder accepts `--count` connections of the peer.
fn accept(
    stage: &mut Stage,
    holder: WorkerId,
    peer: WorkerId,
    by: AcceptBy,
    mptcp: bool,
) -> Result<Vec<Opened>> {
    let (count, address) = (stage.setting.count, stage.setting.family.own_address());
    let address = listen(stage, holder, &Request::Listen { address, share_port: false, mptcp })?;
    stage.tell(holder, &Request::Accept { count, by })?;
    stage.ask(peer, &Request::Connect { address, count, mptcp })?;
    stage.hear_opened(holder, peer, "accept")
}

/// The address to connect to.
fn listen(stage: &mut Stage, worker: WorkerId, request: &Request) -> Result<SocketAddr> {
    match stage.ask(worker, request)? {
        Reply::Listening { address } => Ok(address),
        other => bail!("{request:?} was answered by {other:?}"),
    }
}
