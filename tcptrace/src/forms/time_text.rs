//! Times as all forms but text write them: RFC 3339 in UTC with nine digits of nanoseconds. Keeps the text of
//! the last second, because records come in the order of time.

use std::io::Write as _;

use jiff::Timestamp;

/// `2026-01-02T03:04:05.000000000Z`.
const LENGTH: usize = 30;
/// Where the digits of the nanoseconds begin.
const DIGITS: usize = 20;

/// Writes times; remembers the last second.
#[derive(Debug, Default)]
pub(crate) struct TimeText {
    second: Option<i64>,
    text: Vec<u8>,
}

impl TimeText {
    /// The time as text.
    pub(crate) fn of(&mut self, time: Timestamp) -> &str {
        std::str::from_utf8(self.bytes_of(time)).unwrap_or_default()
    }

    /// The time as the bytes of its text.
    pub(crate) fn bytes_of(&mut self, time: Timestamp) -> &[u8] {
        let second = time.as_second();
        let mut rest = time.subsec_nanosecond();
        match self.text.get_mut(DIGITS..LENGTH - 1) {
            Some(digits) if self.second == Some(second) && rest >= 0 => {
                for digit in digits.iter_mut().rev() {
                    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
                    let value = (rest % 10) as u8;
                    *digit = b'0' + value;
                    rest /= 10;
                }
            }
            _ => {
                self.text.clear();
                // Writing into memory does not fail.
                let _ = write!(self.text, "{time:.9}");
                // Before 1970 nanoseconds are counted backwards.
                self.second = (second >= 0 && rest >= 0 && self.text.len() == LENGTH).then_some(second);
            }
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_before_1970_is_not_one_of_its_first_second() {
        let mut times = TimeText::default();
        for milliseconds in [200, -300, 900] {
            let time = Timestamp::from_millisecond(milliseconds).unwrap_or_default();
            assert_eq!(times.of(time), format!("{time:.9}"));
        }
    }

    proptest! {
        #[test]
        fn a_kept_second_changes_nothing(
            second in -2_000_000_000_i64..4_000_000_000,
            nanoseconds in proptest::collection::vec(0_i64..2_000_000_000, 1..5),
        ) {
            let mut times = TimeText::default();
            for nanosecond in nanoseconds {
                let all = i128::from(second) * 1_000_000_000 + i128::from(nanosecond);
                let time = Timestamp::from_nanosecond(all).unwrap_or_default();
                prop_assert_eq!(times.of(time), format!("{time:.9}"));
            }
        }
    }
}
