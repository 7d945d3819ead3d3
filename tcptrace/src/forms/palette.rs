//! The colours of the text form: none unless it goes to a terminal. Writes nothing.

use anstyle::Style;

/// The colours of the text form.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Palette {
    /// What has to be seen: a leak.
    pub alert: Style,
    /// What is over: the end of a leak.
    pub calm: Style,
    /// Names of processes.
    pub name: Style,
    /// What can be skipped.
    pub faint: Style,
}

impl Palette {
    /// The colours that a terminal is sent.
    pub(crate) fn coloured() -> Self {
        use anstyle::AnsiColor::{Cyan, Green, Red};
        Self {
            alert: Red.on_default().bold(),
            calm: Green.on_default(),
            name: Cyan.on_default().bold(),
            faint: Style::new().dimmed(),
        }
    }
}
