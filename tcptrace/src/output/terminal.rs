//! What the terminal is like that text goes to: its size, and whether it has colours. Writes nothing.

use std::{io, os::fd::AsFd};

use crate::forms::{palette::Palette, view::Extent};

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
