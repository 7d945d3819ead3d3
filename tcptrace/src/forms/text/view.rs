//! Views as text.

use std::io::{self, Write};

use super::{cleared, fold::folded, page, snapshot, time_wait};
use crate::forms::{
    palette::Palette,
    view::{Extent, View},
};

/// Writes a view.
///
/// # Errors
/// When `out` takes nothing.
pub(crate) fn write(out: &mut dyn Write, view: &View, extent: Extent, palette: &Palette) -> io::Result<()> {
    match view {
        View::Snapshot(snapshot) => snapshot::write(out, snapshot, extent, palette),
        View::ClearPlan { plan, end } => {
            cleared::write_plan(out, plan, extent, palette)?;
            end.as_ref().map_or(Ok(()), |end| cleared::write_end(out, end))
        }
        View::TimeWaitLook { look, summary: _, page } => match page {
            Some(page) => page::write(out, *page, extent, palette, |out, extent| {
                time_wait::write(out, look, extent, palette)
            }),
            None => time_wait::write(out, look, extent, palette),
        },
    }
}

/// A view without colours, as wide as the terminal, for a question about it.
pub(crate) fn to_plain_text(view: &View, extent: Extent) -> String {
    let mut text = Vec::new();
    // Writing into memory does not fail.
    drop(write(&mut text, view, extent, &Palette::default()));
    let text = String::from_utf8_lossy(&text);
    extent.width.map_or_else(|| text.to_string(), |width| folded(&text, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        forms::text::width::visible_width,
        model::{
            coverage::NotLookedAt,
            examples,
            record::{
                Scope,
                cleared::{ClearPlan, LeftOut},
            },
            state::StateSet,
        },
    };

    #[test]
    fn a_plan_to_ask_about_is_broken_between_words() {
        let scope = Scope {
            states: StateSet::CLOSE_WAIT,
            namespaces: 1,
            processes: 9,
            not_looked_at: NotLookedAt::default(),
        };
        let plan = ClearPlan {
            planned: vec![examples::cleared()],
            shared: 1,
            left_out: LeftOut { too_young: 3, age_hidden: 4, still_used: 2, beyond_limit: 1 },
            scope,
            duration_ns: 9_000_000,
            kept: vec![examples::kept()],
        };
        let extent = Extent { rows: 40, width: Some(80), height: Some(24) };
        let text = to_plain_text(&View::ClearPlan { plan, end: None }, extent);
        assert!(text.lines().all(|line| visible_width(line) <= 80), "{text}");
    }
}
