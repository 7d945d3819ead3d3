//! Where each version of PHP keeps what leads from `executor_globals` to a line of code. Knows PHP 7.4 to 8.5 of 64 bits,
//! built without threads (NTS); x86-64 and aarch64 are alike. Reads nothing.
//!
//! The numbers are those of Zend/zend_globals.h and Zend/zend_compile.h as a compiler says them: of 7.4.33, 8.2.32 and 8.4.27
//! by the headers that Debian packages, of 8.0, 8.1, 8.3 and 8.5 by the bindings that `ext-php-rs` publishes of them. They do
//! not change within a minor version: extensions are built against these structures, and refused by another
//! `ZEND_MODULE_API_NO`.

use tcptrace_ebpf::interpreter::{ABSENT, ALL_BITS, FrameWalk, PHP_FUNCTION_NAME};

/// The layout of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stacks) struct Layout {
    /// Such as `8.2`.
    pub(in crate::stacks) version: &'static str,
    pub(in crate::stacks) walk: FrameWalk,
    /// Of `zend_op_array`: the name of its file, in bytes; the first and the last line follow.
    pub(super) file: u32,
}

/// Of `zend_function`: which kind it is, one byte; its name, and its class.
pub(super) const KIND: u32 = 0;
pub(super) const NAME: u32 = PHP_FUNCTION_NAME;
pub(super) const CLASS: u32 = 16;

/// [`KIND`]: `ZEND_INTERNAL_FUNCTION`, which has no lines, `ZEND_USER_FUNCTION`, and `ZEND_EVAL_CODE`.
pub(super) const INTERNAL_FUNCTION: u8 = 1;
pub(super) const USER_FUNCTION: u8 = 2;
pub(super) const EVAL_CODE: u8 = 4;

/// Bytes from the name of the file to the first line, and to the last.
pub(super) const FIRST_LINE_AFTER: u32 = 8;
pub(super) const LAST_LINE_AFTER: u32 = 12;

/// Of `zend_class_entry`: its name.
pub(super) const CLASS_NAME: u32 = 8;

/// Of `zend_string`: its hash, its length in bytes, and the bytes.
pub(super) const TEXT_HASH: u32 = 8;
pub(super) const TEXT_LENGTH: u32 = 16;
pub(super) const TEXT_START: u32 = 24;

/// Of `zend_op`: its line.
const INSTRUCTION_LINE: u32 = 24;

/// The layout of the version whose extensions have this number (`ZEND_MODULE_API_NO` of Zend/zend_modules.h).
pub(super) fn of_api(number: u32) -> Option<Layout> {
    let (version, frame, file) = match number {
        20_190_902 => ("7.4", 488, 136),
        20_200_930 => ("8.0", 488, 144),
        20_210_902 => ("8.1", 488, 144),
        20_220_829 => ("8.2", 488, 152),
        20_230_831 => ("8.3", 488, 144),
        20_240_924 => ("8.4", 488, 168),
        20_250_925 => ("8.5", 512, 168),
        _ => return None,
    };
    let walk = FrameWalk {
        is_native: ALL_BITS,
        is_direct: ALL_BITS,
        is_ring: 0,
        machine: ABSENT,
        interpreters: ABSENT,
        next_interpreter: ABSENT,
        threads: ABSENT,
        next_thread: ABSENT,
        native_thread: 0,
        thread_id: ABSENT,
        frame,
        frame_of_cframe: ABSENT,
        previous: 48,
        code: 24,
        instruction: 0,
        owner: ABSENT,
        table: file,
        is_entry: ABSENT,
        file_hash: TEXT_HASH,
        line: INSTRUCTION_LINE,
    };
    Some(Layout { version, walk, file })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_version_has_its_own_number() {
        let numbers =
            [20_190_902, 20_200_930, 20_210_902, 20_220_829, 20_230_831, 20_240_924, 20_250_925, 20_260_101];
        let versions: Vec<_> =
            numbers.iter().filter_map(|number| of_api(*number)).map(|layout| layout.version).collect();
        assert_eq!(versions, ["7.4", "8.0", "8.1", "8.2", "8.3", "8.4", "8.5"]);
    }

    proptest! {
        #[test]
        fn no_other_number_has_a_layout(number: u32) {
            prop_assert!(of_api(number).is_none_or(|_| (20_190_902..=20_250_925).contains(&number)));
        }
    }
}
