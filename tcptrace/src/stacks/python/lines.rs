//! Which line an instruction belongs to, by the table of its code object. The table is a stranger's: any bytes give an
//! answer, in one pass. Pure.

use super::layout::LineFormat;

/// The line of the instruction at `offset`, in bytes from the begin of its code. `None` of an instruction without a line,
/// and of one that the table does not have.
#[must_use]
pub fn line(format: LineFormat, table: &[u8], first_line: i32, offset: u64) -> Option<u32> {
    let line = match format {
        LineFormat::Lnotab => by_lnotab(table, first_line, offset),
        LineFormat::Linetable => by_linetable(table, first_line, offset),
        LineFormat::Locations => by_locations(table, first_line, offset),
    };
    u32::try_from(line?).ok().filter(|line| *line > 0)
}

/// Pairs of how far to go in the code, unsigned, and in the lines, signed. A line begins where the pairs before it lead.
fn by_lnotab(table: &[u8], first_line: i32, offset: u64) -> Option<i32> {
    let (mut at, mut line) = (0, first_line);
    let (pairs, _) = table.as_chunks();
    for [code, lines] in pairs {
        at += u64::from(*code);
        if at > offset {
            break;
        }
        line = line.checked_add(i32::from(lines.cast_signed()))?;
    }
    Some(line)
}

/// Pairs of how far to go in the lines, signed, and of how many bytes of code are on that line. The lowest number marks
/// code without a line, and moves nothing.
fn by_linetable(table: &[u8], first_line: i32, offset: u64) -> Option<i32> {
    const NO_LINE: i8 = -128;
    let (mut end, mut line) = (0, first_line);
    let (pairs, _) = table.as_chunks();
    for [code, lines] in pairs {
        let lines = lines.cast_signed();
        end += u64::from(*code);
        if lines != NO_LINE {
            line = line.checked_add(lines.into())?;
        }
        if offset < end {
            return (lines != NO_LINE).then_some(line);
        }
    }
    None
}

/// Entries of one byte with the highest bit set and more without. The first has the kind in the next four bits, and in the
/// rest how many instructions of two bytes follow the first one.
fn by_locations(table: &[u8], first_line: i32, offset: u64) -> Option<i32> {
    const ENTRY: u8 = 0x80;
    const INSTRUCTION_BYTES: u64 = 2;
    /// The kinds: columns only, line by one digit, line but no columns, everything in full, nothing.
    const ONE_LINE: u8 = 10;
    const NO_COLUMNS: u8 = 13;
    const LONG: u8 = 14;
    const NONE: u8 = 15;
    let (mut end, mut line) = (0, first_line);
    let mut bytes = table.iter().copied().peekable();
    while let Some(first) = bytes.next_if(|byte| byte & ENTRY != 0) {
        let kind = first >> 3 & 0xf;
        let further = match kind {
            0..ONE_LINE | NONE => 0,
            ONE_LINE..NO_COLUMNS => i32::from(kind - ONE_LINE),
            NO_COLUMNS | LONG.. => signed(&mut bytes)?,
        };
        line = line.checked_add(further)?;
        end += (u64::from(first & 7) + 1) * INSTRUCTION_BYTES;
        if offset < end {
            return (kind != NONE).then_some(line);
        }
        while bytes.next_if(|byte| byte & ENTRY == 0).is_some() {}
    }
    None
}

/// A number in digits of six bits, the lowest first; a seventh bit says that there are more. Its own lowest bit is the sign.
fn signed(bytes: &mut impl Iterator<Item = u8>) -> Option<i32> {
    const MORE: u8 = 0x40;
    let mut value = 0_u64;
    for shift in (0..36).step_by(6) {
        let byte = bytes.next()?;
        value |= u64::from(byte & (MORE - 1)) << shift;
        if byte & MORE == 0 {
            let magnitude = i32::try_from(value >> 1).ok()?;
            return Some(if value & 1 == 1 { -magnitude } else { magnitude });
        }
    }
    None
}

#[cfg(test)]
mod tests;
