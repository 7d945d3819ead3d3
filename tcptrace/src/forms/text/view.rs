//! Views as text.

use std::io::{self, Write};

use super::{cleared, snapshot, time_wait};
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
        View::TimeWaitLook { look, summary: _, is_page } => {
            time_wait::write(out, look, extent, extent.height.filter(|_| *is_page), palette)
        }
    }
}

/// A view without colours, for a question about it.
pub(crate) fn to_plain_text(view: &View, extent: Extent) -> String {
    let mut text = Vec::new();
    // Writing into memory does not fail.
    drop(write(&mut text, view, extent, &Palette::default()));
    String::from_utf8_lossy(&text).into_owned()
}
