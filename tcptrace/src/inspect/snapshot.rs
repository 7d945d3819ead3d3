//! Every socket in some states at this instant, on the whole host. Decides which namespaces are worth
//! a dump, because each walks the tables of the whole host; the looking is the inspector's.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    age as since,
    descriptors::{Look, Wanted},
    dump::{Errand, Index, Place, Places, Scope},
    inspector::{Inspector, unlisted},
    tables::HolderSource,
};
use crate::model::finding::Finding;
use crate::{
    host::pool as parallel,
    model::{
        close_wait::Due,
        socket::SocketKey,
        state::{State, StateSet},
    },
    netlink::SocketId,
};

/// So many namespaces with sockets are dumped without asking whether it is worth it.
const FEW_NAMESPACES: usize = 8;

/// More sockets than this are not looked up one by one (some microseconds each).
const MOST_LOOKUPS: usize = 256;

/// What was found in one look at the whole host.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Each socket once, in no order.
    pub findings: Vec<Finding>,
    /// Network namespaces that the host has.
    pub namespaces: usize,
    /// Processes that were there.
    pub processes: usize,
    /// Processes and bind mounts whose namespace could not be read, for lack of rights.
    pub unreadable: usize,
    /// How descriptor tables were read.
    pub source: HolderSource,
}

impl Inspector {
    /// Looks at every socket in one of `states`.
    pub(crate) fn snapshot(&mut self, states: StateSet) -> Snapshot {
        self.people.begin_look();
        let Self { lister, people, tables, .. } = self;
        // Descriptors first, states afterwards, as in `inspect`.
        let (look, Places { places, processes, unreadable }) =
            parallel::both(|| tables.look(Wanted::States(states)), || lister.places());
        let source = if look.is_some() { HolderSource::Iterator } else { HolderSource::Proc };
        let errands = match &look {
            Some(look) => errands(states, look, &places),
            None => places.iter().map(|place| everything(place.netns)).collect(),
        };
        let holders: FxHashSet<u32> =
            look.iter().flat_map(Look::all_held).flat_map(|held| held.holders.keys()).copied().collect();
        let ((), index) =
            parallel::both(|| people.read_all(&holders), || Index::new(lister.fetch(states, errands)));
        let told = index.asked_ns()..=self.lister.world().clocks.monotonic_ns();
        let mut due: Vec<Due> = index
            .sockets()
            .iter()
            .map(|(netns, socket)| Due {
                key: SocketKey(socket.cookie),
                socket: socket.named(*netns),
                since: since::bracket(told.clone(), socket.times),
                kernel_socket: None,
            })
            .collect();
        let unlisted = look.iter().flat_map(|look| unlisted(look, &index));
        due.extend(unlisted.map(|held| Due {
            key: SocketKey(held.socket.cookie.unwrap_or_default()),
            socket: held.socket,
            since: since::bracket(told.clone(), None),
            kernel_socket: None,
        }));
        let look = self.complete(look, &due, &index);
        let mut findings = due.iter().map(|due| self.find(due, &index, &look)).collect::<Vec<_>>();
        self.look_again(&due, &mut findings);
        findings.retain(|finding| finding.is_stuck);
        Snapshot { findings, namespaces: places.len(), processes, unreadable, source }
    }
}

/// What has to be asked of each namespace, after its descriptors were seen.
fn errands(states: StateSet, look: &Look, places: &[Place]) -> Vec<Errand> {
    let mut held: FxHashMap<u32, Vec<SocketId>> = FxHashMap::default();
    let mut with_mptcp: FxHashSet<u32> = FxHashSet::default();
    for socket in look.all_held() {
        let Some((netns, cookie)) = socket.socket.netns.zip(socket.socket.cookie) else { continue };
        if socket.is_mptcp {
            with_mptcp.insert(netns);
        } else {
            let endpoints = socket.socket.endpoints;
            held.entry(netns).or_default().push(SocketId {
                cookie,
                local: endpoints.local,
                remote: endpoints.remote,
                interface: 0,
            });
        }
    }
    let in_use = places.iter().filter(|place| place.in_use != Some(0)).count();
    let has_few = in_use <= FEW_NAMESPACES;
    let errand = |place: &Place| {
        let netns = place.netns;
        let census = look.census(netns);
        let is_empty = place.in_use == Some(0);
        // Connections that nobody has accepted yet, and whatever else has no descriptor.
        let may_hide = census.has_backlog || place.in_use.is_none_or(|in_use| in_use > census.held);
        if !are_held(states) || (!is_empty && (has_few || may_hide)) {
            return Some(everything(netns));
        }
        let ids = held.remove(&netns).unwrap_or_default();
        let with_mptcp = with_mptcp.contains(&netns);
        match ids.len() {
            0 if !with_mptcp => None,
            0..=MOST_LOOKUPS => Some(Errand { netns, scope: Scope::These(ids), with_mptcp }),
            _ => Some(everything(netns)),
        }
    };
    places.iter().filter_map(errand).collect()
}

fn everything(netns: u32) -> Errand {
    Errand { netns, scope: Scope::All, with_mptcp: true }
}

/// Whether sockets in these states have a descriptor as a rule. After close() they have none, and a
/// minisocket is not even counted among those in use.
fn are_held(states: StateSet) -> bool {
    let held: StateSet =
        [State::Established, State::SynSent, State::Listen, State::CloseWait].into_iter().collect();
    held.union(states) == held
}
