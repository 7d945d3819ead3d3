//! The rules, one kernel at a time: what runs, what is warned of, what is refused.

use std::path::PathBuf;

use proptest::prelude::*;
use rustix::thread::CapabilitySet;
use tcptrace_ebpf::config::{FormatOffsets, ReceiveOffsets};

use super::*;
use crate::{
    host::privilege::Privileges,
    kernel::{
        format::UnexpectedFormat,
        support::Trial::{self, Refused, Untried, Works},
    },
};

/// A kernel that refuses with these words.
fn refusal(reason: &str) -> LoadError {
    LoadError::Refused { what: "take a program", reason: reason.to_owned(), remedy: "" }
}

fn refused<T>(reason: &str) -> Trial<T> {
    Refused(refusal(reason))
}

fn without_btf() -> LoadError {
    LoadError::NoBtf { path: "/btf".to_owned(), reason: "not there".to_owned() }
}

fn no_btf<T>() -> Trial<T> {
    Refused(without_btf())
}

fn wanted(backend: Option<Backend>, openers: bool, eof_reads: bool) -> TraceRequest {
    let calls = TrackedCalls { openers, eof_reads, stack_bytes: 0 };
    TraceRequest { backend, transport: None, calls }
}

/// What is traced with, and the warnings; or the error.
fn outcome(support: &Support, backend: Option<Backend>) -> Result<(Backend, Vec<String>), String> {
    match trace(support, wanted(backend, false, false)) {
        Ok(plan) => Ok((plan.backend, plan.warnings.iter().map(Warning::to_string).collect())),
        Err(refusal) => Err(refusal.error.to_string()),
    }
}

fn fallback(error: &str) -> (Backend, Vec<String>) {
    (Backend::Tracepoint, vec![format!("{}: {error}", loss::TYPED_TRACEPOINT.lost)])
}

const NO_BTF: &str = "no BTF of this kernel (/btf: not there); it takes --btf FILE with that of exactly this kernel, or a \
                      kernel built with CONFIG_DEBUG_INFO_BTF";

#[test]
fn a_kernel_that_nobody_has_tried_is_trusted() {
    let support = Support::default();
    assert_eq!(outcome(&support, None), Ok((Backend::Btf, vec![])));
    assert_eq!(outcome(&support, Some(Backend::Tracepoint)), Ok((Backend::Tracepoint, vec![])));
    let plan = trace(&support, wanted(None, true, true)).ok();
    assert_eq!(
        plan,
        Some(TracePlan {
            backend: Backend::Btf,
            transport: Transport::Ring,
            accept4: true,
            accept: true,
            receive: true,
            stacks: false,
            python: true,
            warnings: vec![]
        })
    );
}

#[test]
fn without_btf_the_classic_tracepoint_stands_in_unless_btf_is_forced() {
    let support = Support { types: no_btf(), ..Support::default() };
    assert_eq!(outcome(&support, None), Ok(fallback(NO_BTF)));
    assert_eq!(outcome(&support, Some(Backend::Tracepoint)), Ok((Backend::Tracepoint, vec![])));
    assert_eq!(outcome(&support, Some(Backend::Btf)), Err(NO_BTF.to_owned()));
}

#[test]
fn where_a_helper_is_refused_the_classic_tracepoint_stands_in_unless_btf_is_forced() {
    let support =
        Support { typed_tracepoint: refused("unknown func bpf_sk_storage_get"), ..Support::default() };
    let error = "the kernel refused to take a program: unknown func bpf_sk_storage_get";
    let with_remedy = format!("{error}; it takes Linux 5.12 with BTF");
    assert_eq!(outcome(&support, None), Ok(fallback(&with_remedy)));
    assert_eq!(outcome(&support, Some(Backend::Tracepoint)), Ok((Backend::Tracepoint, vec![])));
    assert_eq!(outcome(&support, Some(Backend::Btf)), Err(error.to_owned()));
}

