//! Fuzzes `tcptrace_fuzz::recording`.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tcptrace::testing::{HEADER_BYTES};

fuzz_target!(|bytes: &[u8]| tcptrace_fuzz::recording(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    // One in four stays damaged, because damage has to be tested too.
    if !seed.is_multiple_of(4) {
        repair(&mut data[..size]);
    }
    size
});

/// Corrects the checksums of whatever looks like a block: otherwise the reader would reject every change there.
fn repair(bytes: &mut [u8]) {
    const MAGIC: &[u8] = b"\xfftc\x01";
    let mut at = 0;
    while let Some(next) = bytes[at..].windows(MAGIC.len()).position(|window| window == MAGIC) {
        let Some((header, rest)) = bytes[at + next..].split_at_mut_checked(HEADER_BYTES) else { return };
        at += next + MAGIC.len();
        let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        if let Some(payload) = rest.get(..length) {
            header[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        }
        let checksum = crc32fast::hash(&header[8..]);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
}
