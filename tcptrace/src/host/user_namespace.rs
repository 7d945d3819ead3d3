//! Whether this process is in a user namespace of its own, where capabilities count for little on the host. Only reads.

use std::{fs, path::Path};

/// The first user namespace: its inode number is fixed, `PROC_USER_INIT_INO` of include/linux/proc_ns.h (Linux 3.8).
const FIRST: &str = "user:[4026531837]";

/// Whether the user namespace is another than the first; `None` where /proc does not tell. Its map of users does not tell: an
/// inner one can map each user to itself.
pub(crate) fn is_inner(proc: &Path) -> Option<bool> {
    let own = fs::read_link(proc.join("self/ns/user")).ok()?;
    Some(own != Path::new(FIRST))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_namespace_is_known_by_its_number() {
        for (own, expected) in [(FIRST, false), ("user:[4026532280]", true)] {
            let proc = tempfile::tempdir().unwrap();
            assert_eq!(is_inner(proc.path()), None);
            fs::create_dir_all(proc.path().join("self/ns")).unwrap();
            std::os::unix::fs::symlink(own, proc.path().join("self/ns/user")).unwrap();
            assert_eq!(is_inner(proc.path()), Some(expected), "{own}");
        }
    }
}
