//! Command-line words for values of rooms that know no command line.

use clap::{ValueEnum, builder::PossibleValue};

use crate::{
    kernel::{Backend, HolderSource},
    model::{clearing::Method, verdict::Verdict},
};

impl ValueEnum for Verdict {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Method {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Destroy, Self::Shutdown]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Destroy => PossibleValue::new("destroy").help(
                "The kernel ends it at once (SOCK_DESTROY): its peer is sent a reset, the application reads end of \
                 file and finds ECONNABORTED when it writes",
            ),
            Self::Shutdown => PossibleValue::new("shutdown").help(
                "shutdown(2) on a copy of the holder's descriptor: the peer sees an orderly end, the application \
                 end of file; for sockets in CLOSE_WAIT that a process holds",
            ),
        })
    }
}

impl ValueEnum for Backend {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Btf, Self::Tracepoint]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Btf => PossibleValue::new("btf")
                .help("The typed tracepoint, with state in socket-local storage (Linux 5.12 with BTF)"),
            Self::Tracepoint => {
                PossibleValue::new("tracepoint").help("The classic tracepoint, with state in a hash map")
            }
        })
    }
}

impl ValueEnum for HolderSource {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Iterator, Self::Proc]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Iterator => PossibleValue::new("iterator")
                .help("By the kernel's iterator over all tasks and files (Linux 5.11 with BTF)"),
            Self::Proc => {
                PossibleValue::new("proc").help("By following the links in /proc/PID/fd, which is slower")
            }
        })
    }
}
