//! Whose code a file of Ruby is, as far as its path tells. Pure.

use std::path::{Component, Path};

use crate::{
    model::no_site::NoSiteBecause::InterpretedRuby,
    stacks::{
        kind::Kind,
        point::ScriptLine,
        sources::{is_versioned, package_of},
    },
};

/// Rates a line.
pub(in crate::stacks) fn of_line(line: &ScriptLine) -> Kind {
    of_file(line.file.as_deref().unwrap_or_default())
}

fn of_file(path: &str) -> Kind {
    // What Ruby has in itself of Ruby: `<internal:kernel>`, and RubyGems', with the path.
    if path.starts_with("<internal:") {
        return Kind::Interpreter(InterpretedRuby);
    }
    library(Path::new(path)).map_or(Kind::Own, Kind::Library)
}

/// The gem, or the library of Ruby's own, that a file is of: `puma-6.4.0`, and `net` of `/usr/lib/ruby/3.1.0/net/http.rb`.
pub(super) fn library(path: &Path) -> Option<String> {
    package_of(path).or_else(|| {
        let names: Vec<&str> = path
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        let name = |at: usize| names.get(at).copied().unwrap_or_default();
        let (start, _) = names.iter().enumerate().rfind(|(at, _)| begins_library(&name, *at))?;
        let within = names.get(start..)?;
        let first = within.first()?;
        Some(first.strip_suffix(".rb").unwrap_or(first).to_owned())
    })
}

/// Whether names from there on are of a library: below `bundler/gems`, where it has a revision in place of a version, and below what
/// installations have for Ruby's own (`ruby/3.1.0`), for distributions (`ruby/vendor_ruby`) and for the host (`ruby/site_ruby`),
/// which may be by version and by machine.
fn begins_library<'a>(name: &impl Fn(usize) -> &'a str, at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(name).unwrap_or_default();
    let is_folder = |back: usize| {
        let is_of_ruby = before(back + 1) == "ruby";
        is_of_ruby && (is_version(before(back)) || matches!(before(back), "vendor_ruby" | "site_ruby"))
    };
    let is_by_version = |back: usize| is_folder(back + 1) && is_version(before(back));
    let is_plain = is_folder(1) && !is_version(name(at)) && !is_machine(name(at));
    let is_versioned = is_by_version(1) && !is_machine(name(at));
    let is_of_machine = is_machine(before(1)) && (is_folder(2) || is_by_version(2));
    let is_of_bundler = before(1) == "gems" && before(2) == "bundler";
    is_plain || is_versioned || is_of_machine || is_of_bundler
}

/// `3.1.0`, by which an installation is compatible.
fn is_version(name: &str) -> bool {
    name.split('.').count() == 3 && name.split('.').all(|number| number.parse::<u8>().is_ok())
}

/// `x86_64-linux-gnu`, `aarch64-linux`.
fn is_machine(name: &str) -> bool {
    name.split_once('-').is_some_and(|(_, system)| system.starts_with("linux"))
}

/// Whether a file is a part in C of Ruby's own library: `ruby/3.1.0/socket.so`, also by machine.
pub(in crate::stacks) fn is_extension(path: &Path) -> bool {
    const OF_GEMS: [&str; 3] = ["gems", "extensions", "bundler"];
    let mut names = path.components().map(|component| component.as_os_str().to_string_lossy());
    let mut is_in_ruby = false;
    let is_standard = names.any(|name| {
        let is_place = is_in_ruby && is_version(&name);
        is_in_ruby = name == "ruby";
        is_place
    });
    let is_of_gem = names.next().is_some_and(|next| OF_GEMS.contains(&&*next));
    is_standard && !is_of_gem && path.extension().is_some_and(|extension| extension == "so")
}

