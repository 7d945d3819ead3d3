//! The settings that govern TIME_WAIT and local ports. Reads nothing itself.

use serde::Serialize;

/// The settings of a namespace, by the kernel's names (Documentation/networking/ip-sysctl.rst). `None` if
/// this kernel lacks the setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpSettings {
    /// Whether connect() may take over a port in TIME_WAIT: 0 never, 1 yes, 2 over loopback.
    pub tcp_tw_reuse: Option<u32>,
    /// Milliseconds in TIME_WAIT after which it may; since Linux 6.14.
    pub tcp_tw_reuse_delay: Option<u32>,
    /// Removed in Linux 4.12.
    pub tcp_tw_recycle: Option<u32>,
    /// Whether timestamps are offered to peers: 0 no, 1 and 2 yes.
    pub tcp_timestamps: Option<u32>,
    /// Seconds that a closed socket stays in FIN_WAIT2.
    pub tcp_fin_timeout: Option<u32>,
    /// Most minisockets of the namespace.
    pub tcp_max_tw_buckets: Option<u64>,
    /// The first and the last port that connect() chooses from.
    pub ip_local_port_range: Option<(u16, u16)>,
    /// Ports in the range that it skips: `8080,9000-9005`.
    pub ip_local_reserved_ports: Option<String>,
    /// The first port that needs no privilege; the range cannot begin below it.
    pub ip_unprivileged_port_start: Option<u16>,
}
