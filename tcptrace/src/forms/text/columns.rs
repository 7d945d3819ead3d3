//! Lays out cells in columns. Knows nothing of their content; the caller has escaped it.

use std::io::{self, Write};

use super::width::{self, visible_width};

/// Between two columns.
const GAP: usize = 2;

/// What stands above a column, and on which side its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text, to the left.
    Name(&'static str),
    /// A number or a time, to the right.
    Number(&'static str),
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Name(heading) | Self::Number(heading) => heading,
        }
    }
}

/// A table with its cells.
#[derive(Debug)]
pub(crate) struct Columns<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
    is_shown: [bool; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Columns<N> {
    /// A table without rows.
    pub(crate) fn new(columns: [Column; N]) -> Self {
        let widths = columns.map(|column| column.heading().len());
        Self { columns, widths, is_shown: [true; N], rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: [String; N]) {
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(visible_width(cell));
        }
        self.rows.push(row);
    }

    /// Leaves a column out, or shows it again.
    pub(crate) fn show(&mut self, column: usize, is_shown: bool) {
        if let Some(shown) = self.is_shown.get_mut(column) {
            *shown = is_shown;
        }
    }

    /// Shortens the cells of a column so that the table fits this width, to so many characters at least.
    pub(crate) fn cut(&mut self, column: usize, least: usize, width: usize) {
        let over = self.width().saturating_sub(width);
        let Some(own) = self.widths.get_mut(column) else { return };
        if over == 0 || *own < least + over {
            return;
        }
        *own -= over;
        for cell in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            *cell = width::cut(cell, *own);
        }
    }

    /// Characters that a line can take.
    pub(crate) fn width(&self) -> usize {
        let shown = self.widths.iter().zip(self.is_shown).filter(|(_, is_shown)| *is_shown);
        shown.map(|(width, _)| width + GAP).sum()
    }

    /// Writes the headings and the rows, each line indented by the width of a gap.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_line(out, self.columns.map(Column::heading))?;
        self.rows.iter().try_for_each(|row| self.write_line(out, row.each_ref().map(String::as_str)))
    }

    fn write_line(&self, out: &mut dyn Write, cells: [&str; N]) -> io::Result<()> {
        let mut line = String::new();
        let columns = cells.iter().zip(self.columns).zip(self.widths).zip(self.is_shown);
        for (((cell, column), width), is_shown) in columns {
            if is_shown {
                line.push_str("  ");
                line.push_str(&match column {
                    Column::Name(_) => width::padded(cell, width),
                    Column::Number(_) => width::padded_before(cell, width),
                });
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_numbers_right_and_hidden_columns_nowhere() {
        let mut table = Columns::new([Column::Number("AGE"), Column::Name("NAME"), Column::Name("X")]);
        table.push(["5 s".into(), "a".into(), "x".into()]);
        table.push(["12.5 s".into(), "longer".into(), String::new()]);
        let shown = |table: &Columns<3>| {
            let mut out = Vec::new();
            table.write(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&table), "     AGE  NAME    X\n     5 s  a       x\n  12.5 s  longer\n");
        let width = table.width();
        table.show(1, false);
        assert_eq!(shown(&table), "     AGE  X\n     5 s  x\n  12.5 s\n");
        assert_eq!(table.width(), width - "  longer".len());
    }

    #[test]
    fn wide_characters_move_no_column() {
        let mut table =
            Columns::new([Column::Name("PROCESS"), Column::Number("FD"), Column::Name("COMMAND")]);
        table.push(["日本語 (7)".into(), "3".into(), "日本語サーバ".into()]);
        table.push(["shop (8)".into(), "17".into(), "shop".into()]);
        table.cut(2, 4, 28);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected = "  PROCESS     FD  COMMAND\n  日本語 (7)   3  日本語サ…\n  shop (8)    17  shop\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
