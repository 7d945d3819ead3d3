//! Puts lines of interpreted code where the machine that runs them stands on a native stack. Pure.

use crate::stacks::point::Point;

/// What a frame of machine code has to do with an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stacks) enum Part {
    /// The function of the machine that runs lines, as far as it is known: as many as call each other without leaving it.
    Evaluates,
    /// The machine.
    Machine,
    /// Code of the application that was compiled for the machine, as Cython and mypyc do.
    OwnExtension,
    Other,
}

/// Lines of interpreted code, innermost first, and where in them those end that one call of the machine runs.
pub(in crate::stacks) struct Lines {
    pub(in crate::stacks) points: Vec<Point>,
    pub(in crate::stacks) ends: Vec<usize>,
}

/// A stack, innermost first, with `lines` in place of the part that lies between the innermost and the outermost frame of
/// the machine. What the application's own extensions have there stands between the lines that called it and those that it
/// called, if the machine's calls on the stack are those that the lines tell; all else is left out.
pub(in crate::stacks) fn merged(native: &[Point], lines: Lines, part: impl Fn(u64) -> Part) -> Vec<Point> {
    let part = |point: &Point| match point {
        Point::Address { address, .. } => part(*address),
        Point::Script(_) | Point::End => Part::Other,
    };
    let is_within = |point: &Point| matches!(part(point), Part::Evaluates | Part::Machine);
    let ends = native.iter().position(is_within).zip(native.iter().rposition(is_within));
    // A stack that ends early has not come as far as the machine.
    let (inner, outer) = ends.map_or((native.len(), native.len()), |(first, last)| (first, last + 1));
    let within = native.get(inner..outer).unwrap_or_default();
    let between = placed(within, lines, part);
    let (inner, outer) = (native.iter().take(inner), native.iter().skip(outer));
    inner.cloned().chain(between).chain(outer.cloned()).collect()
}

/// The lines with what own extensions have between them.
fn placed(within: &[Point], Lines { points, ends }: Lines, part: impl Fn(&Point) -> Part) -> Vec<Point> {
    let parts = || within.iter().map(&part);
    let is_known = parts().filter(|part| *part == Part::Evaluates).count() == ends.len();
    if !is_known || parts().all(|part| part != Part::OwnExtension) {
        return points;
    }
    let mut placed = Vec::with_capacity(points.len() + 4);
    let (mut ends, mut points) = (ends.into_iter(), points.into_iter());
    let mut taken = 0;
    for (point, part) in within.iter().zip(parts()) {
        match part {
            Part::Evaluates => {
                let end = ends.next().unwrap_or(taken);
                placed.extend(points.by_ref().take(end.saturating_sub(taken)));
                taken = end;
            }
            Part::OwnExtension => placed.push(point.clone()),
            Part::Machine | Part::Other => {}
        }
    }
    placed.extend(points);
    placed
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
        let part = |address: u64| if (100..200).contains(&address) { Part::Machine } else { Part::Other };
        let lines = || Lines { points: vec![line("leak"), line("main")], ends: vec![2] };
        let below = addresses(&[8, 900]).split_off(1);
        let expected: Vec<Point> =
            addresses(&[7, 8]).into_iter().chain(lines().points).chain(below).collect();
        assert_eq!(merged(&addresses(&[7, 8, 110, 300, 120, 900]), lines(), part), expected);
        let cut: Vec<Point> = addresses(&[7]).into_iter().chain(lines().points).collect();
        assert_eq!(merged(&addresses(&[7]), lines(), part), cut);
        assert_eq!(merged(&[], lines(), part), lines().points);
    }

    #[test]
    fn what_was_compiled_stands_between_the_lines_that_called_it_and_those_that_it_called() {
        let part = |address: u64| match address {
            100..110 => Part::Evaluates,
            110..200 => Part::Machine,
            300..400 => Part::OwnExtension,
            _ => Part::Other,
        };
        let native = addresses(&[7, 150, 101, 160, 300, 310, 500, 170, 102, 180, 900]);
        let lines = |ends: &[usize]| Lines {
            points: vec![line("create_connection"), line("shop"), line("main")],
            ends: ends.to_vec(),
        };
        let at = |nth: usize| native[nth].clone();
        let placed = vec![at(0), line("create_connection"), at(4), at(5), line("shop"), line("main"), at(10)];
        assert_eq!(merged(&native, lines(&[1, 3]), part), placed);
        let left_out = vec![at(0), line("create_connection"), line("shop"), line("main"), at(10)];
        for ends in [&[3][..], &[], &[1, 2, 3]] {
            assert_eq!(merged(&native, lines(ends), part), left_out, "other calls than those on the stack");
        }
        let none =
            |address: u64| if address == 101 || address == 102 { Part::Evaluates } else { Part::Other };
        let outer = vec![at(0), at(1), line("create_connection"), line("shop"), line("main"), at(9), at(10)];
        assert_eq!(merged(&native, lines(&[1, 3]), none), outer, "no extension");
        for ends in [&[9, 1][..], &[0, 0]] {
            assert_eq!(merged(&native, lines(ends), part).len(), placed.len(), "any ends keep all lines");
        }
    }
}