#[test]
fn without_tracefs_only_the_classic_tracepoint_is_refused() {
    let tracefs = Refused(LoadError::NoTracefs("no tracefs".to_owned()));
    let support = Support { tracefs, ..Support::default() };
    assert_eq!(outcome(&support, None), Ok((Backend::Btf, vec![])));
    let error = LoadError::ClassicWithoutTracefs("no tracefs".to_owned()).to_string();
    assert_eq!(outcome(&support, Some(Backend::Tracepoint)), Err(error.clone()));
    assert_eq!(outcome(&Support { types: no_btf(), ..support }, None), Err(error));
}

#[test]
fn an_unexpected_layout_refuses_the_classic_tracepoint() {
    let transition_layout = Refused(UnexpectedFormat::Missing("skaddr").into());
    let support = Support { transition_layout, ..Support::default() };
    let error = "the tracepoint's format has no field `skaddr`; this kernel needs a newer tcptrace";
    assert_eq!(outcome(&support, None), Ok((Backend::Btf, vec![])));
    assert_eq!(outcome(&support, Some(Backend::Tracepoint)), Err(error.to_owned()));
}

#[test]
fn without_ring_buffers_each_cpu_has_its_own_unless_a_ring_is_forced() {
    let by = |support: &Support, transport| match trace(
        support,
        TraceRequest { transport, ..wanted(None, false, false) },
    ) {
        Ok(plan) => Ok((plan.transport, plan.warnings)),
        Err(refusal) => Err((refusal.error, refusal.warnings.len())),
    };
    let (ring, perf) = (Some(Transport::Ring), Some(Transport::Perf));
    let untried = Support::default();
    assert_eq!(by(&untried, None), Ok((Transport::Ring, vec![])));
    assert_eq!(by(&untried, ring), Ok((Transport::Ring, vec![])));
    assert_eq!(by(&untried, perf), Ok((Transport::Perf, vec![])));
    let old = Support { ring_buffers: refused("map EVENTS: Invalid argument"), ..Support::default() };
    let why = refusal("map EVENTS: Invalid argument");
    assert_eq!(by(&old, None), Ok((Transport::Perf, vec![Warning::PerfBuffers(why.clone())])));
    assert_eq!(by(&old, ring), Err((why, 0)));
    assert_eq!(by(&old, perf), Ok((Transport::Perf, vec![])));
    let neither = Support { perf_buffers: refused("not permitted"), ..old };
    assert_eq!(by(&neither, None), Err((refusal("not permitted"), 1)));
    let no_perf = Support { perf_buffers: refused("not permitted"), ..Support::default() };
    assert_eq!(by(&no_perf, None), Ok((Transport::Ring, vec![])));
    assert_eq!(by(&no_perf, perf), Err((refusal("not permitted"), 0)));
}

#[test]
fn a_locked_down_kernel_is_named_as_the_reason() {
    let support = Support {
        lockdown: Lockdown::Confidentiality,
        typed_tracepoint: refused("unknown func bpf_probe_read_kernel"),
        classic_tracepoint: refused("unknown func bpf_probe_read_kernel"),
        ..Support::default()
    };
    let error = "the kernel refused to take a program: unknown func bpf_probe_read_kernel; this kernel \
                 is locked down (confidentiality), so programs may not read its memory";
    for backend in [None, Some(Backend::Btf), Some(Backend::Tracepoint)] {
        assert_eq!(outcome(&support, backend), Err(error.to_owned()));
    }
    let accepted =
        Support { lockdown: Lockdown::Confidentiality, typed_tracepoint: Works(()), ..Support::default() };
    assert_eq!(outcome(&accepted, None), Ok((Backend::Btf, vec![])));
}

#[test]
fn without_capabilities_nothing_is_tried() {
    let privileges = Privileges::of(CapabilitySet::PERFMON);
    let support = Support { privileges, ..Support::default() };
    let error = support.privileges.check().map_err(|error| error.to_string());
    assert_eq!(outcome(&support, None).map(|_| ()), error);
    assert!(error.is_err());
    let inner = Support { is_in_user_namespace: true, ..Support::default() };
    let error = outcome(&inner, None).err();
    assert!(error.as_ref().is_some_and(|error| error.contains("user namespace of its own")), "{error:?}");
}

