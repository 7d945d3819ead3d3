//! How far this kernel is locked down against root. Only reads.

use std::{fs, path::Path};

/// Modes of `security/lockdown/lockdown.c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lockdown {
    /// Not at all, or the kernel does not say.
    #[default]
    None,
    /// Root may not change the kernel.
    Integrity,
    /// Root may not read the kernel's memory either, by BPF helpers among others.
    Confidentiality,
}

impl Lockdown {
    /// Reads the mode in force.
    pub(crate) fn read() -> Self {
        let path = Path::new("/sys/kernel/security/lockdown");
        fs::read_to_string(path).map(|modes| Self::parse(&modes)).unwrap_or_default()
    }

    /// The mode in brackets is in force: `none [integrity] confidentiality`.
    fn parse(modes: &str) -> Self {
        match modes.split_whitespace().find(|mode| mode.starts_with('[')) {
            Some("[integrity]") => Self::Integrity,
            Some("[confidentiality]") => Self::Confidentiality,
            _ => Self::None,
        }
    }

    /// The kernel's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_in_force() {
        assert_eq!(Lockdown::parse("none integrity [confidentiality]\n"), Lockdown::Confidentiality);
        assert_eq!(Lockdown::parse("none [integrity] confidentiality\n"), Lockdown::Integrity);
        assert_eq!(Lockdown::parse("[none] integrity confidentiality\n"), Lockdown::None);
        assert_eq!(Lockdown::parse(""), Lockdown::None);
    }
}
