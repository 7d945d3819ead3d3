//! Since when a socket has been in CLOSE_WAIT that was there before anybody looked. Pure.

use crate::{sock_diag::ActivityTimes, sockets::Since};

/// Jiffies begin five minutes before zero: `INITIAL_JIFFIES` of include/linux/jiffies.h.
const JIFFIES_AHEAD_MS: u64 = 300_000;

/// Between which moments the peer's FIN came, seen at `now_ns` (CLOCK_MONOTONIC).
pub fn bracket(now_ns: u64, times: Option<ActivityTimes>) -> Since {
    let Some(times) = times else { return Since::within(None, now_ns) };
    let ago = |milliseconds: u32| now_ns.checked_sub(u64::from(milliseconds) * 1_000_000);
    // Every segment after the SYN acknowledges something, the FIN too: the last one came at the FIN or
    // later, because this side may still have been sending.
    let at_latest = ago(times.last_ack_recv_ms).unwrap_or(now_ns);
    // The last data came before the FIN. Where none ever came, the kernel counts from jiffies zero.
    let since_zero = (now_ns / 1_000_000).abs_diff(u64::from(times.last_data_recv_ms) + JIFFIES_AHEAD_MS);
    let at_earliest = if since_zero < 2_000 { None } else { ago(times.last_data_recv_ms) };
    Since::within(at_earliest, at_latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(sent: u32, received: u32, acknowledged: u32) -> Option<ActivityTimes> {
        Some(ActivityTimes {
            last_data_sent_ms: sent,
            last_data_recv_ms: received,
            last_ack_recv_ms: acknowledged,
        })
    }

    #[test]
    fn a_socket_is_as_old_as_between_its_last_acknowledgment_and_its_last_data() {
        let now = 5_000 * SECOND;
        let age = |times| bracket(now, times).age_at(now);
        assert_eq!(age(times(9_000, 8_000, 3_000)), (3 * SECOND, Some(8 * SECOND)));
        assert_eq!(age(None), (0, None));
    }

    #[test]
    fn without_any_data_there_is_no_upper_bound() {
        let most = |now, times| bracket(now, times).age_at(now).1;
        // The kernel counts from jiffies zero, five minutes after boot …
        assert_eq!(most(5_000 * SECOND, times(0, 4_700_010, 3_000)), None);
        // … or, in the first five minutes, from before it wrapped around.
        assert_eq!(most(200 * SECOND, times(0, u32::MAX - 100_000, 3_000)), None);
    }
}
