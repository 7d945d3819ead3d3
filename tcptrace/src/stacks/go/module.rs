//! Go's own description of a program (moduledata), from Go 1.18: where its code begins, and the data of its functions.
//! The linker leaves its pointers to the loader, so it is read from memory.

use super::{
    bytes::Bytes,
    image::Segments,
    table::{Header, Version},
};

/// Most bytes of memory searched. It lies among the variables, of which large programs have a few MiB; with PIE the
/// constants that have to be relocated come before.
const MAX_SEARCHED: u64 = 128 * 1024 * 1024;
const SEARCH_CHUNK: usize = 256 * 1024;

/// `pcHeader`, the slices funcnametab, cutab, filetab, pctab, pclntable and ftab, findfunctab, minpc, maxpc, text.
const TEXT: u64 = 8 + 6 * 24 + 3 * 8;
/// `gofunc`. After text: etext, pairs of bounds of four kinds of data, end, gcdata, gcbss, types, etypes, rodata, gofunc.
const FUNCTION_DATA_1_18: u64 = TEXT + 128;
/// Go 1.20 has a further pair, the counters of coverage, and 1.27 three further words, sizes of types and tables. What is
/// there before is a length.
const FUNCTION_DATA_1_20: [u64; 2] = [TEXT + 168, TEXT + 144];

/// Addresses as they are in the file.
pub(super) struct Module {
    pub(super) text: u64,
    pub(super) function_data: Option<u64>,
}

/// Finds it by its pointers into the line table, which is at `table`. What the process has loaded is `bias` further on
/// than the file says.
pub(super) fn find<B: Bytes + ?Sized>(
    memory: &B,
    bias: u64,
    segments: &Segments,
    header: &Header,
    table: u64,
) -> Option<Module> {
    if header.version < Version::Go1_18 {
        return None;
    }
    let table = table.wrapping_add(bias);
    let mut left = MAX_SEARCHED;
    let mut chunk = vec![0; SEARCH_CHUNK];
    for segment in segments.iter().filter(|segment| segment.is_writable()) {
        let mut at = segment.address.wrapping_add(bias).checked_next_multiple_of(8)?;
        let end = segment.address.wrapping_add(bias).saturating_add(segment.size);
        while at < end && left > 0 {
            let filled = memory.read_some(at, &mut chunk);
            let words = chunk[..filled].chunks_exact(8).enumerate();
            for (index, _) in words.filter(|(_, word)| **word == table.to_le_bytes()) {
                let module = read(memory, at.checked_add(index as u64 * 8)?, bias, segments, header, table);
                if module.is_some() {
                    return module;
                }
            }
            if filled < chunk.len() {
                break;
            }
            at = at.checked_add(filled as u64)?;
            left = left.saturating_sub(filled as u64);
        }
    }
    None
}

fn read<B: Bytes + ?Sized>(
    memory: &B,
    at: u64,
    bias: u64,
    segments: &Segments,
    header: &Header,
    table: u64,
) -> Option<Module> {
    let pointer = |field: u64| memory.u64(at.checked_add(field)?);
    if pointer(8)? != table.wrapping_add(header.names) {
        return None;
    }
    let in_file = |field| {
        let address = pointer(field)?.wrapping_sub(bias);
        segments.iter().find(|segment| segment.holds(address)).map(|segment| (address, segment))
    };
    let (text, _) = in_file(TEXT).filter(|(_, segment)| segment.is_executable())?;
    let function_data = if header.version >= Version::Go1_20 {
        FUNCTION_DATA_1_20.iter().find_map(|field| in_file(*field))
    } else {
        in_file(FUNCTION_DATA_1_18)
    };
    Some(Module { text, function_data: function_data.map(|(address, _)| address) })
}
