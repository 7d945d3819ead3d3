//! Whether connect() may take over a local port in TIME_WAIT towards a destination: what `tcp_tw_reuse` means for these
//! sockets. Pure.
//!
//! `tcp_twsk_unique` of net/ipv4/tcp_ipv4.c: the value 2 covers connections with a loopback address at either
//! end (or bound to the loopback device, which is not visible here). The old connection must have had
//! timestamps, which both ends have to offer.

use std::net::IpAddr;

use crate::model::tcp_settings::TcpSettings;

/// How long a socket is in TIME_WAIT before its port can be taken over, without `tcp_tw_reuse_delay` (Linux
/// 6.14). Older kernels wait for the next full second.
const DEFAULT_DELAY_MS: u32 = 1_000;

/// Whether and when connect() may take over a destination's ports in TIME_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// After this many milliseconds.
    After(u32),
    /// Never: `tcp_tw_reuse` is 0 or missing.
    Off,
    /// Never: `tcp_tw_reuse` is 2 and neither end is loopback.
    LoopbackOnly,
    /// Never: `tcp_timestamps` is 0, or the peer sends none.
    NoTimestamps,
    /// If the peer sends timestamps, which no open connection shows.
    PeerUnknown,
}

impl Reuse {
    /// For connections between these addresses. `peer_timestamps`: whether the peer sends them, as seen on an
    /// open connection.
    pub(crate) fn of(
        settings: &TcpSettings,
        local: IpAddr,
        remote: IpAddr,
        peer_timestamps: Option<bool>,
    ) -> Self {
        let is_loopback = local.is_loopback() || remote.is_loopback();
        let peer_timestamps =
            if is_loopback { settings.tcp_timestamps.map(|on| on != 0) } else { peer_timestamps };
        match (settings.tcp_tw_reuse, settings.tcp_timestamps, peer_timestamps) {
            (None | Some(0), ..) => Self::Off,
            (Some(2), ..) if !is_loopback => Self::LoopbackOnly,
            (_, Some(0), _) | (.., Some(false)) => Self::NoTimestamps,
            (.., Some(true)) => Self::After(Self::delay_ms(settings)),
            (.., None) => Self::PeerUnknown,
        }
    }

    /// How long a port must be in TIME_WAIT before it can be taken over, where that is allowed.
    pub(crate) fn delay_ms(settings: &TcpSettings) -> u32 {
        settings.tcp_tw_reuse_delay.unwrap_or(DEFAULT_DELAY_MS)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn of(reuse: u32, timestamps: u32, remote: IpAddr, peer: Option<bool>) -> Reuse {
        let settings = TcpSettings {
            tcp_tw_reuse: Some(reuse),
            tcp_timestamps: Some(timestamps),
            tcp_tw_reuse_delay: Some(500),
            ..TcpSettings::default()
        };
        Reuse::of(&settings, Ipv4Addr::new(10, 0, 0, 1).into(), remote, peer)
    }

    #[test]
    fn two_is_for_loopback_and_one_for_peers_with_timestamps() {
        let far = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let near = IpAddr::V4(Ipv4Addr::new(127, 1, 2, 3));
        assert_eq!(of(0, 1, near, Some(true)), Reuse::Off);
        assert_eq!(of(2, 1, near, None), Reuse::After(500));
        assert_eq!(of(2, 1, Ipv6Addr::LOCALHOST.into(), None), Reuse::After(500));
        assert_eq!(of(2, 1, far, Some(true)), Reuse::LoopbackOnly);
        assert_eq!(of(1, 1, far, Some(true)), Reuse::After(500));
        assert_eq!(of(1, 1, far, Some(false)), Reuse::NoTimestamps);
        assert_eq!(of(1, 1, far, None), Reuse::PeerUnknown);
        assert_eq!(of(1, 0, far, None), Reuse::NoTimestamps);
        assert_eq!(of(2, 0, near, None), Reuse::NoTimestamps);
    }

    #[test]
    fn without_a_setting_for_it_the_delay_is_a_second() {
        assert_eq!(Reuse::delay_ms(&TcpSettings::default()), 1_000);
    }
}
