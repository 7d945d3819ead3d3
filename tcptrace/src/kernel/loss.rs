//! What is lost where the kernel refuses a feature: the ends of sentences that warnings and `doctor` have in common.

pub(super) const TYPED_TRACEPOINT: &str =
    "falling back to the classic tracepoint, which costs more and knows no cookies";
pub(super) const RING_BUFFERS: &str = "each CPU has a buffer of its own instead (a perf event array), which costs more and \
                                       is full sooner when all happens on one CPU";
pub(super) const DEEP: &str = "`leaks --deep` cannot name who read the end of file";
pub(super) const ACCEPTS: &str = "who accepted a socket stays unknown";
pub(super) const TYPES: &str =
    "who accepted a socket, callers without frame pointers and lines of Python stay unknown";
pub(super) const STACK_COPIES: &str = "callers without frame pointers stay unknown";
pub(super) const PYTHON_FRAMES: &str = "lines of Python stay unknown";
pub(super) const ITERATOR: &str = "descriptor tables are read from /proc, which is slower";
pub(super) const QUEUES: &str = "a connection may be told of all listeners that share its port";
pub(super) const SLEEPERS: &str = "who sleeps in a call on a socket whose descriptor was closed is not named";
