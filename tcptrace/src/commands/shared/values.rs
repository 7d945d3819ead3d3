//! Parses option values. Each error says what would have been right.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};
use tcptrace_ebpf::record::{STACK_BYTES, STACK_CHUNK};

use ipnet::IpNet;

use crate::report::sums::MOST_WORST;

/// Sizes in bytes, with units that are powers of 1024.
const SIZES: parse_size::Config = parse_size::Config::new().with_binary();

/// A time: `500ms`, `30s`, `5m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a time is a number with a unit, like 500ms, 30s, 5m or 1h"))
}

/// A whole number within this range, or else `right`: what would have been.
fn number<N: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>, right: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.and_then(|number| number.try_into().ok()).ok_or_else(|| right.to_owned())
}

/// Sockets that are followed at once: each takes memory.
pub(crate) fn most_followed(text: &str) -> Result<u32, String> {
    number(text, 1..=16_000_000, "a number of sockets is a whole number from 1 to 16000000, like 262144")
}

/// Sockets that are ended at most.
pub(crate) fn most_ended(text: &str) -> Result<u32, String> {
    number(text, 1..=u32::MAX.into(), "a number of sockets is a whole number from 1 on, like 10")
}

/// Rows of a table.
pub(crate) fn rows(text: &str) -> Result<usize, String> {
    number(text, 0..=u64::MAX, "a number of rows is a whole number, like 40; 0 lists all")
}

/// Rows of each table of a report, which keeps no more.
pub(crate) fn report_rows(text: &str) -> Result<u8, String> {
    number(text, 1..=MOST_WORST as u64, "a number of rows is a whole number from 1 to 200, like 10")
}

/// Files that are kept.
pub(crate) fn files(text: &str) -> Result<usize, String> {
    number(text, 0..=u64::MAX, "a number of files is a whole number, like 7")
}

/// Commands that run at once.
pub(crate) fn jobs(text: &str) -> Result<u8, String> {
    number(text, 1..=64, "a number of commands is a whole number from 1 to 64, like 4")
}

/// A port that a connection can have.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    const RIGHT: &str =
        "a port is a whole number from 1 to 65535, like 8080; several are given as several options";
    number(text, 1..=u16::MAX.into(), RIGHT)
}

/// The port of the other side; 0 is that of a listener, which has none.
pub(crate) fn remote_port(text: &str) -> Result<u16, String> {
    if text == "0" { Ok(0) } else { port(text) }
}

/// The number of a process.
pub(crate) fn pid(text: &str) -> Result<u32, String> {
    /// `PID_MAX_LIMIT` of Linux on 64 bits.
    const MOST: u32 = 1 << 22;
    let right = format!("a pid is a whole number from 1 to {MOST}, like 812; names are given with --comm");
    number(text, 1..=MOST.into(), &right)
}

/// What a process is called.
pub(crate) fn comm(text: &str) -> Result<String, String> {
    /// `TASK_COMM_LEN` of Linux, less the zero at the end.
    const MOST: usize = 15;
    if text.is_empty() {
        return Err("a name has one byte at least: `ps -o comm` prints it".to_owned());
    }
    if text.len() > MOST {
        let kept =
            text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MOST).last().unwrap_or_default();
        let kept = text.get(..kept).unwrap_or_default();
        return Err(format!(
            "the kernel keeps {MOST} bytes of a name, as `ps -o comm` prints it: try {kept:?}"
        ));
    }
    Ok(text.to_owned())
}

/// A time that is not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time longer than nothing, like 10m, 1h or 1d".to_owned();
    duration(text).and_then(|duration| if duration.is_zero() { Err(wrong()) } else { Ok(duration) })
}

/// A size of the ring buffer in bytes, with K, M or G; rounded up to a power of two.
pub(crate) fn ring_bytes(text: &str) -> Result<u32, String> {
    let wrong = || "a size is a number of bytes from 64K to 1G, like 4194304, 4096K or 4M".to_owned();
    let bytes = bytes(text).filter(|bytes| (65_536..=1 << 30).contains(bytes)).ok_or_else(wrong)?;
    u32::try_from(bytes.next_power_of_two()).map_err(|_| wrong())
}

/// How much of a stack is copied, in bytes, with K; rounded up to the steps in which it is read.
pub(crate) fn stack_bytes(text: &str) -> Result<u32, String> {
    let wrong = || "a size is a number of bytes from 0 to 16K, like 8192 or 8K".to_owned();
    let bytes = bytes(text).filter(|bytes| *bytes <= STACK_BYTES as u64).ok_or_else(wrong)?;
    u32::try_from(bytes.next_multiple_of(STACK_CHUNK as u64)).map_err(|_| wrong())
}

/// A size of files in bytes, with K, M, G or T.
pub(crate) fn file_bytes(text: &str) -> Result<u64, String> {
    let wrong = || "a size is a number of bytes, 64K at least, like 65536, 100M or 2G".to_owned();
    bytes(text).filter(|bytes| *bytes >= 65_536).ok_or_else(wrong)
}

/// A whole number of bytes; units are powers of 1024, whether typed as M, MB or MiB.
fn bytes(text: &str) -> Option<u64> {
    // The parser takes fractions too, and blanks within the number.
    let is_whole = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    SIZES.parse_size(text).ok().filter(|_| is_whole)
}

