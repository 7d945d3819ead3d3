//! Tries every feature of this kernel that the tool can use, for people who want to know what it offers.
//! Leaves nothing attached.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use tcptrace_ebpf::{config::Config, record::STACK_BYTES};

use super::{
    calls,
    holders::HolderScan,
    load,
    options::{Backend, TracerOptions, TrackedCalls, Transport},
    plan::TracePlan,
    support::Support,
    tracer,
};
use crate::{
    host::{clock::Clocks, world::World},
    model::criteria::Criteria,
};

/// Tries everything once.
pub(crate) fn examine(world: &World) -> Support {
    let mut support = Support::read(world);
    let has_types = support.types().is_some();
    let receive = has_types && load::receive_layout(&mut support).is_some();
    let options = TracerOptions {
        backend: None,
        transport: None,
        criteria: Criteria::default(),
        track_all_states: false,
        ring_bytes: 64 * 1024,
        max_sockets: 1024,
        calls: TrackedCalls {
            openers: true,
            eof_reads: receive,
            stack_bytes: u32::try_from(STACK_BYTES).unwrap_or(u32::MAX),
        },
        wakes_soon: true,
        details_after: Duration::ZERO,
        told_after: Duration::ZERO,
        report_over: true,
    };
    let Ok(config) = options.config() else { return support };
    let clocks = &world.clocks;
    for transport in [Transport::Ring, Transport::Perf] {
        tracer::try_transport(&mut support, transport, &options, &config, clocks);
    }
    if support.ring_buffers.refusal().is_some() || support.perf_buffers.refusal().is_some() {
        support.small_map.record(load::small_map());
    }
    let transport = if support.ring_buffers.refusal().is_none() { Transport::Ring } else { Transport::Perf };
    // What is attached here is detached on threads of their own: the kernel waits for all CPUs each time.
    let mut attached = Vec::new();
    if has_types {
        let plan = TracePlan {
            backend: Backend::Btf,
            transport,
            accept4: true,
            accept: true,
            receive,
            stacks: true,
            python: true,
            warnings: Vec::new(),
        };
        attached.extend(attach(&mut support, &plan, &options, &config, clocks));
    }
    // What both backends need is known from the one that is used.
    let is_used = attached.is_empty();
    let plan = TracePlan {
        backend: Backend::Tracepoint,
        transport,
        accept4: has_types && is_used,
        accept: has_types && is_used,
        receive: receive && is_used,
        stacks: has_types && is_used,
        python: has_types && is_used,
        warnings: Vec::new(),
    };
    attached.extend(attach(&mut support, &plan, &options, &config, clocks));
    if let Some(mut scan) = HolderScan::new(&mut support) {
        scan.load_queues(&mut support);
        scan.load_sleepers(&mut support);
        scan.load_running(&mut support);
    }
    for detaching in attached {
        // A thread that panicked has said so.
        let _ = detaching.join();
    }
    support
}

/// Attaches what the plan has; returns the thread that detaches it.
fn attach(
    support: &mut Support,
    plan: &TracePlan,
    options: &TracerOptions,
    config: &Config,
    clocks: &Clocks,
) -> Option<JoinHandle<()>> {
    let mut attached = tracer::attach(support, plan, options, config, clocks)?;
    calls::attach(&mut attached.object, support, plan);
    Some(thread::spawn(move || drop(attached)))
}