#[test]
fn accepts_that_cannot_be_watched_are_left_out_with_a_warning() {
    let support = Support { accept: refused("no such hook"), ..Support::default() };
    let plan = trace(&support, wanted(None, true, false)).unwrap_or_else(|_| unreachable!());
    assert!(plan.accept4 && !plan.accept && !plan.receive);
    assert_eq!(plan.warnings, [Warning::AcceptsUnseen(refusal("no such hook"))]);
    let neither = Support { accept: refused("no right"), accept4: refused("no right"), ..Support::default() };
    let plan = trace(&neither, wanted(None, true, false)).unwrap_or_else(|_| unreachable!());
    assert!(!plan.accept4 && !plan.accept);
    assert_eq!(plan.warnings, [Warning::AcceptsUnseen(refusal("no right"))], "once");
    let plan = trace(&support, wanted(None, false, false)).unwrap_or_else(|_| unreachable!());
    assert!(!plan.accept4 && !plan.accept);
    assert_eq!(plan.warnings, []);
}

#[test]
fn what_the_verifier_refuses_of_a_call_is_left_out_with_a_warning() {
    let calls = TrackedCalls { openers: true, eof_reads: false, stack_bytes: 4096 };
    let plan = |support: &Support, calls| {
        let plan = trace(support, TraceRequest { calls, ..TraceRequest::default() })
            .unwrap_or_else(|_| unreachable!());
        (plan.accept4 && plan.accept, plan.stacks, plan.python, plan.warnings)
    };
    let old = Support { stack_copies: refused("no helper"), ..Support::default() };
    let uncopied = Warning::StacksUncopied(refusal("no helper"));
    assert_eq!(plan(&old, calls), (true, false, true, vec![uncopied]));
    assert_eq!(plan(&old, TrackedCalls { stack_bytes: 0, ..calls }), (true, false, true, vec![]));
    assert_eq!(plan(&old, TrackedCalls { openers: false, ..calls }), (false, false, false, vec![]));
    let strict = Support { python_frames: refused("too large"), ..Support::default() };
    let unread = Warning::PythonUnread(refusal("too large"));
    assert_eq!(plan(&strict, calls), (true, true, false, vec![unread]));
}

#[test]
fn without_btf_calls_are_seen_without_what_only_btf_tells() {
    let support = Support { types: no_btf(), ..Support::default() };
    let calls = TrackedCalls { openers: true, eof_reads: false, stack_bytes: 4096 };
    let wanted = TraceRequest { backend: Some(Backend::Tracepoint), transport: None, calls };
    let plan = trace(&support, wanted).unwrap_or_else(|_| unreachable!());
    assert!(!plan.accept4 && !plan.accept && !plan.stacks && !plan.python);
    assert_eq!(plan.warnings, [Warning::CallsWithoutTypes(without_btf())]);
}

#[test]
fn deep_needs_btf_and_its_tracepoint_on_either_backend() {
    let deep = |support: Support, backend| match trace(&support, wanted(backend, false, true)) {
        Ok(plan) => Ok(plan.receive),
        Err(refusal) => Err((refusal.error.to_string(), refusal.warnings.len())),
    };
    let error = |why: &str| LoadError::NoDeep(why.to_owned()).to_string();
    let without_btf = Support { types: no_btf(), ..Support::default() };
    assert_eq!(deep(without_btf.clone(), None), Err((error(NO_BTF), 1)));
    assert_eq!(deep(without_btf, Some(Backend::Tracepoint)), Err((error(NO_BTF), 0)));
    let layout = LoadError::NoTracepoint("sock:sock_recv_length (Linux 6.3)");
    let without_layout = Support { receive_layout: Refused(layout), ..Support::default() };
    let why = "this kernel has no tracepoint sock:sock_recv_length (Linux 6.3)";
    assert_eq!(deep(without_layout, None), Err((error(why), 0)));
    let without_hook = Support { receive: refused("no"), ..Support::default() };
    let why = format!("{}; it takes Linux 6.3 with BTF", refusal("no"));
    assert_eq!(deep(without_hook, Some(Backend::Tracepoint)), Err((error(&why), 0)));
}

