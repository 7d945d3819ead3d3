//! Puts lines of Python where the machine that runs them stands on a native stack. Pure.

use crate::stacks::point::Point;

/// A stack, innermost first, with `lines` in place of the part that lies between the innermost and the outermost frame of
/// the machine. What an extension has there stands between lines nobody knows, and is left out.
pub(in crate::stacks) fn merged(
    native: &[Point],
    lines: Vec<Point>,
    is_machine: impl Fn(u64) -> bool,
) -> Vec<Point> {
    let is_within = |point: &Point| matches!(point, Point::Address { address, .. } if is_machine(*address));
    let ends = native.iter().position(is_within).zip(native.iter().rposition(is_within));
    // A stack that ends early has not come as far as the machine.
    let (inner, outer) = ends.map_or((native.len(), native.len()), |(first, last)| (first, last + 1));
    let (inner, outer) = (native.iter().take(inner), native.iter().skip(outer));
    inner.cloned().chain(lines).chain(outer.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stacks::point::{ScriptLanguage, ScriptLine, addresses};

    fn line(function: &str) -> Point {
        Point::Script(Arc::new(ScriptLine {
            language: ScriptLanguage::Python,
            function: function.to_owned(),
            file: None,
            line: Some(1),
            package: None,
        }))
    }

    #[test]
    fn lines_stand_for_the_machine_that_runs_them() {
        let is_machine = |address: u64| (100..200).contains(&address);
        let lines = || vec![line("leak"), line("main")];
        let below = addresses(&[8, 900]).split_off(1);
        let expected: Vec<Point> = addresses(&[7, 8]).into_iter().chain(lines()).chain(below).collect();
        assert_eq!(merged(&addresses(&[7, 8, 110, 300, 120, 900]), lines(), is_machine), expected);
        let cut: Vec<Point> = addresses(&[7]).into_iter().chain(lines()).collect();
        assert_eq!(merged(&addresses(&[7]), lines(), is_machine), cut);
        assert_eq!(merged(&[], lines(), is_machine), lines());
    }
}
