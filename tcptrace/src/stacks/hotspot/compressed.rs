//! HotSpot's compressed numbers: UNSIGNED5, and the table of line numbers that is made of them. Pure.
//!
//! Sources: src/hotspot/share/utilities/unsigned5.hpp (JDK 20 and later), code/compressedStream.cpp (before), and
//! `CompressedLineNumberReadStream` in oops/method.cpp.

/// Most bytes of one number.
const MAX_LENGTH: u32 = 5;

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Before JDK 20: a byte below 192 ends a number.
    WithZero,
    /// Since JDK 20: no byte is zero, so each digit is one less than its byte.
    WithoutZero,
}

impl Coding {
    pub(super) fn of_version(major: u32) -> Self {
        if major < 20 { Self::WithZero } else { Self::WithoutZero }
    }

    /// The next number; `None` where the bytes end, or make no sense.
    pub(super) fn read(self, mut next: impl FnMut() -> Option<u8>) -> Option<u32> {
        /// Bytes from here on are followed by another digit.
        const FIRST_HIGH: u8 = 192;
        let excluded = match self {
            Self::WithZero => 0,
            Self::WithoutZero => 1,
        };
        let mut sum = 0_u32;
        for place in 0..MAX_LENGTH {
            let byte = next()?;
            let digit = byte.checked_sub(excluded)?;
            sum = sum.wrapping_add(u32::from(digit) << (6 * place));
            if byte < FIRST_HIGH {
                break;
            }
        }
        Some(sum)
    }

    /// The line of an instruction, by the table of a method; `bci` is the index of its byte. Where no entry is there for
    /// it, that of the nearest one before (`Method::line_number_from_bci`).
    pub(super) fn line(self, table: impl IntoIterator<Item = u8>, bci: u32) -> Option<u32> {
        let mut bytes = table.into_iter();
        let (mut at, mut line) = (0_i32, 0_i32);
        let mut best: Option<(i32, i32)> = None;
        while let Some(byte) = bytes.next().filter(|byte| *byte != 0) {
            if byte == 0xff {
                at = at.wrapping_add(signed(self.read(|| bytes.next())?));
                line = line.wrapping_add(signed(self.read(|| bytes.next())?));
            } else {
                // Five bits of distance, three of lines.
                at = at.wrapping_add(i32::from(byte >> 3));
                line = line.wrapping_add(i32::from(byte & 7));
            }
            let is_before = u32::try_from(at).is_ok_and(|at| at <= bci);
            if is_before && best.is_none_or(|(nearest, _)| nearest <= at) {
                best = Some((at, line));
            }
        }
        best.and_then(|(_, line)| u32::try_from(line).ok()).filter(|line| *line > 0)
    }
}

/// The lowest bit is the sign.
fn signed(value: u32) -> i32 {
    let half = (value >> 1).cast_signed();
    if value & 1 == 0 { half } else { !half }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(coding: Coding, bytes: &[u8]) -> Option<u32> {
        let mut bytes = bytes.iter().copied();
        coding.read(|| bytes.next())
    }

    #[test]
    fn numbers_are_read_as_both_codings_write_them() {
        for (bytes, expected) in [
            (&[0][..], Some(0)),
            (&[191], Some(191)),
            (&[192, 0], Some(192)),
            (&[255, 1], Some(255 + 64)),
            (&[192], None),
            (&[], None),
        ] {
            assert_eq!(read(Coding::WithZero, bytes), expected, "{bytes:?}");
        }
        for (bytes, expected) in [
            (&[1][..], Some(0)),
            (&[191], Some(190)),
            (&[192, 1], Some(191)),
            (&[0], None),
            (&[192, 0], None),
            (&[255, 255, 255, 255, 255], Some(254_u32.wrapping_mul(1 + 64 + 4096 + (1 << 18) + (1 << 24)))),
        ] {
            assert_eq!(read(Coding::WithoutZero, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_sign_is_the_lowest_bit() {
        assert_eq!([0, 1, 2, 3].map(signed), [0, -1, 1, -2]);
    }

    #[test]
    fn a_line_is_that_of_the_nearest_entry_before() {
        // From 0 on line 7, from 4 on line 9, from 40 on line 2: far, and backwards.
        let table = [7, (4 << 3) | 2, 0xff, 72 + 1, 13 + 1, 0];
        let line = |bci| Coding::WithoutZero.line(table, bci);
        assert_eq!([0, 3, 4, 39, 40, 99].map(line), [7, 7, 9, 9, 2, 2].map(Some));
        let later = [(4 << 3) | 2, 0];
        assert_eq!(Coding::WithZero.line(later, 3), None);
        assert_eq!(Coding::WithZero.line([], 3), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes: Vec<u8>, bci: u32) {
            for coding in [Coding::WithZero, Coding::WithoutZero] {
                coding.line(bytes.iter().copied(), bci);
                read(coding, &bytes);
            }
        }
    }
}
