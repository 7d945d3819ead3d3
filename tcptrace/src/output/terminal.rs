//! What the terminal is like that text goes to: its size, and whether it has colours and UTF-8. Writes nothing.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal},
    os::fd::AsFd,
    sync::LazyLock,
};

use crate::forms::{palette::Palette, text::ascii::to_ascii, view::Extent};

/// Width and height of a terminal, in characters; `None` when it is none.
fn size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// How much of a view is shown on what may be a terminal.
pub(crate) fn extent(terminal: impl AsFd, rows: usize) -> Extent {
    let size = size(terminal);
    Extent { rows, width: size.map(|(width, _)| width), height: size.map(|(_, height)| height) }
}

/// Colours where standard output is a terminal; none for anything else, and wherever NO_COLOR is set.
pub(crate) fn palette_of_stdout() -> Palette {
    if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
        Palette::default()
    } else {
        Palette::coloured()
    }
}

/// Text as a terminal can show it: in ASCII where the locale of this process has no UTF-8.
pub(crate) fn displayable(text: &[u8]) -> Cow<'_, [u8]> {
    static HAS_UTF8: LazyLock<bool> = LazyLock::new(|| has_utf8(|name| env::var(name).ok()));
    if *HAS_UTF8 || text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(to_ascii(&String::from_utf8_lossy(text)).into_bytes())
    }
}

/// As [`displayable`] where the stream is a terminal, else the text as it is.
pub(crate) fn displayable_on<'a>(stream: &impl IsTerminal, text: &'a [u8]) -> Cow<'a, [u8]> {
    if stream.is_terminal() { displayable(text) } else { Cow::Borrowed(text) }
}

/// Whether the locale has UTF-8, as setlocale(3) finds it. Where the environment names none, as in many containers, that
/// says nothing about the terminal, which most likely has.
fn has_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let named =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|locale| !locale.is_empty());
    named.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_names_a_locale_decides() {
        let has = |locale: &[(&str, &str)]| {
            let value =
                |name: &str| locale.iter().find(|(named, _)| *named == name).map(|(_, is)| (*is).to_owned());
            has_utf8(value)
        };
        assert!(has(&[]) && has(&[("LC_ALL", ""), ("LANG", "")]), "nothing is said");
        assert!(has(&[("LANG", "de_DE.UTF-8")]) && has(&[("LANG", "C.utf8")]));
        assert!(!has(&[("LANG", "de_DE.ISO-8859-1")]) && !has(&[("LANG", "POSIX")]));
        assert!(!has(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(has(&[("LC_ALL", ""), ("LC_CTYPE", "en_US.UTF-8"), ("LANG", "C")]));
    }
}
