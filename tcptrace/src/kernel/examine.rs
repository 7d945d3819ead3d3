//! Tries every feature of this kernel that the tool can use, for people who want to know what it offers.
//! Leaves nothing attached.

use std::time::Duration;

use tcptrace_ebpf::record::STACK_BYTES;

use super::{
    calls,
    holders::HolderScan,
    load,
    options::{Backend, TracerOptions, TrackedCalls},
    plan::TracePlan,
    support::Support,
    tracer,
};
use crate::{host::world::World, model::criteria::Criteria};

/// Tries everything once.
pub(crate) fn examine(world: &World) -> Support {
    let mut support = Support::read(world);
    let has_types = support.types().is_some();
    let receive = has_types && load::receive_layout(&mut support).is_some();
    let options = TracerOptions {
        backend: None,
        criteria: Criteria::default(),
        track_all_states: false,
        ring_bytes: 64 * 1024,
        max_sockets: 1024,
        calls: TrackedCalls {
            openers: true,
            eof_reads: receive,
            stack_bytes: u32::try_from(STACK_BYTES).unwrap_or(u32::MAX),
        },
        wakeup_interval: Duration::ZERO,
        details_after: Duration::ZERO,
        report_over: true,
    };
    // The classic tracepoint comes last: what both backends need is then known from the one that is used.
    let backends =
        if has_types { vec![Backend::Btf, Backend::Tracepoint] } else { vec![Backend::Tracepoint] };
    for backend in backends {
        let plan = TracePlan {
            backend,
            accept4: has_types,
            accept: has_types,
            receive,
            stacks: has_types,
            python: has_types,
            warnings: Vec::new(),
        };
        if let Ok(config) = options.config()
            && let Some(mut attached) = tracer::attach(&mut support, &plan, &options, &config)
        {
            calls::attach(&mut attached.object, &mut support, &plan);
        }
    }
    if let Some(mut scan) = HolderScan::new(&mut support) {
        scan.load_queues(&mut support);
        scan.load_sleepers(&mut support);
    }
    support
}
