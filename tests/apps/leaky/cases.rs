//! The names of the cases, and what most of them have in common.
//!
//! How a case comes about is in the file of its group; nothing here starts a process by itself.

mod busy;
mod generations;
mod goodbyes;
mod handed;
mod held;
mod over;
mod placed;
mod queues;
mod relays;
mod setting;
mod stacks;
mod stopped;
mod unaccepted;
mod waiting;
mod writing;

pub(crate) use setting::Setting;

use crate::message::{AcceptBy, Reply, Request};
use crate::stage::{Role, Stage, WorkerId};
use crate::truth::{Opened, Truth};
use crate::worker::{Equipment, HERE, THERE};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::net::SocketAddr;

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
    EofUnreadListenerClosed,
    MainThreadEnded,
    OpenerDeepStack,
    OpenerJitted,
    OpenerContained,
    OpenerFrameless,
    OpenerProgramDeleted,
    OpenerLibraryDeleted,
    OpenerTrap,
    OpenerAfterBurst,
    ClosedInTime,
    DupOriginalClosed,
    ForkChildHolds,
    ForkBothHold,
    ExecInherited,
    ScmRightsSenderClosed,
    ScmRightsInFlight,
    IoUringFixed,
    IoUringRequest,
    MappedOnly,
    ClosedInCall,
    NeverAccepted,
    NeverAcceptedReuseport,
    NeverAcceptedPrefork,
    NeverAcceptedWildcard,
    ListenerInFlight,
    ListenerInRing,
    OpenerExited,
    OpenerDied,
    ExecRenamed,
    PidReused,
    OtherNetns,
    OtherPidns,
    Cgroup,
    Mptcp,
    MptcpFallback,
    LastWords,
    LastWordsKnown,
    AnswersUnread,
    LateAnswerUnread,
    SendsToNobody,
    AnswersNobody,
    HalfOpenElsewhere,
    BehindBlockedWrite,
    BehindBlockedRead,
    ReadsSinceTheEnd,
    AnswersAroundAWait,
    BlockedInWrite,
    FullButNotBlocked,
    RelayWaits,
    RelayWaitsForClients,
    RelayWaitsElsewhere,
    RelayFarHostGone,
    RelayLegFull,
    LeaksBesideLingering,
    LeaksBesideHalfClosedRequests,
    HolderStopped,
    HolderFrozen,
    HolderTraced,
    HolderWatched,
    HolderUninterruptible,
    ThreadUninterruptible,
    HolderSleeping,
    SpinsOnEof,
    SpinsReadingEof,
    SpinsReadingSlowly,
    SpinsInThread,
    Computes,
    ComputesInKernel,
    SpinsOnPipe,
    SpinsOnPolledPipe,
    AcceptQueueFull,
    NoDescriptorsLeft,
    LeaksAllDescriptors,
    NobodyAccepts,
    EventMissed,
    AcceptorStuck,
    OldGeneration,
    OldGenerationInherited,
    OldGenerationHandedOn,
    OldGenerationUpgraded,
    OtherProgramListens,
    PerConnectionChild,
    IdleInPool,
    PoolOfServer,
    Many,
}

