//! The version of a kernel, compared only where a sentence depends on it.

/// Major and minor number. Distributions backport changes: a high enough version proves that a change is
/// there, a lower one proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// Parses a release as `uname -r` prints it; `None` if it does not begin with two numbers.
    pub(crate) fn of(release: &str) -> Option<Self> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        assert_eq!(KernelVersion::of("6.18.44-fc-v595"), Some(KernelVersion(6, 18)));
        assert_eq!(KernelVersion::of("5.8-rc1"), Some(KernelVersion(5, 8)));
        assert!(KernelVersion(6, 12) > KernelVersion(6, 9) && KernelVersion(6, 0) > KernelVersion(5, 19));
        for wrong in ["", "six", "6", "linux-6.1"] {
            assert_eq!(KernelVersion::of(wrong), None, "{wrong}");
        }
    }
}
