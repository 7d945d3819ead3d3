//! What the kernel offers, as checks: the facts that it was asked for, weighed by the plan that `leaks` would follow.

use std::{borrow::Cow, io};

use rustix::io::Errno;

use super::check::{Check, State, Topic};
use crate::{
    commands::shared::ways_to_end::{can_destroy, can_shut_down, may_copy_of_others},
    host::{lockdown::Lockdown, open_files, sysfs, user_namespace, world::World},
    kernel::{
        KernelFact, LoadError, Outcome, Support, TrackedCalls, cpu_list,
        plan::{TraceRequest, trace},
    },
    model::socket::TcpFlavour,
    netlink::SockDiag,
};

/// What either way to see transitions takes: where both are refused, what is refused of these is needed.
const FOR_TRANSITIONS: [&str; 5] =
    ["btf", "typed_tracepoint", "classic_tracepoint", "tracefs", "tracepoint_layout"];

/// Either way for records out of the kernel: where both are refused, both are needed.
const FOR_RECORDS: [&str; 2] = ["ring_buffer", "perf_buffers"];

/// Every feature of the kernel.
pub(super) fn checks(support: &Support) -> Vec<Check> {
    let calls = TrackedCalls { openers: true, eof_reads: false, stack_bytes: 1 };
    let refused = trace(support, TraceRequest { calls, ..TraceRequest::default() }).is_err();
    let facts = support.facts();
    // Where the rights are missing, these are what is needed.
    let is_for_the_kernel = refused && !support.lacks_rights();
    let is_refused =
        |id: &&str| facts.iter().any(|fact| fact.id == *id && matches!(fact.outcome, Outcome::Refused(_)));
    let mut needed: Vec<&str> = Vec::new();
    if is_for_the_kernel {
        needed.extend(FOR_TRANSITIONS);
        if FOR_RECORDS.iter().all(is_refused) {
            needed.extend(FOR_RECORDS);
        }
    }
    let has_sysfs = !sysfs::is_missing();
    let mut checks: Vec<Check> = facts.iter().map(|fact| check(fact, &needed, has_sysfs)).collect();
    checks.push(lockdown(support.lockdown, refused));
    checks.push(sock_diag());
    checks.extend(cpus(cpu_list()));
    checks
}

fn check(fact: &KernelFact, needed: &[&str], has_sysfs: bool) -> Check {
    let KernelFact { id, name, outcome, lost, remedy } = fact;
    match outcome {
        Outcome::Works(detail) => Check::ok(Topic::Kernel, id, name, detail.as_str()),
        Outcome::Refused(why) => {
            let remedy = in_the_way(why, has_sysfs).unwrap_or(Cow::Borrowed(remedy));
            let check = Check::missing(Topic::Kernel, id, name, why.as_str(), (lost, &remedy));
            if needed.contains(id) { check.needed() } else { check }
        }
        Outcome::Untried => Check {
            state: State::NotTried,
            ..Check::ok(Topic::Kernel, id, name, "it takes something that is missing")
        },
    }
}

/// What helps where the host is in the way, not the kernel: no descriptor was left, or sysfs is not mounted.
fn in_the_way(why: &str, has_sysfs: bool) -> Option<Cow<'static, str>> {
    let no_descriptor = io::Error::from(Errno::MFILE);
    if why.contains(&no_descriptor.to_string()) {
        Some(open_files::remedy(&no_descriptor).trim_start_matches("; ").to_owned().into())
    } else {
        let is_hidden = why.contains("/sys/devices/") || (!has_sysfs && why.contains("/sys/"));
        is_hidden.then_some(sysfs::MOUNT.into())
    }
}

/// Nothing where the list is there: nobody asks for that.
fn cpus(listed: Result<(), LoadError>) -> Option<Check> {
    let why = listed.err()?.to_string();
    let lost = "nothing is traced";
    Some(Check::missing(Topic::Kernel, "cpu_list", "list of CPUs", why, (lost, sysfs::MOUNT)).needed())
}

fn lockdown(mode: Lockdown, is_trace_refused: bool) -> Check {
    let (id, name) = ("lockdown", "lockdown");
    if mode != Lockdown::Confidentiality || !is_trace_refused {
        return Check::ok(
            Topic::Kernel,
            id,
            name,
            format!("{}: keeps out nothing that is needed", mode.name()),
        );
    }
    let lost = "programs may not read the kernel's memory: `now`, `clear` and one look of `time-wait` work, what watches \
                does not";
    let remedy =
        "lockdown=integrity on the kernel's command line; with Secure Boot, what the distribution says of it";
    Check::missing(Topic::Kernel, id, name, "confidentiality", (lost, remedy))
}

