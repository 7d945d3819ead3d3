//! What `tcptrace time-wait` is asked for, and what it keeps from one look to the next.

use std::{ops::Range, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    assemble::{HeldPorts, Knowledge, Rates},
    closers::Closers,
    closings::Closings,
    group::DestinationGroup,
    holders,
    look::{LISTED_PERCENT, Look, NamespaceLook, look},
    socket_options,
};
use crate::{
    commands::shared::error::{CommandError, Conclusion},
    host::{clock::WallClock, sysctl_files, world::World},
    kernel::TracerOptions,
    model::{
        coverage::{Extent, NotLookedAt},
        criteria::Criteria,
        kernel_version::KernelVersion,
        owner::Owner,
        record::{Summary, Totals, time_wait::TimeWaitLook},
        sysctl_setting::Setting,
        tcp_counters::TcpCounters,
        time_wait::Destination,
    },
    output::options::OutputOptions,
};

/// Destinations of a namespace that candidates are looked for: the largest.
const MOST_ASKED: usize = 32;

/// Settings that are looked for in files.
const IN_FILES: [&str; 7] = [
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
];

/// What to look at and where to write it.
#[derive(Clone, Debug)]
pub(crate) struct TimeWaitOptions {
    /// Which connections are wanted, in whatever state; those with a closer that is wanted, or a candidate.
    pub criteria: Criteria,
    /// How closings are traced; `None` looks once.
    pub live: Option<LiveLooks>,
    /// Whether a destination that is found decides about the exit code.
    pub exit_code: bool,
    /// A destination counts as found from this share of its ports on, in percent.
    pub ports_used_percent: u64,
    /// Rows of a table in the text form.
    pub rows: usize,
    /// Where the records go, and in which form.
    pub outputs: OutputOptions,
}

/// Looks at intervals.
#[derive(Clone, Debug)]
pub(crate) struct LiveLooks {
    /// What the kernel side does.
    pub tracer: TracerOptions,
    /// Time between looks; `None` goes by the output.
    pub interval: Option<Duration>,
    /// Ends by itself after this time.
    pub duration: Option<Duration>,
}

/// The end of a session. Destinations that there was no room for are evicted too.
pub(crate) fn summary(
    totals: Totals,
    not_looked_at: NotLookedAt,
    crowded_out: u64,
    lasted: Range<u64>,
    clock: WallClock,
) -> Summary {
    Summary {
        time: clock.at(lasted.end),
        duration_ns: lasted.end.saturating_sub(lasted.start),
        totals: Totals { evicted: totals.evicted + crowded_out, ..totals },
        in_close_wait: None,
        processes: Vec::new(),
        more_processes: 0,
        connections_over: None,
        sockets: None,
        still_stuck: None,
        not_looked_at: Some(not_looked_at),
    }
}

/// What is kept between looks.
pub(crate) struct TimeWaitSession<'a> {
    options: &'a TimeWaitOptions,
    world: &'a World,
    files: Vec<Setting>,
    kernel: Option<KernelVersion>,
    /// What each namespace had counted, and when.
    earlier: FxHashMap<u32, (u64, TcpCounters)>,
    held: HeldPorts,
    is_found: bool,
    /// How much the last look looked at.
    extent: Extent,
    pub(crate) crowded_out: u64,
}

impl<'a> TimeWaitSession<'a> {
    pub(crate) fn new(options: &'a TimeWaitOptions, world: &'a World) -> Self {
        Self {
            options,
            world,
            files: sysctl_files::settings(&world.root, &IN_FILES),
            kernel: crate::host::identity::kernel_version(),
            earlier: FxHashMap::default(),
            held: HeldPorts::default(),
            is_found: false,
            extent: Extent::Everything,
            crowded_out: 0,
        }
    }

    pub(crate) fn look(&self, closings: Option<&Closings>) -> Result<Look, CommandError> {
        Ok(look(self.world, &self.options.criteria, self.options.ports_used_percent, closings)?)
    }

    /// Whether a destination has reached the share of its ports, if that matters.
    pub(crate) fn conclusion(&self) -> Conclusion {
        Conclusion::of_search(self.is_found, self.options.exit_code, self.extent)
    }

