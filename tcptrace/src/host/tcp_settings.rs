//! The settings under /proc/sys/net/ipv4 that decide about TIME_WAIT and local ports. Read, never written.
//!
//! They belong to a network namespace, and /proc shows those of the thread that reads.

use std::{fs, path::Path, str::FromStr};

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

impl TcpSettings {
    /// Reads those of the calling thread's namespace; `proc_root` is /proc.
    pub fn read(proc_root: &Path) -> Self {
        let directory = proc_root.join("sys/net/ipv4");
        let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let number = |name: &str| text(name).and_then(|text| text.trim().parse().ok());
        Self {
            tcp_tw_reuse: number("tcp_tw_reuse"),
            tcp_tw_reuse_delay: number("tcp_tw_reuse_delay"),
            tcp_tw_recycle: number("tcp_tw_recycle"),
            tcp_timestamps: number("tcp_timestamps"),
            tcp_fin_timeout: number("tcp_fin_timeout"),
            tcp_max_tw_buckets: text("tcp_max_tw_buckets").and_then(|text| text.trim().parse().ok()),
            ip_local_port_range: text("ip_local_port_range").and_then(|text| two_numbers(&text)),
            ip_local_reserved_ports: text("ip_local_reserved_ports").map(|text| text.trim().to_owned()),
            ip_unprivileged_port_start: text("ip_unprivileged_port_start")
                .and_then(|text| text.trim().parse().ok()),
        }
    }
}

fn two_numbers<T: FromStr>(text: &str) -> Option<(T, T)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_have_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("sys/net/ipv4");
        fs::create_dir_all(&directory).unwrap();
        for (name, value) in [
            ("tcp_tw_reuse", "2\n"),
            ("tcp_max_tw_buckets", "131072\n"),
            ("ip_local_port_range", "32768\t60999\n"),
            ("ip_local_reserved_ports", "8080,9000-9005\n"),
            ("tcp_fin_timeout", "nonsense\n"),
        ] {
            fs::write(directory.join(name), value).unwrap();
        }
        let expected = TcpSettings {
            tcp_tw_reuse: Some(2),
            tcp_max_tw_buckets: Some(131_072),
            ip_local_port_range: Some((32_768, 60_999)),
            ip_local_reserved_ports: Some("8080,9000-9005".to_owned()),
            ..TcpSettings::default()
        };
        assert_eq!(TcpSettings::read(root.path()), expected);
    }
}