#[test]
fn descriptor_tables_are_read_from_proc_where_the_iterator_is_refused() {
    let plan = |support: &Support, forced| holders(support, forced).map(|plan| (plan.source, plan.queues));
    let untried = Support::default();
    assert_eq!(plan(&untried, None), Ok((HolderSource::Iterator, true)));
    assert_eq!(plan(&untried, Some(HolderSource::Proc)), Ok((HolderSource::Proc, false)));
    for support in [
        Support { types: refused("no"), ..Support::default() },
        Support { iterator: refused("no"), ..Support::default() },
    ] {
        let warnings = holders(&support, None).map(|plan| plan.warnings);
        assert_eq!(plan(&support, None), Ok((HolderSource::Proc, false)));
        assert_eq!(warnings, Ok(vec![Warning::TablesFromProc(refusal("no"))]));
        assert_eq!(plan(&support, Some(HolderSource::Iterator)), Err(refusal("no")));
        assert_eq!(plan(&support, Some(HolderSource::Proc)), Ok((HolderSource::Proc, false)));
    }
    let without_queues = Support { queues: refused("no"), ..Support::default() };
    let plan = holders(&without_queues, None).map(|plan| (plan.source, plan.queues, plan.warnings));
    let warning = Warning::QueuesUnseen(refusal("no"));
    assert_eq!(plan, Ok((HolderSource::Iterator, false, vec![warning])));
}

fn any_trial<T: Clone + fmt::Debug + 'static>(value: T) -> impl Strategy<Value = Trial<T>> {
    prop_oneof![Just(Untried), Just(Works(value)), Just(refused("no"))]
}

/// Any kernel, as far as the tracer is concerned. Working BTF is left out, because only a kernel has it.
fn any_support() -> impl Strategy<Value = Support> {
    let features = [0; 9].map(|_| any_trial(()));
    let layouts = (any_trial(FormatOffsets::UNUSED), any_trial(ReceiveOffsets::UNUSED));
    let has_btf = any::<bool>();
    (features, layouts, any_trial(PathBuf::new()), has_btf).prop_map(
        |(features, layouts, tracefs, has_btf)| {
            let [ring_buffers, perf_buffers, typed_tracepoint, classic_tracepoint, calls @ ..] = features;
            let [accept4, accept, receive, stack_copies, python_frames] = calls;
            let (transition_layout, receive_layout) = layouts;
            let types = if has_btf { Untried } else { no_btf() };
            Support {
                types,
                tracefs,
                transition_layout,
                receive_layout,
                ring_buffers,
                perf_buffers,
                typed_tracepoint,
                classic_tracepoint,
                accept4,
                accept,
                receive,
                stack_copies,
                python_frames,
                ..Support::default()
            }
        },
    )
}

proptest! {
    /// Whoever tries plans until one works comes to an end, because no plan has a feature that was refused.
    #[test]
    fn no_plan_has_what_was_refused(
        support in any_support(),
        backend in prop_oneof![Just(None), Just(Some(Backend::Btf)), Just(Some(Backend::Tracepoint))],
        openers: bool,
        eof_reads: bool,
    ) {
        if let Ok(plan) = trace(&support, wanted(backend, openers, eof_reads)) {
            prop_assert!(backend.is_none_or(|backend| backend == plan.backend));
            prop_assert_eq!(plan.receive, eof_reads);
            let mut used = vec![match plan.transport {
                Transport::Ring => support.ring_buffers.refusal(),
                Transport::Perf => support.perf_buffers.refusal(),
            }];
            match plan.backend {
                Backend::Btf => used.extend([support.types.refusal(), support.typed_tracepoint.refusal()]),
                Backend::Tracepoint => used.extend([
                    support.tracefs.refusal(),
                    support.transition_layout.refusal(),
                    support.classic_tracepoint.refusal(),
                ]),
            }
            used.extend(plan.accept4.then(|| support.accept4.refusal()));
            used.extend(plan.accept.then(|| support.accept.refusal()));
            used.extend(plan.stacks.then(|| support.stack_copies.refusal()));
            used.extend(plan.python.then(|| support.python_frames.refusal()));
            if plan.receive {
                used.extend([support.types.refusal(),
 support.tracefs.refusal(), support.receive_layout.refusal(), support.receive.refusal()]);
            }
            prop_assert!(used.into_iter().all(|refusal| refusal.is_none()));
        }
    }
}