/// An address, or a range of them in CIDR notation.
pub(crate) fn address_range(text: &str) -> Result<IpNet, String> {
    let wrong = || "an address or a range like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32".to_owned();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let host = IpNet::from(address);
    let prefix = prefix.map_or(Ok(host.prefix_len()), str::parse).map_err(|_| wrong())?;
    let family = if address.is_ipv4() { 4 } else { 6 };
    IpNet::new(address, prefix)
        .map_err(|_| format!("an IPv{family} range has at most /{}", host.max_prefix_len()))
}

/// A share in percent, from 1 to 100.
pub(crate) fn percent(text: &str) -> Result<u64, String> {
    let percent = text.trim_end().strip_suffix('%').unwrap_or(text).trim();
    number(percent, 1..=100, "a share is a whole number from 1 to 100, like 80% or 80")
}

/// Permissions of a file, in octal.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    let wrong = || "permissions are octal digits like 0600, 0640 or 644".to_owned();
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_become_powers_of_two() {
        assert_eq!(ring_bytes("4M"), Ok(4 << 20));
        assert_eq!(ring_bytes("100k"), Ok(128 << 10));
        assert_eq!(ring_bytes("65536"), Ok(65_536));
        for wrong in ["", "K", "4", "2G", "-1M", "18446744073709551615G", "vier"] {
            assert!(ring_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_checked_against_their_family() {
        let range =
            |address: [u8; 4], prefix| IpNet::new(address.into(), prefix).map_err(|error| error.to_string());
        assert_eq!(address_range("10.0.0.0/8"), range([10, 0, 0, 0], 8));
        assert_eq!(address_range("192.0.2.7"), range([192, 0, 2, 7], 32));
        assert_eq!(address_range("10.1.2.3/8"), range([10, 1, 2, 3], 8), "as typed");
        assert_eq!(
            address_range("2001:db8::1").map(|range| range.to_string()),
            Ok("2001:db8::1/128".to_owned())
        );
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0/8", "host", "1.2.3.4/", "/8", "010.0.0.0/8"] {
            assert!(address_range(wrong).is_err(), "{wrong}");
        }
        let error = |text| address_range(text).err();
        assert_eq!(error("10.0.0.0/33").as_deref(), Some("an IPv4 range has at most /32"));
        assert_eq!(error("::/129").as_deref(), Some("an IPv6 range has at most /128"));
    }

    #[test]
    fn nonsense_durations_are_refused_with_an_example() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "10", "ten seconds", "-5s", "5 fortnights", "99999999999999999999s"] {
            assert!(duration(wrong).is_err_and(|error| error.contains("30s")), "{wrong}");
        }
    }

    #[test]
    fn numbers_that_do_not_parse_are_explained_in_the_words_of_the_option() {
        assert_eq!(
            (port("8080"), pid("812"), comm("php-fpm")),
            (Ok(8080), Ok(812), Ok("php-fpm".to_owned()))
        );
        for wrong in ["", "0", "65536", "http", "80-90", "-1"] {
            assert!(port(wrong).is_err_and(|error| error.contains("like 8080")), "{wrong}");
        }
        for wrong in ["", "0", "abc", "9999999"] {
            assert!(pid(wrong).is_err_and(|error| error.contains("--comm")), "{wrong}");
        }
        assert_eq!((remote_port("0"), remote_port("443")), (Ok(0), Ok(443)));
        assert!(remote_port("00000x").is_err());
        assert!(comm("averyveryverylongname").is_err_and(|error| error.contains("\"averyveryverylo\"")));
        assert!(comm("").is_err());
    }

    #[test]
    fn numbers_have_a_range_and_say_which() {
        assert_eq!((jobs("1"), jobs("64")), (Ok(1), Ok(64)));
        for wrong in ["0", "65", "-1", "1.5", "", "x", "99999999999999999999999"] {
            assert!(jobs(wrong).is_err_and(|error| error.contains("from 1 to 64")), "{wrong}");
        }
        assert_eq!((rows("0"), files("0")), (Ok(0), Ok(0)));
        assert!(rows("all").is_err_and(|error| error.contains("0 lists all")));
        assert_eq!((most_followed("16000000"), most_ended("4294967295")), (Ok(16_000_000), Ok(u32::MAX)));
        assert!(most_followed("16000001").is_err() && most_ended("4294967296").is_err());
        let most = MOST_WORST.to_string();
        assert!(report_rows(&most).is_ok() && report_rows("0").is_err_and(|error| error.contains(&most)));
    }

    #[test]
    fn shares_are_whole_percents() {
        assert_eq!(percent("80%"), Ok(80));
        assert_eq!(percent("100"), Ok(100));
        for wrong in ["", "%", "0", "101", "0.8", "-5%", "eighty"] {
            assert!(percent(wrong).is_err_and(|error| error.contains("80%")), "{wrong}");
        }
    }

    #[test]
    fn sizes_of_files_and_permissions_are_checked() {
        assert_eq!(file_bytes("2T"), Ok(2 << 40));
        assert_eq!((file_bytes("64KB"), file_bytes("1GiB")), (Ok(64 << 10), Ok(1 << 30)));
        for wrong in ["63K", "", "M", "1.5M", "20000000T", "100 M", "1_000K", "-64K"] {
            assert!(file_bytes(wrong).is_err_and(|error| error.contains("100M")), "{wrong}");
        }
        assert_eq!((mode("0640"), mode("644")), (Ok(0o640), Ok(0o644)));
        for wrong in ["", "1777", "8", "u+r", "-1"] {
            assert!(mode(wrong).is_err_and(|error| error.contains("0600")), "{wrong}");
        }
    }
}
