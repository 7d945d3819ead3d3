//! A view that takes the place of the one before on a terminal. Knows nothing of what it says.

use std::io::{self, Write};

use super::{fold::folded, width::visible_width};
use crate::{
    forms::{
        palette::Palette,
        view::{Extent, Page},
    },
    model::units::plural,
};

/// Rows that a table keeps where there is no room for all that is below it in any case.
const FEWEST_ROWS: usize = 3;

/// Writes a page; `write_view` writes the view with so many rows in its tables. What is no terminal gets the view as it is.
///
/// # Errors
/// When `out` takes nothing.
pub(super) fn write(
    out: &mut dyn Write,
    page: Page,
    extent: Extent,
    palette: &Palette,
    write_view: impl Fn(&mut dyn Write, Extent) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(width), Some(height)) = (extent.width, extent.height) else { return write_view(out, extent) };
    let view = |rows: usize| {
        let mut text = Vec::new();
        write_view(&mut text, Extent { rows, ..extent })?;
        io::Result::Ok(folded(&String::from_utf8_lossy(&text), width))
    };
    // Home, then erase to the end of the screen.
    write!(out, "\x1b[H\x1b[J")?;
    if page == Page::Whole {
        return write!(out, "{}", view(extent.rows)?);
    }
    // The last line is left for the cursor.
    let room = height.saturating_sub(1);
    let mut rows = extent.rows.min(room);
    let mut text = view(rows)?;
    // What stands below the tables says what to do, so their last rows make room for it.
    while lines_of(&text, width) > room && rows > 1 {
        rows -= 1;
        text = view(rows)?;
    }
    if lines_of(&text, width) > room {
        text = view(extent.rows.min(FEWEST_ROWS))?;
    }
    write!(out, "{}", cut(&text, width, room, palette))
}

/// The lines that a text takes on a terminal, which breaks those that are wider.
fn lines_of(text: &str, width: usize) -> usize {
    text.lines().map(|line| visible_width(line).div_ceil(width.max(1)).max(1)).sum()
}

/// The first lines of a text, with a sentence about the others where there are more than fit.
fn cut(text: &str, width: usize, room: usize, palette: &Palette) -> String {
    if lines_of(text, width) <= room {
        return text.to_owned();
    }
    let faint = palette.faint;
    let more = |lines: usize| {
        let lines = plural(lines as u64, "line");
        folded(
            &format!(
                "{faint}… {lines} more: make the window larger, or end with Ctrl-C to see all{faint:#}\n"
            ),
            width,
        )
    };
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    let left = room.saturating_sub(lines_of(&more(all.len()), width));
    let mut taken = 0;
    let fitting = all.iter().take_while(|line| {
        taken += lines_of(line, width);
        taken <= left
    });
    let fitting = fitting.count();
    let (first, others) = all.split_at(fitting);
    first.concat() + &more(others.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of 30 rows, each of this width, and advice below it.
    fn shown(page: Page, extent: Extent, row: &str, advice: usize) -> String {
        let mut out = Vec::new();
        let written = write(&mut out, page, extent, &Palette::default(), |out, extent| {
            writeln!(out, "answer")?;
            (0..extent.rows.min(30)).try_for_each(|_| writeln!(out, "{row}"))?;
            (0..advice).try_for_each(|nth| writeln!(out, "advice {nth}"))
        });
        assert!(written.is_ok());
        String::from_utf8_lossy(&out).into_owned()
    }

    const WINDOW: Extent = Extent { rows: 20, width: Some(80), height: Some(24) };

    #[test]
    fn rows_that_wrap_count_as_often_and_make_room_for_advice() {
        for row in ["x".repeat(10), "x".repeat(80), "x".repeat(81), "日本語".repeat(20), "word ".repeat(40)]
        {
            let page = shown(Page::Fitting, WINDOW, &row, 3);
            let text = page.strip_prefix("\x1b[H\x1b[J").unwrap_or_default();
            let lines = lines_of(text, 80);
            assert!(lines <= 23 && lines > 23 - lines_of(&folded(&row, 80), 80) - 1, "{lines} lines: {page}");
            assert!(text.starts_with("answer\n") && text.ends_with("advice 2\n"), "{page}");
        }
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let page = shown(Page::Fitting, Extent { rows: 5, ..WINDOW }, "row", 2);
        assert_eq!(page, format!("\x1b[H\x1b[Janswer\n{}advice 0\nadvice 1\n", "row\n".repeat(5)));
    }

    #[test]
    fn more_advice_than_fits_is_cut_and_counted() {
        let page = shown(Page::Fitting, WINDOW, "row", 40);
        assert!(page.starts_with("\x1b[H\x1b[Janswer\nrow\nrow\nrow\nadvice 0\n"), "{page}");
        assert!(
            page.ends_with(
                "advice 17\n… 22 lines more: make the window larger, or end with Ctrl-C to see all\n"
            ),
            "{page}"
        );
        assert_eq!(lines_of(&page, 80), 23);
    }

    #[test]
    fn the_last_page_and_what_is_no_terminal_have_all_of_it() {
        let last = shown(Page::Whole, WINDOW, "row", 40);
        assert_eq!(last.matches("row\n").count(), 20);
        assert!(last.starts_with("\x1b[H\x1b[Janswer\n") && last.ends_with("advice 39\n"), "{last}");
        let file = shown(Page::Fitting, Extent { width: None, height: None, ..WINDOW }, "row", 40);
        assert!(file.starts_with("answer\n") && file.ends_with("advice 39\n"), "{file}");
    }
}
