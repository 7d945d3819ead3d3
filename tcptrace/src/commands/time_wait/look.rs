//! One look at every network namespace: settings, counters, and the sockets that take local ports. Changes nothing.

use super::{address_uses::AddressUses, closings::Closings, table::DestinationTable};
use crate::{
    diagnosis::time_wait::ports::PortBudget,
    host::{
        namespaces::{self, NamespaceOrigin, NetNamespace},
        pool as parallel,
        process_view::ProcessView,
        tcp_counters,
        world::World,
    },
    model::{
        coverage::{Coverage, NamespaceName},
        criteria::Criteria,
        endpoints::Endpoints,
        socket::TcpFlavour,
        state::StateSet,
        tcp_counters::TcpCounters,
        tcp_settings::TcpSettings,
    },
    netlink::{self as sock_diag, SockDiag},
};

/// A destination without minisockets is listed from this share of its ports in use on, in percent, or from the share
/// that was asked for, if that is less: nearly every host has connections open to some hundreds of destinations.
pub(super) const LISTED_PERCENT: u64 = 10;

/// The TIME_WAIT and the ports of a namespace.
#[derive(Debug)]
pub(crate) struct NamespaceLook {
    pub netns: u32,
    /// Whether it is this process's namespace, to which the host's files apply.
    pub is_own: bool,
    /// When the kernel was asked (CLOCK_MONOTONIC, nanoseconds).
    pub asked_ns: u64,
    pub settings: TcpSettings,
    /// The kernel's counters.
    pub counters: TcpCounters,
    pub minisockets: Option<u64>,
    /// The listed sockets by destination.
    pub table: DestinationTable,
    /// What has the local ports that were asked for.
    pub uses: AddressUses,
}

/// The TIME_WAIT of the host.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Namespaces worth reporting; this process's own first.
    pub namespaces: Vec<NamespaceLook>,
    /// Namespaces that were looked into.
    pub found: u64,
    /// What could not be looked at.
    pub coverage: Coverage,
}

/// Takes a look; `closings` attributes minisockets to closers. Destinations are looked for that have `percent` of their
/// ports in use.
///
/// # Errors
/// When the kernel does not list sockets at all.
pub(crate) fn look(
    world: &World,
    criteria: &Criteria,
    percent: u64,
    closings: Option<&Closings>,
) -> Result<Look, sock_diag::Error> {
    let mut discovery = namespaces::discover(world);
    let is_wanted = |namespace: &NetNamespace| criteria.admits_netns(Some(namespace.inode));
    let namespaces: Vec<NetNamespace> =
        std::mem::take(&mut discovery.namespaces).into_iter().filter(is_wanted).collect();
    let mut coverage = Coverage::default();
    discovery.cover(&mut coverage);
    coverage.hidden.extend(ProcessView::read(&world.proc).proc);
    for netns in &criteria.netns {
        if !namespaces.iter().any(|namespace| namespace.inode == *netns) {
            log::warn!(
                "no process and no bind mount leads to network namespace {netns}: it is not looked into"
            );
        }
    }
    let percent = percent.min(LISTED_PERCENT);
    let looks = parallel::map(namespaces, |namespace| {
        let inside = namespace.run_inside(|| look_inside(&namespace, world, criteria, percent, closings));
        let refused = |source| sock_diag::Error::Namespace {
            inode: namespace.inode,
            path: namespace.path().to_owned(),
            source,
        };
        (namespace.inode, inside.unwrap_or_else(|source| Err(refused(source))))
    });
    let mut look = Look { coverage, ..Look::default() };
    for (netns, inside) in looks {
        match inside {
            Ok(inside) => {
                look.namespaces.extend(inside);
                look.coverage.listed.insert(netns);
            }
            Err(error) if error.is_not_supported() => return Err(error),
            Err(error) => {
                log::debug!("network namespace {netns}: {error}");
                // One that has gone has nothing any more.
                let error = error.to_look_error();
                look.coverage.namespaces.extend(error.map(|error| (NamespaceName::Inode(netns), error)));
            }
        }
    }
    look.found = look.coverage.listed.len() as u64;
    look.coverage.restrict(&criteria.netns, false);
    Ok(look)
}