fn sock_diag() -> Check {
    let (id, name) = ("sock_diag", "list of sockets (sock_diag)");
    let answer = |flavour| SockDiag::open_here().and_then(|mut diag| diag.probe(flavour));
    match answer(TcpFlavour::Tcp) {
        Ok(()) if answer(TcpFlavour::Mptcp).is_err() => Check::ok(Topic::Kernel, id, name, "TCP; no MPTCP"),
        Ok(()) => Check::ok(Topic::Kernel, id, name, "TCP, MPTCP"),
        Err(why) => Check::missing(
            Topic::Kernel,
            id,
            name,
            why.to_string(),
            (
                "sockets that are there cannot be listed",
                "modprobe --all inet_diag tcp_diag, and no seccomp filter against AF_NETLINK",
            ),
        )
        .needed(),
    }
}

/// The ways to end a socket.
pub(super) fn clearing(world: &World) -> Vec<Check> {
    let is_inner = user_namespace::is_inner(&world.proc) == Some(true);
    let extent = if is_inner { "in this user namespace alone" } else { "" };
    let of_whom = if may_copy_of_others() {
        extent
    } else {
        "of processes of this user alone: it takes CAP_SYS_PTRACE"
    };
    let destroy = match can_destroy() {
        Ok(()) => Check::ok(Topic::Clear, "sock_destroy", "SOCK_DESTROY", extent),
        Err(why) => Check::missing(
            Topic::Clear,
            "sock_destroy",
            "SOCK_DESTROY",
            why,
            (
                "`clear` ends only what a process holds in CLOSE_WAIT (by shutdown(2)): nothing that was never \
                 accepted, nothing that was closed, no TIME_WAIT",
                "CAP_NET_ADMIN where the network namespace belongs, no seccomp filter against AF_NETLINK, and a kernel \
                 with CONFIG_INET_DIAG_DESTROY",
            ),
        ),
    };
    let shutdown = match can_shut_down(&world.proc) {
        Ok(()) => Check::ok(Topic::Clear, "shutdown", "shutdown(2) on a copy", of_whom),
        Err(why) => Check::missing(
            Topic::Clear,
            "shutdown",
            "shutdown(2) on a copy",
            why,
            (
                "`clear` cannot end sockets of MPTCP, and nothing where SOCK_DESTROY is missing",
                "Linux 5.6, the pid namespace of /proc, and no seccomp filter against pidfd_open(2) and pidfd_getfd(2)",
            ),
        ),
    };
    vec![destroy, shutdown]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(id: &'static str, outcome: Outcome) -> KernelFact {
        KernelFact { id, name: "name", outcome, lost: "much", remedy: "another kernel" }
    }

    #[test]
    fn only_where_nothing_traces_transitions_is_a_refusal_needed() {
        let refused = |id| fact(id, Outcome::Refused("no".to_owned()));
        assert!(!check(&refused("btf"), &[], true).is_needed);
        assert!(check(&refused("btf"), &FOR_TRANSITIONS, true).is_needed);
        assert!(!check(&refused("accept4"), &FOR_TRANSITIONS, true).is_needed);
    }

    #[test]
    fn what_nobody_tried_is_not_said_to_be_there() {
        let check = check(&fact("accept4", Outcome::Untried), &[], true);
        assert_eq!((check.state, check.lost, check.is_needed), (State::NotTried, None, false));
        let works = super::check(&fact("tracefs", Outcome::Works("/sys".to_owned())), &[], true);
        assert_eq!((works.state, works.detail.as_deref()), (State::Ok, Some("/sys")));
    }

    #[test]
    fn a_kernel_is_not_blamed_for_what_the_host_lacks() {
        let remedy = |why: &str, has_sysfs| {
            check(&fact("btf", Outcome::Refused(why.to_owned())), &[], has_sysfs).remedy.unwrap_or_default()
        };
        let no_file = "/sys/kernel/btf/vmlinux: No such file or directory (os error 2)";
        assert_eq!(remedy(no_file, true), "another kernel");
        assert!(remedy(no_file, false).contains("mount -t sysfs"));
        assert!(remedy("Too many open files (os error 24)", true).contains("ulimit"));
    }

    #[test]
    fn lockdown_is_in_the_way_where_it_keeps_programs_out() {
        assert_eq!(lockdown(Lockdown::Integrity, true).state, State::Ok);
        assert_eq!(lockdown(Lockdown::Confidentiality, true).state, State::Missing);
        assert_eq!(lockdown(Lockdown::Confidentiality, false).state, State::Ok);
    }
}
