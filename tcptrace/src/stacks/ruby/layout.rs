//! Where each version of Ruby keeps what leads from `ruby_current_vm_ptr` to a line of code. Knows CRuby 2.7 to 3.4 of 64
//! bits. Reads nothing.
//!
//! The numbers are those of vm_core.h, ractor_core.h, thread_pthread.h and iseq.h as a compiler says them, of x86-64 and of
//! aarch64: of 2.7.0, 3.0.0, 3.1.0, 3.2.0, 3.3.0, 3.3.5 and 3.4.0 by the headers that the gem `datadog-ruby_core_source`
//! publishes. By the bindings that rbspy publishes of every release, these structures do not change within a minor version.
//! What lies behind locks depends on the C library: `pthread_mutex_t` has 48 bytes in glibc of aarch64, and 40 elsewhere.

use tcptrace_ebpf::interpreter::{ABSENT, ALL_BITS, FrameWalk};

/// The bytes of a `pthread_mutex_t` that the numbers here are for.
pub(super) const LOCK_BYTES: u32 = 40;

/// The layout of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stacks) struct Layout {
    /// Such as `3.1`.
    pub(in crate::stacks) version: &'static str,
    pub(in crate::stacks) walk: FrameWalk,
    /// Of `rb_iseq_constant_body`: the entries with lines; their number, and where they are found by, follow.
    pub(super) entries: u32,
    /// The bytes of such an entry, which begins with its line (`iseq_insn_info_entry` of iseq.h).
    pub(super) entry_bytes: u64,
    pub(super) short_text: ShortText,
}

/// Where a string says its length that has its bytes within itself (`RString`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShortText {
    /// In its flags; the bytes begin where others have their length.
    InFlags,
    /// As others do; the bytes begin where those have their address.
    AsOthers,
}

/// Of `rb_iseq_t`: its flags, and its body.
pub(super) const SEQUENCE_FLAGS: u32 = 0;
pub(super) const SEQUENCE_BODY: u32 = 16;

/// What the flags of an `rb_iseq_t` say: `T_IMEMO`, and `imemo_iseq` (internal/imemo.h).
pub(super) const SEQUENCE_MASK: u64 = 0xf01f;
pub(super) const SEQUENCE: u64 = 0x701a;

/// Of `rb_iseq_constant_body`: how many words its instructions have, where they are, the file, and the name.
pub(super) const WORDS: u32 = 4;
pub(super) const INSTRUCTIONS: u32 = 8;
pub(super) const FILE: u32 = 64;
pub(super) const LABEL: u32 = 80;

/// Bytes from the address of the entries to their number, and to the table that they are found by.
pub(super) const COUNT_AFTER: u32 = 16;
pub(super) const TABLE_AFTER: u32 = 24;

/// What the flags of an object say of its type (`ruby_value_type`), and of where it has its bytes or members.
pub(super) const TYPE_MASK: u64 = 0x1f;
pub(super) const STRING: u64 = 0x05;
pub(super) const ARRAY: u64 = 0x07;
pub(super) const ELSEWHERE: u64 = 1 << 13;
pub(super) const WITHIN: u64 = 1 << 13;

/// Of `RString`: its length in its flags, its length, and the address of its bytes.
pub(super) const LENGTH_SHIFT: u32 = 14;
pub(super) const LENGTH_MASK: u64 = 0x1f;
pub(super) const TEXT_LENGTH: u32 = 16;
pub(super) const TEXT_ADDRESS: u32 = 24;

/// Of `RArray` with members within: the second one, which is the file's real path (`PATHOBJ_REALPATH` of vm_core.h).
pub(super) const SECOND_MEMBER: u32 = 24;

/// The layout of a version (`3.1.2`), where a lock has so many bytes.
pub(super) fn of_version(version: &str, lock_bytes: u32) -> Option<Layout> {
    use ShortText::{AsOthers, InFlags};
    let more = lock_bytes.checked_sub(LOCK_BYTES)?;
    let (version, walk, entries, entry_bytes, short_text) = match minor(version)? {
        (2, 7) => ("2.7", of_machine(312 + 2 * more), 120, 8, InFlags),
        (3, 0) => ("3.0", FrameWalk { previous: 56, ..of_ractor(304 + more) }, 120, 8, InFlags),
        (3, 1) => ("3.1", of_ractor(304 + more), 120, 12, InFlags),
        (3, 2) => ("3.2", native(8, of_ractor(304 + more)), 112, 12, AsOthers),
        (3, 3) => ("3.3", FrameWalk { previous: 56, ..native(16, of_ractor(256 + more)) }, 112, 12, AsOthers),
        (3, 4) => ("3.4", FrameWalk { previous: 56, ..native(16, of_ractor(256 + more)) }, 112, 12, AsOthers),
        _ => return None,
    };
    Some(Layout { version, walk, entries, entry_bytes, short_text })
}

/// The first two numbers of a version.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    let (major, minor, patch) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok());
    patch.filter(|_: &u32| numbers.next().is_none()).map(|_| (major, minor))
}

/// Threads are in a ring of the machine.
fn of_machine(threads: u32) -> FrameWalk {
    FrameWalk {
        is_native: ALL_BITS,
        is_direct: 0,
        is_ring: ALL_BITS,
        machine: ABSENT,
        interpreters: 0,
        next_interpreter: ABSENT,
        threads,
        next_thread: 0,
        native_thread: 0,
        thread_id: 72,
        frame: 32,
        frame_of_cframe: 16,
        previous: 56,
        code: 16,
        instruction: 0,
        owner: ABSENT,
        table: SEQUENCE_BODY,
        is_entry: ABSENT,
        file_hash: ABSENT,
        line: ABSENT,
    }
}

/// Threads are in rings of ractors, and the machine leads to the main one, which runs all that does not ask for others.
fn of_ractor(threads: u32) -> FrameWalk {
    FrameWalk { machine: 0, interpreters: 32, thread_id: 80, frame: 40, previous: 64, ..of_machine(threads) }
}

/// A thread leads to its `rb_native_thread`, which has its identity there.
fn native(thread_id: u32, walk: FrameWalk) -> FrameWalk {
    FrameWalk { is_native: 0, native_thread: 40, thread_id, frame: 48, ..walk }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_minor_version_has_a_layout_and_no_other_does() {
        let known = ["2.6.10", "2.7.8", "3.0.7", "3.1.2", "3.2.11", "3.3.12", "3.4.0", "3.5.0", "4.0.0"];
        let versions: Vec<_> = known
            .iter()
            .filter_map(|version| of_version(version, LOCK_BYTES))
            .map(|layout| layout.version)
            .collect();
        assert_eq!(versions, ["2.7", "3.0", "3.1", "3.2", "3.3", "3.4"]);
        for other in ["", "3", "3.1", "3.1.", "3.1.2.3", "3.1.2p20", "-3.1.2", "ruby 3.1.2"] {
            assert_eq!(of_version(other, LOCK_BYTES), None, "{other}");
        }
    }

    #[test]
    fn what_lies_behind_locks_moves_with_their_size() {
        // As a compiler for aarch64 says it.
        for (version, threads) in [("2.7.0", 328), ("3.1.0", 312), ("3.4.0", 264)] {
            let layout = of_version(version, 48);
            assert_eq!(layout.map(|layout| layout.walk.threads), Some(threads), "{version}");
        }
        assert_eq!(of_version("3.1.2", 24), None);
    }

    proptest! {
        #[test]
        fn any_version_is_known_or_not(version in ".*", lock_bytes: u16) {
            of_version(&version, lock_bytes.into());
        }
    }
}
