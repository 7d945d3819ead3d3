//! The `stat` of a process or a thread (proc_pid_stat(5)), taken apart. Reads no file.

/// The name, and the fields behind it, of which the state (field 3) is the first. The name may contain anything, even
/// parentheses and newlines, so it ends at the *last* parenthesis.
pub(crate) fn fields(stat: &[u8]) -> Option<(&[u8], impl Iterator<Item = &str> + Clone)> {
    let opening = stat.iter().position(|byte| *byte == b'(')?;
    let closing = stat.iter().rposition(|byte| *byte == b')')?;
    let behind = std::str::from_utf8(stat.get(closing + 1..)?).ok()?;
    Some((stat.get(opening + 1..closing)?, behind.split_ascii_whitespace()))
}
