//! The names that compilers give to functions of their languages' own libraries, where a program has these in itself: of
//! OCaml, D, Ada, Pascal, Nim and Haskell. Pure.

use super::kind::Kind;

/// Rates a name; `None` where it is none of these.
pub(super) fn of_name(name: &str) -> Option<Kind> {
    /// How names of the runtimes begin.
    const RUNTIMES: [&str; 13] = [
        // OCaml
        "caml_",
        "camlStdlib",
        "camlCamlinternal",
        // D
        "_D3std",
        "_D4core",
        "_D2rt",
        // Ada
        "gnat__",
        "system__",
        "ada__",
        // Haskell
        "stg_",
        "base_GHC",
        "ghczmprim",
        "ghczminternal",
    ];
    /// Pascal writes the unit before `_$$_`.
    const UNITS: [&str; 6] = ["SYSTEM", "SOCKETS", "SSOCKETS", "BASEUNIX", "UNIX", "SYSCALL"];
    let runtime = RUNTIMES.iter().any(|beginning| name.starts_with(beginning))
        || name.split_once("_$$_").is_some_and(|(unit, _)| UNITS.contains(&unit));
    if runtime {
        return Some(Kind::Runtime);
    }
    if name.starts_with("camlUnix") {
        return Some(Kind::Library("Unix".to_owned()));
    }
    // Nim's libraries, of which the path stands behind the name: `connect__pureZnet_1143`.
    if name.contains("__pureZ") || name.contains("__systemZ") || name.contains("__posixZ") {
        return Some(Kind::Library("nim".to_owned()));
    }
    // Haskell's packages have their version in the name, with `z` before what is no letter:
    // `networkzm3zi1zi2zi7zm…_NetworkziSocket_connect1_info`.
    let is_closure = ["_info", "_entry", "_ret", "_slow"].iter().any(|end| name.ends_with(end));
    let (package, _) = name.split_once("zm").filter(|_| is_closure)?;
    let is_version = name.get(package.len() + 2..)?.starts_with(|first: char| first.is_ascii_digit());
    is_version.then(|| Kind::Library(package.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_languages_are_known_by_how_they_write_names() {
        let library = |name: &str| Some(Kind::Library(name.to_owned()));
        for (name, expected) in [
            ("caml_c_call", Some(Kind::Runtime)),
            ("camlUnix__connect_1320", library("Unix")),
            ("camlShop__dial_81", None),
            ("_D3std6socket6Socket7connectMFNeC3std6socket7AddressZv", Some(Kind::Runtime)),
            ("_D4shop4dialFZv", None),
            ("gnat__sockets__connect_socket", Some(Kind::Runtime)),
            ("shop__dial", None),
            ("SYSTEM_$$_FPSYSCALL$INT64$$INT64", Some(Kind::Runtime)),
            ("P$SHOP_$$_DIAL", None),
            ("connect__pureZnet_1143", library("nim")),
            ("dial__n_3", None),
            ("networkzm3zi1zi2zi7zmDrB_NetworkziSocket_connect1_info", library("network")),
            ("Main_dial_info", None),
            ("zm1_info", library("")),
            ("zm", None),
            ("", None),
        ] {
            assert_eq!(of_name(name), expected, "{name}");
        }
    }
}
