//! Shortens the names of functions to what tells them from others, in a bounded width. Knows no file and no module.

use std::borrow::Cow;

/// Most characters of a name. Names of generic code can be thousands long.
pub(super) const MAX_WIDTH: usize = 100;

/// The name without what follows it: of C++ the parameters, the qualifiers and, of templates, the type in front.
pub(super) fn plain(name: &str) -> &str {
    let mut rest = name.trim_end();
    // `[clone .cold]` and `[clone .isra.0]` are parts of a function that the compiler has split.
    while let Some(at) = rest.strip_suffix(']').and_then(|inner| inner.rfind(" [clone ")) {
        rest = rest.get(..at).unwrap_or(rest);
    }
    rest = unsplit(rest);
    let mut unqualified = rest;
    while let Some(shorter) = [" const", " volatile", " noexcept", "&&", "&"]
        .iter()
        .find_map(|qualifier| unqualified.strip_suffix(qualifier))
    {
        unqualified = shorter.trim_end();
    }
    let Some(named) = opening(unqualified).and_then(|at| unqualified.get(..at)) else { return rest };
    // `(anonymous namespace)` alone, or the call operator without its parameters.
    if named.is_empty() || named.ends_with("operator") || named.ends_with("::") {
        return rest;
    }
    // What follows `operator` may have spaces.
    let scope = named.find("operator").map_or(named, |at| &named[..at]);
    match last_space(scope) {
        Some(at) => named.get(at + 1..).unwrap_or(named),
        None => named,
    }
}

/// The name without what gcc and clang write behind those of parts and copies of a function: `dial.constprop.0`, `dial.cold`.
fn unsplit(name: &str) -> &str {
    const COPIES: [&str; 6] = [".constprop.", ".isra.", ".part.", ".lto_priv.", ".llvm.", ".clone."];
    let mut rest = name;
    loop {
        let shorter = rest.strip_suffix(".cold").or_else(|| rest.strip_suffix(".localalias")).or_else(|| {
            let copy = rest.trim_end_matches(|digit: char| digit.is_ascii_digit());
            let is_numbered = copy.len() < rest.len();
            COPIES.iter().find_map(|copied| copy.strip_suffix(copied)).filter(|_| is_numbered)
        });
        match shorter.filter(|shorter| !shorter.is_empty()) {
            Some(shorter) => rest = shorter,
            None => return rest,
        }
    }
}

/// Where the parenthesis opens that the last character closes.
fn opening(name: &str) -> Option<usize> {
    if !name.ends_with(')') {
        return None;
    }
    let mut depth = 0_usize;
    for (at, character) in name.char_indices().rev() {
        match character {
            ')' => depth += 1,
            '(' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The last space outside of all brackets.
fn last_space(name: &str) -> Option<usize> {
    let (mut depth, mut last) = (0_usize, None);
    for (at, character) in name.char_indices() {
        match character {
            '(' | '<' | '[' | '{' => depth += 1,
            ')' | '>' | ']' | '}' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => last = Some(at),
            _ => {}
        }
    }
    last
}

/// The name in a bounded width. The middle gives way: the end tells most.
pub(super) fn bounded(name: &str) -> Cow<'_, str> {
    let width = name.chars().count();
    if width <= MAX_WIDTH {
        return Cow::Borrowed(name);
    }
    let front = MAX_WIDTH / 3;
    let back = MAX_WIDTH - front - 1;
    let head: String = name.chars().take(front).collect();
    let tail: String = name.chars().skip(width - back).collect();
    Cow::Owned(format!("{head}…{tail}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_no_parameters() {
        for (name, expected) in [
            ("shop::Ledger::open(std::string const&)", "shop::Ledger::open"),
            ("shop::Ledger::open(std::function<void (int)>) const", "shop::Ledger::open"),
            ("void shop::dial<int>(int&&) [clone .cold]", "shop::dial<int>"),
            ("std::vector<int, std::allocator<int> > shop::all<int>()", "shop::all<int>"),
            ("(anonymous namespace)::dial(int)", "(anonymous namespace)::dial"),
            (
                "shop::open()::{lambda(int)#1}::operator()(int) const",
                "shop::open()::{lambda(int)#1}::operator()",
            ),
            ("shop::Ledger::operator bool() const", "shop::Ledger::operator bool"),
            ("shop::f(int) [clone .isra.0] [clone .part.0]", "shop::f"),
            (
                "void boost::asio::basic_socket<tcp, any>::initiate::operator()<shop::done>(int&&) const",
                "boost::asio::basic_socket<tcp, any>::initiate::operator()<shop::done>",
            ),
            ("dial.constprop.0", "dial"),
            ("dial.part.0.isra.12.cold", "dial"),
            ("net.(*TCPListener).Accept", "net.(*TCPListener).Accept"),
            ("main.part", "main.part"),
            (".cold", ".cold"),
            ("main", "main"),
            ("net.(*TCPListener).Accept", "net.(*TCPListener).Accept"),
            ("<shop::A as core::ops::Fn<(u8, u8)>>::call", "<shop::A as core::ops::Fn<(u8, u8)>>::call"),
            ("shop::serve::{closure#0}", "shop::serve::{closure#0}"),
            ("(anonymous namespace)", "(anonymous namespace)"),
            ("", ""),
            (")", ")"),
            ("())", "())"),
        ] {
            assert_eq!(plain(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_cut_to_its_width(name in ".*", odd in "[()<>\\[\\]& €a:]{0,300}") {
            for name in [name, odd] {
                prop_assert!(name.contains(plain(&name)));
                prop_assert!(bounded(&name).chars().count() <= MAX_WIDTH);
                prop_assert!(bounded(plain(&name)).chars().count() <= MAX_WIDTH);
            }
        }
    }
}
