//! The settings that decide about TIME_WAIT and local ports. Reads nothing itself.

use serde::Serialize;

/// The settings of one namespace, by the names of the kernel (Documentation/networking/ip-sysctl.rst).
/// `None` where this kernel has none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpSettings {
    /// Whether connect() may take over a port in TIME_WAIT: 0 never, 1 yes, 2 over loopback.
    pub tcp_tw_reuse: Option<u32>,
    /// After how many milliseconds in TIME_WAIT it may; since Linux 6.14.
    pub tcp_tw_reuse_delay: Option<u32>,
    /// Removed in Linux 4.12.
    pub tcp_tw_recycle: Option<u32>,
    /// Whether timestamps are offered to peers: 0 no, 1 and 2 yes.
    pub tcp_timestamps: Option<u32>,
    /// Seconds that a closed socket stays in FIN_WAIT2.
    pub tcp_fin_timeout: Option<u32>,
    /// Minisockets that the namespace may have.
    pub tcp_max_tw_buckets: Option<u64>,
    /// The first and the last port that connect() chooses from.
    pub ip_local_port_range: Option<(u16, u16)>,
    /// Those of them that it leaves alone: `8080,9000-9005`.
    pub ip_local_reserved_ports: Option<String>,
    /// The first port that needs no privilege; the range cannot begin below it.
    pub ip_unprivileged_port_start: Option<u16>,
}
