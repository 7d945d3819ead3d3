//! What this kernel offers, as a list for people and programs: each feature with what came of trying it, and what is lost
//! without it. Tries nothing.

use std::{path::PathBuf, sync::Arc};

use super::{
    error::LoadError,
    loss::{self, Lack},
    support::{Support, Trial},
    types::KernelTypes,
};
use crate::host::tracefs::TracefsError;

/// What came of trying a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The kernel has it; in words, where there is more to say.
    Works(String),
    /// The kernel does not have it or refuses it: why.
    Refused(String),
    /// What it takes is not there.
    Untried,
}

impl Outcome {
    fn of<T>(trial: &Trial<T>, describe: impl Fn(&T) -> String) -> Self {
        match trial {
            Trial::Works(value) => Self::Works(describe(value)),
            Trial::Refused(error) => Self::Refused(error.to_string()),
            Trial::Untried => Self::Untried,
        }
    }

    fn plain(trial: &Trial) -> Self {
        Self::of(trial, |()| String::new())
    }
}

/// A feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelFact {
    /// For programs: a promise.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// What is lost without it.
    pub(crate) lost: &'static str,
    /// How to get it.
    pub(crate) remedy: &'static str,
}

impl Support {
    /// Every feature that the tool can use.
    pub(crate) fn facts(&self) -> Vec<KernelFact> {
        let mut facts = [self.ways_in(), self.calls(), self.iterators()].concat();
        for fact in &mut facts {
            // The kernel may well have what it does not permit.
            if let Outcome::Refused(why) = &fact.outcome {
                let is_forbidden =
                    why.ends_with(LoadError::NOT_PERMITTED) || why.ends_with(LoadError::NO_PERF_EVENTS);
                if is_forbidden && self.lacks_rights() {
                    fact.outcome = Outcome::Untried;
                } else if why.ends_with(LoadError::NOT_PERMITTED) {
                    fact.remedy = "root, or CAP_BPF and CAP_PERFMON, outside a container that forbids bpf(2)";
                } else if why.ends_with(TracefsError::IT_TAKES) {
                    fact.remedy = TracefsError::IT_TAKES;
                }
            }
        }
        facts
    }

    /// How transitions are seen.
    fn ways_in(&self) -> Vec<KernelFact> {
        let Self {
            types,
            tracefs,
            transition_layout,
            ring_buffers,
            perf_buffers,
            typed_tracepoint,
            classic_tracepoint,
            ..
        } = self;
        vec![
            KernelFact {
                id: "btf",
                name: "BTF",
                outcome: Outcome::of(types, absent_fields),
                lost: loss::TYPES.lost,
                remedy: loss::TYPES.remedy,
            },
            KernelFact {
                id: "ring_buffer",
                name: "maps, ring buffer",
                outcome: Outcome::plain(ring_buffers),
                lost: match perf_buffers {
                    Trial::Refused(_) => "no record leaves the kernel: perf event arrays are refused too",
                    Trial::Works(()) | Trial::Untried => loss::RING_BUFFERS.lost,
                },
                remedy: loss::RING_BUFFERS.remedy,
            },
            KernelFact {
                id: "perf_buffers",
                name: "maps, perf event array",
                outcome: Outcome::plain(perf_buffers),
                lost: "nothing stands in where ring buffers are refused",
                remedy: "CAP_PERFMON, and CAP_IPC_LOCK or a larger RLIMIT_MEMLOCK",
            },
            KernelFact {
                id: "typed_tracepoint",
                name: "typed tracepoint, socket storage",
                outcome: Outcome::plain(typed_tracepoint),
                lost: loss::TYPED_TRACEPOINT.lost,
                remedy: loss::TYPED_TRACEPOINT.remedy,
            },
            KernelFact {
                id: "tracefs",
                name: "tracefs",
                outcome: Outcome::of(tracefs, |root: &PathBuf| root.display().to_string()),
                lost: "neither the classic tracepoint nor system calls can be traced",
                remedy: "a kernel built with CONFIG_EVENT_TRACING, and a mount of tracefs",
            },
            KernelFact {
                id: "tracepoint_layout",
                name: "layout of sock:inet_sock_set_state",
                outcome: Outcome::of(transition_layout, |_| String::new()),
                lost: "the classic tracepoint cannot stand in for the typed one",
                remedy: "read rights below tracefs (root, or CAP_DAC_READ_SEARCH)",
            },
            KernelFact {
                id: "classic_tracepoint",
                name: "classic tracepoint",
                outcome: Outcome::plain(classic_tracepoint),
                lost: "nothing stands in where the typed tracepoint is refused",
                remedy: "CAP_PERFMON; CAP_SYS_ADMIN where kernel.perf_event_paranoid is 3 or more; no seccomp filter against \
                         perf_event_open(2)",
            },
        ]
    }