/// Runs on a thread in the namespace. `None` if the namespace is not worth reporting.
fn look_inside(
    namespace: &NetNamespace,
    world: &World,
    criteria: &Criteria,
    percent: u64,
    closings: Option<&Closings>,
) -> Result<Option<NamespaceLook>, sock_diag::Error> {
    let netns = namespace.inode;
    let is_own = namespace.found_as == NamespaceOrigin::Own;
    let minisockets = tcp_counters::minisockets(&world.proc);
    let counters = tcp_counters::read(&world.proc);
    let settings = crate::host::tcp_settings::read(&world.proc);
    let mut table = DestinationTable::new(PortBudget::new(&settings), percent);
    let mut uses = AddressUses::new(criteria.local_ports(), &settings);
    let asked_ns = world.clocks.monotonic_ns();
    let mut diag = SockDiag::open_here()?.in_namespace(netns);
    let _ = diag.dump(TcpFlavour::Tcp, StateSet::LISTEN.union(StateSet::BOUND), false, |socket| {
        table.bound(&socket);
        uses.bound(&socket);
    })?;
    // Each further listing walks the tables of the whole host, even for a namespace without sockets.
    if minisockets != Some(0) {
        list_minisockets(&mut diag, &mut table, &mut uses, netns, criteria, closings)?;
    }
    let in_use = namespace.tcp_in_use(&world.proc).map(u64::from);
    // What is in use are all sockets but minisockets, and those that are only bound.
    let is_asked_for = !uses.is_idle() && in_use.is_none_or(|in_use| in_use > 0);
    if is_asked_for || !table.is_empty() || in_use.is_none_or(|in_use| table.may_be_short_of_ports(in_use)) {
        list_open(&mut diag, &mut table, &mut uses, criteria)?;
    }
    let is_silent = minisockets == Some(0) && counters.overflows().is_none_or(|overflows| overflows == 0);
    let is_free = table.is_empty() && !table.ports.as_ref().is_some_and(|ports| ports.is_bound(percent));
    if is_silent && is_free && uses.is_empty() && !is_own && criteria.netns.is_empty() {
        return Ok(None);
    }
    Ok(Some(NamespaceLook { netns, is_own, asked_ns, settings, counters, minisockets, table, uses }))
}

fn list_minisockets(
    diag: &mut SockDiag,
    table: &mut DestinationTable,
    uses: &mut AddressUses,
    netns: u32,
    criteria: &Criteria,
    closings: Option<&Closings>,
) -> Result<(), sock_diag::Error> {
    let minisockets = StateSet::TIME_WAIT.union(StateSet::FIN_WAIT2);
    let _ = diag.dump(TcpFlavour::Tcp, minisockets, false, |socket| {
        let endpoints = Endpoints { local: socket.local, remote: socket.remote };
        let closer = closings.and_then(|closings| closings.closer(socket.cookie, netns, &endpoints));
        table.minisocket(&socket, criteria.admits_endpoints(&endpoints), closer);
        uses.minisocket(&socket, closer);
    })?;
    table.end_minisockets();
    Ok(())
}

fn list_open(
    diag: &mut SockDiag,
    table: &mut DestinationTable,
    uses: &mut AddressUses,
    criteria: &Criteria,
) -> Result<(), sock_diag::Error> {
    let open = StateSet::TIME_WAIT.union(StateSet::LISTEN).complement();
    let _ = diag.dump(TcpFlavour::Tcp, open, true, |socket| {
        let endpoints = Endpoints { local: socket.local, remote: socket.remote };
        table.open(&socket, criteria.admits_endpoints(&endpoints));
        uses.open(&socket);
    })?;
    // A kernel that lists paths of MPTCP connections as such lists the connections as well.
    if table.has_subflows() || uses.has_subflows() {
        // A listener that is listed is given a cookie, which the kernel copies to all that it accepts from then on.
        let states = if uses.has_listening_subflows() { open.union(StateSet::LISTEN) } else { open };
        let listed = diag.dump(TcpFlavour::Mptcp, states, false, |socket| {
            table.mptcp(&socket);
            uses.mptcp(&socket);
        });
        if let Err(error) = listed.map(drop) {
            log::debug!("{error}");
        }
    }
    table.end_open();
    Ok(())
}
