//! The memory of a process, as the kernel counts it. That does not include BPF maps.

use std::fs::read_to_string;

/// Its peak resident memory so far, in bytes; `None` once it has ended.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    parse(&read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

/// Its resident memory, in bytes; `None` once it has ended.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    parse(&read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

fn parse(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes_and_a_process_that_has_ended_has_none() {
        let status = "Name:\tss\nVmPeak:\t    9000 kB\nVmHWM:\t    6640 kB\n";
        assert_eq!(parse(status, "VmHWM:"), Some(6640 * 1024));
        assert_eq!(parse("Name:\tss\nState:\tZ (zombie)\n", "VmHWM:"), None);
    }
}
