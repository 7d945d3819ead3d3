//! Advice as lines for people: each begins with its id, and is broken at the width of the terminal.

use std::io::{self, Write};

use super::{fold::word_end, width::visible_width};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{advice::Advice, escape::Escaped},
};

/// A line is broken at this width where the terminal tells none.
const WIDTH: usize = 110;

/// The least width that words are broken at.
const LEAST_WIDTH: usize = 40;

/// Writes these pieces of advice, one below the other.
pub(super) fn write_advice<'a>(
    out: &mut dyn Write,
    advice: impl Iterator<Item = &'a Advice>,
    extent: Extent,
    palette: &Palette,
) -> io::Result<()> {
    let width = extent.width.unwrap_or(WIDTH).max(LEAST_WIDTH);
    for advice in advice {
        let style = if advice.is_urgent() { palette.alert } else { palette.name };
        let (id, said) = (advice.id(), advice.to_string());
        // What is about a setting begins with its name.
        let text = if said.starts_with(id) { said } else { format!("{id}: {said}") };
        let text = Escaped(&text).to_string();
        for (number, line) in wrapped(&text, width - 4).into_iter().enumerate() {
            match line.strip_prefix(id).filter(|_| number == 0) {
                Some(rest) => writeln!(out, "  {style}{id}{style:#}{rest}")?,
                None => writeln!(out, "    {line}")?,
            }
        }
    }
    Ok(())
}

/// Writes a sentence from the beginning of the line on.
pub(super) fn write_wrapped(out: &mut dyn Write, text: &str, extent: Extent) -> io::Result<()> {
    wrapped(text, extent.width.unwrap_or(WIDTH)).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// The words of a text in lines of this many columns; a longer word has a line of its own. A command in backticks is one.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (word, others) = text.split_at(word_end(text, width));
        rest = others.strip_prefix(' ');
        match lines.last_mut() {
            Some(line) if visible_width(line) + 1 + visible_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
