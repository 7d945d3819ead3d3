//! Reads the settings under /proc/sys/net/ipv4 that govern TIME_WAIT and local ports. Never writes them.
//!
//! Settings belong to a network namespace; /proc shows those of the reading thread.

use std::{fs, path::Path, str::FromStr};

use crate::model::tcp_settings::TcpSettings;

/// Reads the settings of the calling thread's namespace.
pub(crate) fn read(proc_root: &Path) -> TcpSettings {
    let directory = proc_root.join("sys/net/ipv4");
    let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let number = |name: &str| text(name).and_then(|text| text.trim().parse().ok());
    TcpSettings {
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

fn two_numbers<T: FromStr>(text: &str) -> Option<(T, T)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
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
        assert_eq!(read(root.path()), expected);
    }
}
