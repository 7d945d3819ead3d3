//! What a kernel may lack on somebody's host, though its version has it: each is taken away in the guest.

use std::fmt::Write as _;

/// A kernel as some hosts have it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As Debian ships it.
    Whole,
    /// Nothing at /sys/kernel/btf, as without CONFIG_DEBUG_INFO_BTF or without sysfs.
    WithoutBtf,
    /// No module that lists sockets.
    WithoutDiag,
    /// lockdown=confidentiality, as with Secure Boot on some systems.
    LockedDown,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::Whole, Self::WithoutBtf, Self::WithoutDiag, Self::LockedDown];

    /// What the page calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Whole => "as Debian has it",
            Self::WithoutBtf => "BTF hidden",
            Self::WithoutDiag => "without inet_diag",
            Self::LockedDown => "lockdown=confidentiality",
        }
    }

    /// What is added to the kernel's command line. The first script reads it there.
    pub(crate) fn parameter(self) -> &'static str {
        match self {
            Self::Whole => "guest=whole",
            Self::WithoutBtf => "guest=without_btf",
            Self::WithoutDiag => "guest=without_diag",
            Self::LockedDown => "lockdown=confidentiality",
        }
    }
}

/// The part of the guest's first script that takes away what the variant lacks.
pub(crate) fn script(insert_diag: &str) -> String {
    let mut script = String::from("case \"$(cat /proc/cmdline)\" in\n");
    // Writing into memory does not fail.
    let _ = write!(
        script,
        "*{}*) ;;\n*{}*) mount -t tmpfs tmpfs /sys/kernel/btf\n{insert_diag};;\n*)\n{insert_diag};;\nesac\n",
        Variant::WithoutDiag.parameter(),
        Variant::WithoutBtf.parameter(),
    );
    script
}
