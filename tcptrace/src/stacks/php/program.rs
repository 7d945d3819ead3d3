//! Which package or archive PHP was started to run, by the outermost lines of a stack: where no other line is the application's
//! own, the code of that is. Pure.

use super::sources::{archive, is_archive, is_composers, of_line};
use crate::stacks::{
    kind::Kind,
    point::{Point, ScriptLanguage, ScriptLine},
};

/// The package, or the archive, that is the program, of a stack, innermost first: that which `vendor/bin/worker` calls, and
/// `php tool.phar`. `None` where the program is a file of its own, and where such a file was called by it.
pub(in crate::stacks) fn package(points: &[Point]) -> Option<String> {
    let lines = || {
        points.iter().rev().filter_map(|point| match point {
            Point::Script(line) if line.language == ScriptLanguage::Php => Some(&**line),
            Point::Script(_) | Point::Address { .. } | Point::End => None,
        })
    };
    let outermost = lines().next()?;
    // What an archive begins with has the archive's own path.
    let is_archive = |line: &ScriptLine| line.file.as_deref().is_some_and(is_archive);
    if lines().any(|line| of_line(line) == Kind::Own && !is_archive(line)) {
        return None;
    }
    if is_archive(outermost) {
        return outermost.file.as_deref().map(archive).map(str::to_owned);
    }
    lines().find_map(|line| match of_line(line) {
        Kind::Library(package) if !is_composers(&package) => Some(package),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The package of a stack of these lines, outermost first: their packages and files.
    fn package_by(lines: &[(Option<&str>, &str)]) -> Option<String> {
        let point = |(package, file): &(Option<&str>, &str)| {
            Point::Script(Arc::new(ScriptLine {
                language: ScriptLanguage::Php,
                function: "{main}".to_owned(),
                file: Some((*file).to_owned()),
                line: Some(1),
                package: package.map(Arc::from),
            }))
        };
        package(&lines.iter().rev().map(point).collect::<Vec<_>>())
    }

    #[test]
    fn what_composer_calls_is_the_program_unless_it_calls_another() {
        let launched = [
            (Some("composer"), "/srv/vendor/bin/worker"),
            (Some("shop/worker"), "/srv/vendor/shop/worker/bin/worker"),
            (Some("predis/predis"), "/srv/vendor/predis/predis/src/Client.php"),
        ];
        assert_eq!(package_by(&launched).as_deref(), Some("shop/worker"));
        let tested = [&launched[..2], &[(None, "/srv/tests/ShopTest.php")], &launched[2..]].concat();
        assert_eq!(package_by(&tested), None);
    }

    #[test]
    fn an_archive_is_the_program_where_it_was_started() {
        let within = "phar:///opt/tool.phar/src/run.php";
        assert_eq!(package_by(&[(None, "/opt/tool.phar"), (None, within)]).as_deref(), Some("tool.phar"));
        assert_eq!(package_by(&[(None, "/srv/index.php"), (None, within)]), None);
        assert_eq!(package_by(&[]), None);
    }
}
