//! Whose code a file of PHP is, as far as its path tells. Pure.

use std::path::{Component, Path};

use crate::{
    model::no_site::NoSiteBecause::InterpretedPhp,
    stacks::{kind::Kind, point::ScriptLine},
};

/// Where distributions and PEAR put libraries.
const INSTALLED: [&str; 4] = ["/usr/share/php", "/usr/share/pear", "/usr/lib/php", "/usr/local/lib/php"];

/// Composer's own files: what loads packages, and what calls their programs.
const COMPOSER: &str = "composer";

/// Rates a line. What has no file is a function of the machine or of an extension.
pub(in crate::stacks) fn of_line(line: &ScriptLine) -> Kind {
    match (&line.package, line.file.as_deref()) {
        (Some(package), _) => Kind::Library(package.to_string()),
        (None, Some(file)) => of_file(file),
        (None, None) => Kind::Interpreter(InterpretedPhp),
    }
}

fn of_file(path: &str) -> Kind {
    if let Some(archived) = path.strip_prefix("phar://") {
        let within = archived.rsplit_once("/vendor/").map(|(_, within)| package_of(Path::new(within)));
        return Kind::Library(within.unwrap_or_else(|| archive(archived).to_owned()));
    }
    let installed = INSTALLED.iter().find_map(|place| Path::new(path).strip_prefix(place).ok());
    match installed.and_then(|within| within.components().next()) {
        Some(Component::Normal(name)) => Kind::Library(name.to_string_lossy().into_owned()),
        _ => Kind::Own,
    }
}

/// The package that a file is of, by its path below the folder that Composer installs to: `monolog/monolog`.
pub(super) fn package_of(within: &Path) -> String {
    let names: Vec<_> = within.components().map(|name| name.as_os_str().to_string_lossy()).collect();
    match &names[..] {
        [vendor, package, _, ..] => format!("{vendor}/{package}"),
        _ => COMPOSER.to_owned(),
    }
}

/// Whether a line is in Composer's own files.
pub(super) fn is_composers(package: &str) -> bool {
    package == COMPOSER
}

/// The name of the archive that a file is in: `tool.phar` of `/opt/tool.phar/src/run.php`.
pub(super) fn archive(path: &str) -> &str {
    path.split('/').find(|name| is_archive(name)).unwrap_or("phar")
}

/// Whether a path is that of an archive.
pub(super) fn is_archive(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "phar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_applications_unless_they_were_installed_or_packed() {
        let library = |name: &str| Kind::Library(name.to_owned());
        for (path, expected) in [
            ("/srv/shop/public/index.php", Kind::Own),
            ("/srv/shop/vendor/x/y/z.php", Kind::Own),
            ("/srv/shop/index.php(7) : eval()'d code", Kind::Own),
            ("Command line code", Kind::Own),
            ("Standard input code", Kind::Own),
            ("/usr/share/php", Kind::Own),
            ("/usr/share/php/Monolog/Logger.php", library("Monolog")),
            ("/usr/local/lib/php/Net/Socket.php", library("Net")),
            ("phar:///opt/tool.phar/src/run.php", library("tool.phar")),
            ("phar:///opt/tool.phar/vendor/react/socket/src/x.php", library("react/socket")),
            ("phar:///opt/tool.phar/vendor/autoload.php", library("composer")),
            ("phar://tool/x.php", library("phar")),
            ("", Kind::Own),
        ] {
            assert_eq!(of_file(path), expected, "{path}");
        }
    }

    #[test]
    fn packages_have_the_names_of_their_two_folders() {
        for (path, expected) in [
            ("monolog/monolog/src/Logger.php", "monolog/monolog"),
            ("composer/composer/src/x.php", "composer/composer"),
            ("composer/ClassLoader.php", "composer"),
            ("bin/phpunit", "composer"),
            ("autoload.php", "composer"),
            ("", "composer"),
        ] {
            assert_eq!(package_of(Path::new(path)), expected, "{path}");
        }
    }
}