#[expect(clippy::too_many_lines, reason = "it is a table, a line a case")]
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
        Case::EofUnreadListenerClosed => held::eof_unread_listener_closed(stage),
        Case::MainThreadEnded => held::main_thread_ended(stage),
        Case::OpenerDeepStack => stacks::opener_deep_stack(stage),
        Case::OpenerJitted => stacks::opener_jitted(stage),
        Case::OpenerContained => stacks::opener_contained(stage),
        Case::OpenerFrameless => stacks::opener_frameless(stage),
        Case::OpenerProgramDeleted => stacks::opener_program_deleted(stage),
        Case::OpenerLibraryDeleted => stacks::opener_library_deleted(stage),
        Case::OpenerTrap => stacks::opener_trap(stage),
        Case::OpenerAfterBurst => stacks::opener_after_burst(stage),
        Case::ClosedInTime => held::closed_in_time(stage),
        Case::DupOriginalClosed => handed::dup_original_closed(stage),
        Case::ForkChildHolds => handed::fork_child_holds(stage),
        Case::ForkBothHold => handed::fork_both_hold(stage),
        Case::ExecInherited => handed::exec_inherited(stage),
        Case::ScmRightsSenderClosed => handed::scm_rights_sender_closed(stage),
        Case::ScmRightsInFlight => handed::scm_rights_in_flight(stage),
        Case::IoUringFixed => handed::io_uring_fixed(stage),
        Case::IoUringRequest => handed::io_uring_request(stage),
        Case::MappedOnly => handed::mapped_only(stage),
        Case::ClosedInCall => handed::closed_in_call(stage),
        Case::NeverAccepted => unaccepted::never_accepted(stage),
        Case::NeverAcceptedReuseport => unaccepted::never_accepted_reuseport(stage),
        Case::NeverAcceptedPrefork => unaccepted::never_accepted_prefork(stage),
        Case::NeverAcceptedWildcard => unaccepted::never_accepted_wildcard(stage),
        Case::ListenerInFlight => unaccepted::listener_in_flight(stage),
        Case::ListenerInRing => unaccepted::listener_in_ring(stage),
        Case::OpenerExited => handed::opener_exited(stage),
        Case::OpenerDied => handed::opener_died(stage),
        Case::ExecRenamed => handed::exec_renamed(stage),
        Case::PidReused => handed::pid_reused(stage),
        Case::OtherNetns => placed::other_netns(stage),
        Case::OtherPidns => placed::other_pidns(stage),
        Case::Cgroup => placed::cgroup(stage),
        Case::Mptcp => placed::mptcp(stage),
        Case::MptcpFallback => placed::mptcp_fallback(stage),
        Case::LastWords => goodbyes::last_words(stage),
        Case::LastWordsKnown => goodbyes::last_words_known(stage),
        Case::AnswersUnread => goodbyes::answers_unread(stage),
        Case::LateAnswerUnread => goodbyes::late_answer_unread(stage),
        Case::SendsToNobody => writing::sends_to_nobody(stage),
        Case::AnswersNobody => writing::answers_nobody(stage),
        Case::HalfOpenElsewhere => writing::half_open_elsewhere(stage),
        Case::BehindBlockedWrite => writing::behind_blocked_write(stage),
        Case::BehindBlockedRead => waiting::behind_blocked_read(stage),
        Case::ReadsSinceTheEnd => waiting::reads_since_the_end(stage),
        Case::AnswersAroundAWait => waiting::answers_around_a_wait(stage),
        Case::BlockedInWrite => writing::blocked_in_write(stage),
        Case::FullButNotBlocked => writing::full_but_not_blocked(stage),
        Case::RelayWaits => relays::relay_waits(stage),
        Case::RelayWaitsForClients => relays::relay_waits_for_clients(stage),
        Case::RelayWaitsElsewhere => relays::relay_waits_elsewhere(stage),
        Case::RelayFarHostGone => relays::relay_far_host_gone(stage),
        Case::RelayLegFull => relays::relay_leg_full(stage),
        Case::LeaksBesideLingering => relays::leaks_beside_lingering(stage),
        Case::LeaksBesideHalfClosedRequests => relays::leaks_beside_half_closed_requests(stage),
        Case::HolderStopped => stopped::holder_stopped(stage),
        Case::HolderFrozen => stopped::holder_frozen(stage),
        Case::HolderTraced => stopped::holder_traced(stage),
        Case::HolderWatched => stopped::holder_watched(stage),
        Case::HolderUninterruptible => stopped::holder_uninterruptible(stage),
        Case::ThreadUninterruptible => stopped::thread_uninterruptible(stage),
        Case::HolderSleeping => stopped::holder_sleeping(stage),
        Case::SpinsOnEof => busy::spins_on_eof(stage),
        Case::SpinsReadingEof => busy::spins_reading_eof(stage),
        Case::SpinsReadingSlowly => busy::spins_reading_slowly(stage),
        Case::SpinsInThread => busy::spins_in_thread(stage),
        Case::Computes => busy::computes(stage),
        Case::ComputesInKernel => busy::computes_in_kernel(stage),
        Case::SpinsOnPipe => busy::spins_on_pipe(stage),
        Case::SpinsOnPolledPipe => busy::spins_on_polled_pipe(stage),
        Case::AcceptQueueFull => queues::accept_queue_full(stage),
        Case::NoDescriptorsLeft => queues::no_descriptors_left(stage),
        Case::LeaksAllDescriptors => queues::leaks_all_descriptors(stage),
        Case::NobodyAccepts => queues::nobody_accepts(stage),
        Case::EventMissed => queues::event_missed(stage),
        Case::AcceptorStuck => queues::acceptor_stuck(stage),
        Case::OldGeneration => generations::old_generation(stage),
        Case::OldGenerationInherited => generations::old_generation_inherited(stage),
        Case::OldGenerationHandedOn => generations::old_generation_handed_on(stage),
        Case::OldGenerationUpgraded => generations::old_generation_upgraded(stage),
        Case::OtherProgramListens => generations::other_program_listens(stage),
        Case::PerConnectionChild => generations::per_connection_child(stage),
        Case::IdleInPool => generations::idle_in_pool(stage),
        Case::PoolOfServer => generations::pool_of_server(stage),
        Case::Many => placed::many(stage),
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

