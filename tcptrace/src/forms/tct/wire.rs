//! The primitives of the format: numbers of variable length, and texts. Reading is total: missing bytes are
//! an error value, and no count allocates more than the bytes can hold.

use bytes::BufMut;
use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Writes a number: seven bits a byte, the lowest first, the top bit set on all bytes but the last.
#[inline]
pub(crate) fn put_varint(out: &mut impl BufMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8((number & 0x7f) as u8);
}

/// As [`put_varint`], for numbers beyond 64 bits.
fn put_wide(out: &mut impl BufMut, mut number: u128) {
    while number >= 0x80 {
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8((number & 0x7f) as u8);
}

/// Writes a number with a sign, which is the lowest bit.
pub(crate) fn put_signed(out: &mut impl BufMut, number: i128) {
    put_wide(out, (number.unsigned_abs() << 1) | u128::from(number < 0));
}

/// Writes a number that may not be known: 0 when it is not, else the number plus one.
pub(crate) fn put_known(out: &mut impl BufMut, number: Option<u64>) {
    put_wide(out, number.map_or(0, |number| u128::from(number) + 1));
}

/// Writes a text: its length in bytes, then UTF-8.
pub(crate) fn put_text(out: &mut impl BufMut, text: &str) {
    put_varint(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}

/// Writes a text that may not be known: 0 when it is not, else its length plus one, then UTF-8.
pub(crate) fn put_known_text(out: &mut impl BufMut, text: Option<&str>) {
    put_known(out, text.map(|text| text.len() as u64));
    out.put_slice(text.unwrap_or_default().as_bytes());
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a number is too large"))
    }

    fn wide(&mut self) -> Result<u128, Malformed> {
        let mut number = 0;
        for shift in (0..126).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a number is too large"))
    }

    /// A number that has to fit into 32 bits.
    pub(crate) fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed("a number is too large"))
    }

    pub(crate) fn signed(&mut self) -> Result<i128, Malformed> {
        let number = self.wide()?;
        let magnitude = (number >> 1).cast_signed();
        Ok(if number & 1 == 0 { magnitude } else { -magnitude })
    }

    pub(crate) fn known(&mut self) -> Result<Option<u64>, Malformed> {
        let number = self.wide()?.checked_sub(1);
        number.map(u64::try_from).transpose().map_err(|_| Malformed("a number is too large"))
    }

    /// As [`Input::known`], of a number that has to fit into 32 bits.
    pub(crate) fn known_small(&mut self) -> Result<Option<u32>, Malformed> {
        self.known()?.map(u32::try_from).transpose().map_err(|_| Malformed("a number is too large"))
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let length = self.varint()?;
        self.text_of(length)
    }

    pub(crate) fn known_text(&mut self) -> Result<Option<String>, Malformed> {
        self.known()?.map(|length| self.text_of(length)).transpose()
    }

    fn text_of(&mut self, length: u64) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| Malformed("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// A count of things of which each takes a byte at least: no more than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.varint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.0.len())
            .ok_or(Malformed("a count is larger than what is there"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back(number in any::<u64>(), shift in 0..64u32, signed in -(1i128 << 124)..1i128 << 124) {
            let number = number >> shift;
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, number);
            put_known(&mut bytes, Some(number));
            put_known(&mut bytes, None);
            put_signed(&mut bytes, signed);
            let mut input = Input(&bytes);
            prop_assert_eq!(input.varint(), Ok(number));
            prop_assert_eq!(input.known(), Ok(Some(number)));
            prop_assert_eq!(input.known(), Ok(None));
            prop_assert_eq!(input.signed(), Ok(signed));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn texts_read_back(text in any::<String>()) {
            let mut bytes = BytesMut::new();
            put_text(&mut bytes, &text);
            put_known_text(&mut bytes, Some(&text));
            put_known_text(&mut bytes, None);
            let mut input = Input(&bytes);
            prop_assert_eq!(input.text(), Ok(text.clone()));
            prop_assert_eq!(input.known_text(), Ok(Some(text)));
            prop_assert_eq!(input.known_text(), Ok(None));
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_errors() {
        assert_eq!(Input(&[0xff; 9]).varint(), Err(Malformed("it ends too early")));
        assert_eq!(Input(&[0xff; 20]).varint(), Err(Malformed("a number is too large")));
        assert!(Input(&[0xff; 40]).signed().is_err());
        let mut largest = BytesMut::new();
        put_varint(&mut largest, u64::MAX);
        assert_eq!(Input(&largest).varint(), Ok(u64::MAX));
        assert!(Input(&largest).small().is_err());
    }

    #[test]
    fn a_count_is_bounded_by_what_is_there() {
        assert_eq!(Input(&[2, 0, 0]).count(), Ok(2));
        assert!(Input(&[3, 0, 0]).count().is_err());
        assert!(Input(&[0xff, 0xff, 0xff, 0xff, 0x7f, 0]).text().is_err());
    }
}
