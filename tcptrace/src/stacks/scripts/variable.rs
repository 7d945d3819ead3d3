//! Where a variable is that an interpreter does not export: by the machine code of an exported function which begins by reading
//! it. Any bytes give an answer; runs nothing.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic, OpKind, Register};

use crate::stacks::elf::Elf;

/// Most bytes of the function that are looked at.
const MOST_BYTES: u64 = 64;

/// The address of the variable that an exported function reads before it calls another one, as the file says it.
pub(in crate::stacks) fn read_by(elf: &Elf<'_>, function: &str) -> Option<u64> {
    let function = elf.exported_range(function)?;
    let length = function.end.checked_sub(function.start)?.min(MOST_BYTES);
    let code = elf.at(function.start, length)?;
    if elf.is_aarch64() { read_by_aarch64(code, function.start) } else { read_by_x86(code, function.start) }
}

/// What x86-64 reads first by its distance from the instruction: `mov rbp, [rip + …]`.
fn read_by_x86(code: &[u8], start: u64) -> Option<u64> {
    for instruction in &mut Decoder::with_ip(64, code, start, DecoderOptions::NONE) {
        let is_read = instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().is_gpr64()
            && instruction.op1_kind() == OpKind::Memory
            && instruction.memory_base() == Register::RIP;
        if is_read {
            return Some(instruction.ip_rel_memory_address());
        }
        if instruction.is_invalid() || instruction.flow_control() != FlowControl::Next {
            return None;
        }
    }
    None
}

/// What aarch64 reads first by its page: `adrp x1, …`, and behind that `ldr x20, [x1, …]` (Arm's manual, C6.2: ADRP, LDR
/// with an immediate and an unsigned offset, BL).
fn read_by_aarch64(code: &[u8], start: u64) -> Option<u64> {
    const REGISTER: u32 = 0x1f;
    let (words, _) = code.as_chunks::<4>();
    let mut pages = [None; 32];
    for (word, at) in words.iter().map(|word| u32::from_le_bytes(*word)).zip((start..).step_by(4)) {
        let (first, second) = (word & REGISTER, word >> 5 & REGISTER);
        if word & 0x9f00_0000 == 0x9000_0000 {
            let high = word << 8 & 0xffff_e000;
            let pages_away = i64::from((high | word >> 18 & 0x1800).cast_signed() >> 11);
            let page = (at & !0xfff).checked_add_signed(pages_away << 12);
            *pages.get_mut(usize::try_from(first).ok()?)? = page;
        } else if word & 0xffc0_0000 == 0xf940_0000 {
            let page = *pages.get(usize::try_from(second).ok()?)?;
            if let Some(page) = page {
                return page.checked_add(u64::from(word >> 10 & 0xfff) << 3);
            }
        } else if word & 0xfc00_0000 == 0x9400_0000 {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `ruby_vm_at_exit` as Debian's libruby 3.3.8 has it on x86-64, at 0x271910.
    const OF_X86: [u8; 30] = [
        0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x53, 0x48, 0x89, 0xfb, 0xbf, 0x10, 0x00, 0x00, 0x00, 0x48, 0x83, 0xec,
        0x08, 0x48, 0x8b, 0x2d, 0xbf, 0xa2, 0x1f, 0x00, 0xe8, 0xca, 0x10, 0xdd, 0xff,
    ];

    /// On aarch64, at 0x268668.
    const OF_AARCH64: [u32; 9] = [
        0xd503_233f,
        0xa9be_7bfd,
        0x9000_0fc1,
        0x9100_03fd,
        0xa901_53f3,
        0xaa00_03f3,
        0xd280_0200,
        0xf945_6034,
        0x97f7_63b6,
    ];

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn the_variable_is_what_the_function_reads_before_it_calls_another() {
        assert_eq!(read_by_x86(&OF_X86, 0x27_1910), Some(0x46_bbe8));
        assert_eq!(read_by_aarch64(&bytes(&OF_AARCH64), 0x26_8668), Some(0x46_0ac0));
    }

    #[test]
    fn what_a_function_returns_is_where_it_loads_it_from() {
        // `PyInterpreterState_Head` of 3.6.15: mov 0x18a349(%rip),%rax; ret. Others begin with endbr64.
        let returns = [0x48, 0x8b, 0x05, 0x49, 0xa3, 0x18, 0x00, 0xc3];
        assert_eq!(read_by_x86(&returns, 0x17_4b90), Some(0x2f_eee0));
        let marked = [&[0xf3, 0x0f, 0x1e, 0xfa], &returns[..]].concat();
        assert_eq!(read_by_x86(&marked, 0x17_4b8c), Some(0x2f_eee0));
        assert_eq!(read_by_x86(&[0x31, 0xc0, 0xc3], 0x1000), None);
        assert_eq!(read_by_x86(&returns[..5], 0x1000), None, "it ends early");
        assert_eq!(read_by_x86(&[], 0), None);
    }

    #[test]
    fn a_function_that_calls_before_it_reads_tells_nothing() {
        assert_eq!(read_by_x86(&[0xe8, 0, 0, 0, 0, 0x48, 0x8b, 0x2d, 0, 0, 0, 0], 0x1000), None);
        assert_eq!(read_by_aarch64(&bytes(&[0x97f7_63b6, 0x9000_0fc1, 0xf945_6034]), 0x1000), None);
        assert_eq!((read_by_x86(&[], 0), read_by_aarch64(&[], 0)), (None, None));
    }

    #[test]
    fn a_page_may_lie_before_the_code() {
        // adrp x0, -1 page; ldr x0, [x0, #8].
        assert_eq!(read_by_aarch64(&bytes(&[0xf0ff_ffe0, 0xf940_0400]), 0x5678), Some(0x4008));
    }

    proptest! {
        #[test]
        fn any_code_is_survived(code: Vec<u8>, start: u64) {
            read_by_x86(&code, start);
            read_by_aarch64(&code, start);
        }
    }
}
