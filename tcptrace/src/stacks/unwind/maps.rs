//! The executable mappings of a process, from its `maps` (proc_pid_maps(5)). Pure.

use std::ops::Range;

/// Mappings of one process that are kept; Java and Node.js have thousands that are no files.
const MOST_MAPPINGS: usize = 4_096;

/// Executable memory that a file stands behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub range: Range<u64>,
    /// Where in the file it begins.
    pub offset: u64,
}

/// Lines like `55d0-55e0 r-xp 00002000 08:01 4711 /usr/bin/shop`.
pub(super) fn executable(maps: &str) -> Vec<Mapping> {
    let mapping = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_executable = words.next()?.as_bytes().get(2) == Some(&b'x');
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let inode = words.nth(1)?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let range = start..u64::from_str_radix(end, 16).ok()?;
        (is_executable && inode != "0").then_some(Mapping { range, offset })
    };
    maps.lines().filter_map(mapping).take(MOST_MAPPINGS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_mappings_of_files_count() {
        let maps = "55d0000-55d1000 r--p 00000000 08:01 4711 /usr/bin/shop\n\
                    55d1000-55d3000 r-xp 00001000 08:01 4711 /usr/bin/a shop (deleted)\n\
                    7f00000-7f01000 rwxp 00000000 00:00 0 \n\
                    7ffd000-7ffe000 r-xp 00000000 00:00 0 [vdso]\nnonsense\n";
        assert_eq!(executable(maps), [Mapping { range: 0x55d_1000..0x55d_3000, offset: 0x1000 }]);
    }
}