/// Whether a file is a program of a gem: `gems/puma-6.4.0/bin/puma`.
pub(super) fn is_program_of_gem(path: &Path) -> bool {
    let mut above = path.components().rev().skip(1).map(|component| component.as_os_str().to_string_lossy());
    let is_in_bin = above.next().is_some_and(|folder| matches!(&*folder, "bin" | "exe" | "libexec"));
    is_in_bin && above.next().is_some_and(|gem| is_versioned(&gem))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_are_the_applications_unless_they_were_installed() {
        let library = |name: &str| Kind::Library(name.to_owned());
        for (path, expected) in [
            ("/srv/shop/app/ledger.rb", Kind::Own),
            ("/srv/shop/vendor/ledger.rb", Kind::Own),
            ("/srv/ruby/ledger.rb", Kind::Own),
            ("/srv/shop/lib/ruby/ledger.rb", Kind::Own),
            ("-e", Kind::Own),
            ("-", Kind::Own),
            ("(eval)", Kind::Own),
            ("(eval at /srv/shop/ledger.rb:7)", Kind::Own),
            ("", Kind::Own),
            ("<internal:kernel>", Kind::Interpreter(InterpretedRuby)),
            (
                "<internal:/usr/lib/ruby/vendor_ruby/rubygems/core_ext/kernel_require.rb>",
                Kind::Interpreter(InterpretedRuby),
            ),
            ("/usr/lib/ruby/3.1.0/net/http.rb", library("net")),
            ("/usr/lib/ruby/3.1.0/socket.rb", library("socket")),
            ("/usr/local/lib/ruby/3.3.0/drb/drb.rb", library("drb")),
            ("/home/a/.rbenv/versions/3.2.2/lib/ruby/3.2.0/x86_64-linux/rbconfig.rb", library("rbconfig")),
            ("/usr/lib/ruby/vendor_ruby/puma/reactor.rb", library("puma")),
            ("/usr/lib/ruby/vendor_ruby/3.1.0/puma.rb", library("puma")),
            ("/usr/lib/ruby/vendor_ruby/3.1.0/x86_64-linux-gnu/x/y.rb", library("x")),
            ("/usr/local/lib/site_ruby/ledger.rb", Kind::Own),
            ("/usr/local/lib/ruby/site_ruby/3.1.0/rubygems/x.rb", library("rubygems")),
            ("/var/lib/gems/3.1.0/gems/puma-6.4.0/lib/puma/reactor.rb", library("puma-6.4.0")),
            ("/usr/share/rubygems-integration/all/gems/rack-2.2.6/lib/rack.rb", library("rack-2.2.6")),
            ("/usr/lib/ruby/gems/3.1.0/gems/rake-13.0.6/lib/rake.rb", library("rake-13.0.6")),
            ("/srv/shop/vendor/bundle/ruby/3.1.0/gems/redis-5.0.6/lib/redis.rb", library("redis-5.0.6")),
            ("/srv/b/ruby/3.1.0/bundler/gems/rails-c0ffee12ab34/lib/x.rb", library("rails-c0ffee12ab34")),
        ] {
            assert_eq!(of_file(path), expected, "{path}");
        }
    }

    #[test]
    fn parts_in_c_are_rubys_own_unless_they_are_of_gems() {
        for (path, expected) in [
            ("/usr/lib/x86_64-linux-gnu/ruby/3.1.0/socket.so", true),
            ("/home/a/.rbenv/versions/3.2.2/lib/ruby/3.2.0/x86_64-linux/socket.so", true),
            ("/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/puma/puma_http11.so", false),
            ("/srv/bundle/ruby/3.1.0/gems/puma-6.4.0/lib/puma/puma_http11.so", false),
            ("/srv/bundle/ruby/3.1.0/extensions/x86_64-linux/3.1.0/puma-6.4.0/puma_http11.so", false),
            ("/srv/ruby/ledger.so", false),
            ("/usr/lib/ruby/3.1.0/socket.rb", false),
            ("/usr/lib/ruby/3.1.0", false),
        ] {
            assert_eq!(is_extension(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn programs_of_gems_are_told_by_their_folders() {
        for (path, expected) in [
            ("/var/lib/gems/3.1.0/gems/puma-6.4.0/bin/puma", true),
            ("/var/lib/gems/3.1.0/gems/bundler-2.4/exe/bundle", true),
            ("/usr/lib/ruby/gems/3.1.0/gems/bundler-2.3.15/libexec/bundle", true),
            ("/var/lib/gems/3.1.0/gems/puma-6.4.0/lib/puma.rb", false),
            ("/srv/shop/bin/rails", false),
            ("/bin", false),
            ("", false),
        ] {
            assert_eq!(is_program_of_gem(Path::new(path)), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_somebodys(path in "(/|[a-z]{1,3}|ruby|gems|bundler|3\\.1\\.0|-|linux|\\.rb){0,20}") {
            of_file(&path);
            is_program_of_gem(Path::new(&path));
            is_extension(Path::new(&path));
        }
    }
}