    /// Who holds the sockets that take ports, has connections open to where most minisockets are, or listens there.
    pub(crate) fn holders(&self, look: &Look) -> FxHashMap<u32, Vec<Owner>> {
        let (mut held, mut listeners) = (FxHashSet::default(), FxHashSet::default());
        for namespace in &look.namespaces {
            let table = &namespace.table;
            held.extend(table.groups().flat_map(|(_, group)| group.on_ports()));
            listeners.extend(namespace.uses.groups().flat_map(|(_, _, group)| &group.inodes));
            if table.ports.as_ref().is_some_and(|ports| ports.is_bound(LISTED_PERCENT)) {
                held.extend(table.bound_inodes());
            }
            let mut groups: Vec<_> = table.groups().map(|(_, group)| group).collect();
            groups.sort_by_key(|group| std::cmp::Reverse(group.minisockets()));
            for group in groups.into_iter().take(MOST_ASKED) {
                held.extend(&group.connections);
                listeners.extend(&group.listeners);
            }
        }
        holders::holders(self.world, &held, &listeners)
    }

    /// The same, where sockets that are held take a share of the ports, or a port that was asked for: else the next look is not held up by reading
    /// every descriptor table of the host.
    pub(crate) fn holders_of_many(&self, look: &Look) -> Option<FxHashMap<u32, Vec<Owner>>> {
        let is_much = |namespace: &NamespaceLook| {
            let Some(ports) = &namespace.table.ports else { return !namespace.uses.is_empty() };
            let usable = u64::from(ports.usable);
            !namespace.uses.is_empty()
                || ports.is_bound(LISTED_PERCENT)
                || namespace
                    .table
                    .groups()
                    .any(|(_, group)| group.ports_open() * 100 >= usable * LISTED_PERCENT)
        };
        look.namespaces.iter().any(is_much).then(|| self.holders(look))
    }

    /// Notes what open connections hold of the ports of each destination that is listed, and forgets the others.
    fn note_held(&mut self, look: &Look) {
        let mut before = std::mem::take(&mut self.held);
        for namespace in &look.namespaces {
            let outgoing = |(destination, _): &(&Destination, &DestinationGroup)| {
                matches!(destination, Destination::Outgoing { .. })
            };
            for (destination, group) in namespace.table.groups().filter(outgoing) {
                let key = (namespace.netns, *destination);
                let mut level = before.remove(&key).unwrap_or_default();
                level.note(namespace.asked_ns, group.ports_open());
                self.held.insert(key, level);
            }
        }
    }

    pub(crate) fn report(
        &mut self,
        look: &Look,
        rates: Rates,
        holders: Option<FxHashMap<u32, Vec<Owner>>>,
        closers: Option<&Closers>,
        began_ns: u64,
        clock: WallClock,
    ) -> TimeWaitLook {
        self.note_held(look);
        let samples = || look.namespaces.iter().flat_map(|namespace| namespace.uses.groups());
        let samples = samples().flat_map(|(_, _, group)| &group.samples);
        let options =
            holders.as_ref().map(|holders| socket_options::read(&self.world.proc, samples, holders));
        let knowledge = Knowledge {
            kernel: self.kernel,
            files: &self.files,
            criteria: &self.options.criteria,
            closers,
            rates,
            holders,
            options: &options.unwrap_or_default(),
            held: &self.held,
            earlier: &self.earlier,
        };
        let report = |namespace| super::assemble::namespace(namespace, &knowledge, clock);
        let namespaces: Vec<_> = look.namespaces.iter().map(report).collect();
        let percent = self.options.ports_used_percent;
        let ports = namespaces.iter().flat_map(|(_, destinations)| destinations).filter_map(|one| one.ports);
        self.is_found |= ports.into_iter().any(|ports| ports.reaches(percent));
        let mut budgets = look.namespaces.iter().filter_map(|namespace| namespace.table.ports.as_ref());
        self.is_found |= budgets.any(|ports| ports.is_bound(percent));
        self.extent = look.coverage.extent();
        self.crowded_out = namespaces.iter().map(|(summary, _)| summary.crowded_out).sum();
        let counted = |look: &NamespaceLook| (look.netns, (look.asked_ns, look.counters));
        self.earlier = look.namespaces.iter().map(counted).collect();
        TimeWaitLook {
            time: clock.at(began_ns),
            duration_ns: self.world.clocks.monotonic_ns().saturating_sub(began_ns),
            is_traced: closers.is_some(),
            namespaces_found: look.found,
            not_looked_at: look.coverage.to_record(),
            namespaces,
        }
    }
}
