//! Which gem Ruby was started to run, by the outermost lines of a stack: where no other line is the application's own, the code of
//! that is. Pure.

use std::path::Path;

use super::sources::{is_program_of_gem, library, of_line};
use crate::stacks::{
    kind::Kind,
    point::{Point, ScriptLanguage, ScriptLine},
};

/// Where distributions put programs. Those that they package call what lies among libraries.
const INSTALLED: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/games"];

/// The gem that is the program, of a stack, innermost first: that of `bin/puma`. `None` where the program is a file of its own, and
/// where such a file was called by it.
pub(in crate::stacks) fn package(points: &[Point]) -> Option<String> {
    let lines = || {
        points.iter().rev().filter_map(|point| match point {
            Point::Script(line) if line.language == ScriptLanguage::Ruby => Some(&**line),
            Point::Script(_) | Point::Address { .. } | Point::End => None,
        })
    };
    let outermost = lines().next().filter(|line| line.function == "<main>")?;
    if lines().any(|line| of_line(line) == Kind::Own && !is_launcher(line)) {
        return None;
    }
    let libraries = lines().filter(|line| matches!(of_line(line), Kind::Library(_))).map(path);
    // What loads the program, which may be a program of Bundler's, is not the program.
    let called = libraries.into_iter().find(|path| !is_rubygems(path))?;
    let is_installed = path(outermost)
        .parent()
        .is_some_and(|folder| INSTALLED.iter().any(|place| folder == Path::new(place)));
    library(called).filter(|_| is_installed || is_program_of_gem(called))
}

/// Whether a line is that of a script which an installer made, to call the gem that it belongs to: `bin/puma`.
pub(in crate::stacks) fn is_launcher(line: &ScriptLine) -> bool {
    let path = path(line);
    let is_in_bin = path.parent().is_some_and(|folder| {
        INSTALLED.contains(&folder.to_str().unwrap_or_default()) || folder.ends_with("bin")
    });
    is_in_bin && path.extension().is_none() && matches!(&*line.function, "<main>" | "<top (required)>")
}

fn path(line: &ScriptLine) -> &Path {
    Path::new(line.file.as_deref().unwrap_or_default())
}

/// Whether a file is one of RubyGems or of Bundler, which load what others have asked for.
fn is_rubygems(path: &Path) -> bool {
    library(path).is_some_and(|name| matches!(name.split('-').next(), Some("rubygems" | "bundler")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The gem of a stack of these lines, outermost first.
    fn package_by(lines: &[(&str, &str)]) -> Option<String> {
        let point = |(function, file): &(&str, &str)| {
            Point::Script(Arc::new(ScriptLine {
                language: ScriptLanguage::Ruby,
                function: (*function).to_owned(),
                file: Some((*file).to_owned()),
                line: Some(1),
                package: None,
            }))
        };
        package(&lines.iter().rev().map(point).collect::<Vec<_>>())
    }

    const GEMS: &str = "/usr/local/bundle/gems";

    #[test]
    fn what_a_launcher_calls_is_the_program_unless_it_calls_another() {
        let (program, server) = (
            format!("{GEMS}/unicorn-6.1.0/bin/unicorn"),
            format!("{GEMS}/unicorn-6.1.0/lib/unicorn/http_server.rb"),
        );
        let launched = [
            ("<main>", "/usr/local/bundle/bin/unicorn"),
            ("<top (required)>", &*program),
            ("accept", &*server),
        ];
        assert_eq!(package_by(&launched).as_deref(), Some("unicorn-6.1.0"));
        let served = [&launched[..], &[("call", "/srv/shop/ledger.rb")]].concat();
        assert_eq!(package_by(&served), None);
        let bundler = format!("{GEMS}/bundler-2.4.1/lib/bundler/cli/exec.rb");
        let bundled = [
            &[("<main>", "/usr/local/bin/bundle"), ("kernel_load", &*bundler)][..],
            &[("<top (required)>", "/usr/local/bundle/bin/unicorn")],
            &launched[1..],
        ]
        .concat();
        assert_eq!(package_by(&bundled).as_deref(), Some("unicorn-6.1.0"));
    }

    #[test]
    fn what_a_distribution_packages_is_the_program() {
        const LIBRARY: (&str, &str) = ("run", "/usr/lib/ruby/vendor_ruby/puma/cli.rb");
        assert_eq!(package_by(&[("<main>", "/usr/bin/puma"), LIBRARY]).as_deref(), Some("puma"));
        assert_eq!(package_by(&[("<main>", "/srv/shop/bin/rails"), LIBRARY]), None);
        assert_eq!(package_by(&[("<main>", "/srv/shop/run.rb"), LIBRARY]), None);
        assert_eq!(package_by(&[("block in start", "/usr/bin/puma"), LIBRARY]), None, "a thread");
        assert_eq!(package_by(&[("<main>", "/usr/bin/shop")]), None);
        assert_eq!(package_by(&[]), None);
    }
}
