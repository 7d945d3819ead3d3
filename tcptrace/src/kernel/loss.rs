//! What is lost where the kernel refuses a feature, and what has it: the ends of sentences that warnings and `doctor` have in
//! common.

/// A feature that a kernel may lack.
pub(super) struct Lack {
    /// What is lost without it.
    pub(super) lost: &'static str,
    /// How to get it.
    pub(super) remedy: &'static str,
}

const SYSCALLS: &str = "a kernel built with CONFIG_FTRACE_SYSCALLS; CAP_PERFMON, or CAP_SYS_ADMIN where \
                        kernel.perf_event_paranoid is 3 or more";

pub(super) const TYPED_TRACEPOINT: Lack = Lack {
    lost: "falling back to the classic tracepoint, which costs more and knows no cookies",
    remedy: "Linux 5.12 with BTF",
};
pub(super) const RING_BUFFERS: Lack = Lack {
    lost: "each CPU has a buffer of its own instead (a perf event array), which costs more and is full sooner when all happens \
           on one CPU",
    remedy: "Linux 5.8, or a kernel that has ring buffers from there (RHEL 8.5)",
};
pub(super) const DEEP: Lack =
    Lack { lost: "`leaks --deep` cannot name who read the end of file", remedy: "Linux 6.3 with BTF" };
pub(super) const ACCEPTS: Lack = Lack { lost: "who accepted a socket stays unknown", remedy: SYSCALLS };
pub(super) const TYPES: Lack = Lack {
    lost: "who accepted a socket, callers without frame pointers and lines of Python, PHP and Ruby stay unknown",
    remedy: "--btf FILE with the BTF of exactly this kernel, or a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' \
             are since 2020",
};
pub(super) const STACK_COPIES: Lack =
    Lack { lost: "callers without frame pointers stay unknown", remedy: "Linux 5.15 with BTF" };
pub(super) const PYTHON_FRAMES: Lack =
    Lack { lost: "lines of Python, PHP and Ruby stay unknown", remedy: "Linux 5.12 with BTF" };
pub(super) const PROGRAM_STARTS: Lack = Lack { lost: PYTHON_FRAMES.lost, remedy: SYSCALLS };
pub(super) const ITERATOR: Lack = Lack {
    lost: "descriptor tables are read from /proc, which is slower and shows none whose connection is over",
    remedy: "Linux 5.11 with BTF",
};
pub(super) const QUEUES: Lack = Lack {
    lost: "a connection may be told of all listeners that share its port",
    remedy: "Linux 5.11 with BTF",
};
pub(super) const SLEEPERS: Lack = Lack {
    lost: "who sleeps in a call on a socket whose descriptor was closed is not named",
    remedy: "Linux 5.9 with BTF",
};
pub(super) const RUNNING: Lack = Lack {
    lost: "whether a busy thread reads an end of file again and again is concluded from how much of its time is in the kernel",
    remedy: "Linux 5.15 with BTF",
};