    /// What is seen of calls.
    fn calls(&self) -> Vec<KernelFact> {
        let Self {
            accept4,
            accept,
            receive_layout,
            receive,
            stack_copies,
            python_frames,
            program_starts,
            ..
        } = self;
        let plain = Outcome::plain;
        let layout = Outcome::of(receive_layout, |_| String::new());
        vec![
            fact("accept4", "end of accept4()", plain(accept4), &loss::ACCEPTS),
            fact("accept", "end of accept()", plain(accept), &loss::ACCEPTS),
            fact("stack_copies", "copies of user stacks", plain(stack_copies), &loss::STACK_COPIES),
            fact(
                "python_frames",
                "frames of Python, PHP and Ruby",
                plain(python_frames),
                &loss::PYTHON_FRAMES,
            ),
            fact("program_starts", "starts of programs", plain(program_starts), &loss::PROGRAM_STARTS),
            fact("receive_layout", "layout of sock:sock_recv_length", layout, &loss::DEEP),
            fact("receive", "end of receive calls", plain(receive), &loss::DEEP),
        ]
    }

    /// What is seen of descriptors and queues.
    fn iterators(&self) -> Vec<KernelFact> {
        let Self { iterator, queues, sleepers, running, .. } = self;
        let plain = Outcome::plain;
        vec![
            fact("iterator", "iterator over descriptors", plain(iterator), &loss::ITERATOR),
            fact("queues", "iterator over accept queues", plain(queues), &loss::QUEUES),
            fact("sleepers", "iterator over wait queues", plain(sleepers), &loss::SLEEPERS),
            fact("running", "iterator over threads that run", plain(running), &loss::RUNNING),
        ]
    }
}

fn fact(id: &'static str, name: &'static str, outcome: Outcome, lack: &Lack) -> KernelFact {
    KernelFact { id, name, outcome, lost: lack.lost, remedy: lack.remedy }
}

fn absent_fields(types: &Arc<KernelTypes>) -> String {
    let absent = types.absent.iter().map(|field| format!("{}.{}", field.structure, field.path.join(".")));
    let absent: Vec<String> = absent.collect();
    if absent.is_empty() { String::new() } else { format!("without {}", absent.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::host::privilege::Privileges;

    #[test]
    fn what_nobody_tried_is_untried_and_each_fact_has_a_name_of_its_own() {
        let facts = Support::default().facts();
        assert!(facts.iter().all(|fact| fact.outcome == Outcome::Untried), "{facts:?}");
        let ids: BTreeSet<&str> = facts.iter().map(|fact| fact.id).collect();
        assert_eq!(ids.len(), facts.len());
    }

    #[test]
    fn what_was_refused_for_want_of_rights_says_nothing_of_the_kernel() {
        let refused = || {
            LoadError::refused("try", &Wrapped(std::io::Error::from(std::io::ErrorKind::PermissionDenied)))
        };
        let outcome = |support: &Support| {
            let facts = support.facts();
            facts.into_iter().find(|fact| fact.id == "ring_buffer").map(|fact| fact.outcome)
        };
        let root = Support { ring_buffers: Trial::Refused(refused()), ..Support::default() };
        assert!(matches!(outcome(&root), Some(Outcome::Refused(_))), "a container that forbids bpf(2)");
        let inner = Support { is_in_user_namespace: true, ..root.clone() };
        assert_eq!(outcome(&inner), Some(Outcome::Untried));
        let privileges = Privileges::of(rustix::thread::CapabilitySet::empty());
        assert_eq!(outcome(&Support { privileges, ..root }), Some(Outcome::Untried));
    }

    /// An error with a cause, as those of aya are.
    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Wrapped(#[source] std::io::Error);

    #[test]
    fn ring_buffers_are_replaced_only_where_something_stands_in() {
        let refused = || Trial::Refused(LoadError::refused("try", &std::io::Error::from_raw_os_error(22)));
        let lost = |support: Support| {
            support.facts().into_iter().find(|fact| fact.id == "ring_buffer").map(|fact| fact.lost)
        };
        let ring = Support { ring_buffers: refused(), perf_buffers: Trial::Works(()), ..Support::default() };
        assert_eq!(lost(ring.clone()), Some(loss::RING_BUFFERS.lost));
        assert_ne!(lost(Support { perf_buffers: refused(), ..ring }), Some(loss::RING_BUFFERS.lost));
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_kernel() {
        let support = Support {
            types: Trial::Refused(LoadError::NoBtf { path: "/btf".into(), reason: "not there".into() }),
            ..Support::default()
        };
        let facts = support.facts();
        let btf = facts.iter().find(|fact| fact.id == "btf").map(|fact| &fact.outcome);
        assert!(matches!(btf, Some(Outcome::Refused(why)) if why.contains("not there")), "{btf:?}");
    }
}