/// The holder listens where its family is at home. Returns the address to connect to.
fn listen_somewhere(stage: &mut Stage, holder: WorkerId) -> Result<SocketAddr> {
    let address = stage.setting.family.own_address();
    listen(stage, holder, &Request::Listen { address, share_port: false, mptcp: false })
}

/// The same for peers on a host elsewhere.
fn listen_elsewhere(stage: &mut Stage, holder: WorkerId) -> Result<SocketAddr> {
    let request = Request::Listen { address: (HERE, 0).into(), share_port: false, mptcp: false };
    Ok((THERE, listen(stage, holder, &request)?.port()).into())
}

/// The holder, which listens already, accepts so many connections of a peer.
fn dialled(
    stage: &mut Stage,
    holder: WorkerId,
    peer: WorkerId,
    address: SocketAddr,
    count: usize,
) -> Result<Vec<Opened>> {
    stage.tell(holder, &Request::Accept { count, by: AcceptBy::MainThread })?;
    stage.ask(peer, &Request::Connect { address, count, mptcp: false })?;
    stage.hear_opened(holder, peer, "accept")
}

/// The holder listens at an address of its own, and accepts so many connections of a peer.
fn accept_some(stage: &mut Stage, holder: WorkerId, peer: WorkerId, count: usize) -> Result<Vec<Opened>> {
    let address = listen_somewhere(stage, holder)?;
    dialled(stage, holder, peer, address, count)
}

/// The holder connects to a peer.
fn connect_some(stage: &mut Stage, holder: WorkerId, peer: WorkerId, count: usize) -> Result<Vec<Opened>> {
    connect(stage, holder, peer, count, false)
}

fn connect(
    stage: &mut Stage,
    holder: WorkerId,
    peer: WorkerId,
    count: usize,
    mptcp: bool,
) -> Result<Vec<Opened>> {
    let family = stage.setting.family;
    let request = Request::Listen { address: family.peer_address(), share_port: false, mptcp: false };
    let address = family.dialled(listen(stage, peer, &request)?);
    dialled_by(stage, holder, peer, &Request::Connect { address, count, mptcp })
}

/// The holder connects to a peer, which listens already.
fn dialled_by(stage: &mut Stage, holder: WorkerId, peer: WorkerId, request: &Request) -> Result<Vec<Opened>> {
    let &Request::Connect { count, .. } = request else { bail!("{request:?} connects nobody") };
    stage.tell(peer, &Request::Accept { count, by: AcceptBy::MainThread })?;
    stage.tell(holder, request)?;
    let opened = stage.hear_opened(holder, peer, "connect")?;
    stage.hear(peer)?;
    Ok(opened)
}

/// A fresh holder connects to a fresh peer.
fn connected(stage: &mut Stage, count: usize, mptcp: bool) -> Result<Pair> {
    let peer = stage.start(Role::Peer)?;
    let holder = stage.start(Role::Holder)?;
    let opened = connect(stage, holder, peer, count, mptcp)?;
    Ok(Pair { holder, peer, opened })
}

/// The address to connect to.
fn listen(stage: &mut Stage, worker: WorkerId, request: &Request) -> Result<SocketAddr> {
    match stage.ask(worker, request)? {
        Reply::Listening { address } => Ok(address),
        other => bail!("{request:?} was answered by {other:?}"),
    }
}
