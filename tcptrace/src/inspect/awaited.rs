//! Whom the threads of holders wait for: the connections behind the descriptors that they read from. Looks at single
//! descriptors, bounded, and reads nothing from them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{inspector::Inspector, lookups::Lookups, proc_fd};
use crate::{
    diagnosis::reasons::facts::Awaited,
    host::world::World,
    model::{
        activity::ActivityTimes,
        doing::{ProcessDoing, SleepingCall},
        endpoints::Endpoint,
        finding::Finding,
        pid::Pid,
        units::ms_in_ns,
    },
    netlink::{DiagSocket, SocketId},
    process::descriptor,
};

/// Descriptors that are looked at in one look, at some ten microseconds each; and those of one process.
const MOST_AWAITED: usize = 512;
const MOST_OF_ONE: usize = 64;

/// The connections that threads of each process wait for data of.
pub(super) fn find(
    inspector: &Inspector,
    findings: &[Finding],
    doing: &FxHashMap<Pid, ProcessDoing>,
) -> FxHashMap<Pid, Vec<Awaited>> {
    let mut found: FxHashMap<Pid, Vec<Awaited>> = FxHashMap::default();
    let mut lookups = Lookups::new(&inspector.dumper);
    let mut left = MOST_AWAITED;
    let owners = findings.iter().filter_map(|finding| Some((finding.socket.netns?, &finding.owners)));
    for (netns, owner) in owners.flat_map(|(netns, owners)| owners.iter().map(move |owner| (netns, owner))) {
        let pid = owner.process.pid;
        let Some(doing) = doing.get(&pid).filter(|_| !found.contains_key(&pid)) else { continue };
        let calls = doing.threads.iter().filter_map(|thread| thread.call.as_ref());
        let fds: FxHashSet<u32> = calls.filter_map(SleepingCall::awaited).collect();
        let fds = fds.into_iter().take(left.min(MOST_OF_ONE));
        let awaited: Vec<Awaited> = fds
            .inspect(|_| left -= 1)
            .filter_map(|fd| connection(inspector.dumper.world(), &mut lookups, netns, (pid, fd)))
            .collect();
        found.insert(pid, awaited);
    }
    found
}

/// The connection behind a descriptor, and since when it owes an answer; of one in another network namespace than the stuck
/// sockets that is not known.
fn connection(
    world: &World,
    lookups: &mut Lookups<'_>,
    netns: u32,
    (pid, fd): (Pid, u32),
) -> Option<Awaited> {
    proc_fd::socket_at(&world.proc, pid.visible()?, fd)?;
    let (cookie, local, remote) = descriptor::connection(pid, fd, &world.proc).ok()?;
    let (local, remote) = (Endpoint::from(local), Endpoint::from(remote));
    let asked_ns = world.clocks.monotonic_ns();
    let id = SocketId { cookie, local, remote, interface: 0 };
    let listed = lookups.socket(netns, &id).filter(is_unanswered);
    let since_ns = listed
        .and_then(|listed| listed.times)
        .map(|times| asked_ns.saturating_sub(ms_in_ns(times.last_data_sent_ms)));
    Some(Awaited { fd, remote, since_ns })
}

/// Whether this side spoke last: whoever has heard something since may have done anything in the meantime. A connection
/// that is as new as what was asked on it has heard nothing at all.
fn is_unanswered(listed: &DiagSocket) -> bool {
    let is_after = |times: ActivityTimes| times.last_data_sent_ms < times.last_data_recv_ms;
    let is_first = listed.sent_bytes.is_some_and(|bytes| bytes > 0) && listed.received_bytes == Some(0);
    is_first || listed.times.is_some_and(is_after)
}
