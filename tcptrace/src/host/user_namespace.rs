//! Whether this process is in a user namespace of its own, where capabilities count for little on the host. Only reads.

use std::path::Path;

use super::bounded_text::text;

/// Longest map that the kernel takes: 340 lines (user_namespaces(7)).
const MAX_BYTES: u64 = 1 << 16;

/// Whether the user namespace is another than the first, in which all numbers stand for themselves; `None` where /proc does
/// not tell.
pub(crate) fn is_inner(proc: &Path) -> Option<bool> {
    let map = text(&proc.join("self/uid_map"), MAX_BYTES)?;
    let numbers: Vec<u32> = map.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
    Some(numbers != [0, 0, u32::MAX])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_in_the_first_user_namespace_every_number_stands_for_itself() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(is_inner(proc.path()), None);
        std::fs::create_dir(proc.path().join("self")).unwrap();
        for (map, expected) in [
            ("         0          0 4294967295\n", false),
            ("         0       1000          1\n", true),
            ("0 0 1000\n1000 100000 65536\n", true),
            ("", true),
        ] {
            std::fs::write(proc.path().join("self/uid_map"), map).unwrap();
            assert_eq!(is_inner(proc.path()), Some(expected), "{map}");
        }
    }
}
