//! Code of the application that the compiler put into a function of a library which runs what others hand it: the closures of
//! threads, tasks and callbacks. Without line tables it has no line, but the name of such a function may say whose closure it
//! runs. Pure.

/// Whether a function of a library, which opens no socket by itself, runs what others hand it, by its name.
pub(super) fn runs_closures(name: &str) -> bool {
    // Rust's threads and boxed closures, tasks of tokio; what is outside of functions in Nim and Crystal.
    const RUNNERS: [&str; 7] = [
        "__rust_begin_short_backtrace",
        "core::ops::function::Fn",
        "tokio::runtime::task::",
        "tokio::runtime::blocking::task::",
        "NimMainInner",
        "__crystal_main",
        "*Crystal::main",
    ];
    RUNNERS.iter().any(|runner| name.contains(runner)) || is_template(name)
}

/// Whether a function is made of a template of the standard library of C++, which has nothing that opens sockets.
fn is_template(name: &str) -> bool {
    ["std::", "__gnu_cxx::"].iter().any(|space| name.starts_with(space)) && name.contains('<')
}

/// The closure that such a function was made for, as its name says: `shop::run(int)::{lambda()#1}` of
/// `std::thread::_State_impl<std::thread::_Invoker<std::tuple<shop::run(int)::{lambda()#1}> > >::_M_run`, and `shop::run(int)::$_0`
/// where clang writes that. The innermost one that `is_own`.
pub(super) fn closure(name: &str, is_own: impl Fn(&str) -> bool) -> Option<&str> {
    const MARKS: [&str; 3] = ["::{lambda(", "::{closure#", CLANG];
    const CLANG: &str = "::$_";
    let marks = MARKS.iter().flat_map(|mark| name.match_indices(mark));
    let closures = marks.filter_map(|(at, mark)| {
        let behind = name.get(at + mark.len()..)?;
        let width = match mark {
            CLANG => behind.bytes().take_while(u8::is_ascii_digit).count(),
            _ => behind.find('}')? + 1,
        };
        name.get(beginning(name.get(..at)?)..at + mark.len() + width)
    });
    closures.filter(|closure| *closure != name && is_own(closure)).last()
}

/// Where the last name of a text begins that goes on to its end: behind the bracket that is open, or the comma.
fn beginning(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices().rev() {
        match character {
            ')' | '>' | ']' | '}' => depth += 1,
            '(' | '<' | '[' | '{' | ',' | ' ' if depth == 0 => return at + character.len_utf8(),
            '(' | '<' | '[' | '{' => depth -= 1,
            _ => {}
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_closure_that_a_function_was_made_for_is_in_its_name() {
        let is_own = |name: &str| !name.starts_with("std::");
        for (name, expected) in [
            (
                "std::thread::_State_impl<std::thread::_Invoker<std::tuple<shop::run(int)::{lambda()#1}> > >::_M_run",
                Some("shop::run(int)::{lambda()#1}"),
            ),
            (
                "std::_Function_handler<void (int), main::{lambda(int)#1}>::_M_invoke",
                Some("main::{lambda(int)#1}"),
            ),
            (
                "std::_Function_handler<std::unique_ptr<int>, std::__future_base::_Task_state<int (*)(int)>::_M_run(int&&)::{lambda()#1}, int>::_M_invoke",
                None,
            ),
            (
                "std::thread::_State_impl<std::thread::_Invoker<std::tuple<main::$_0, int> > >::_M_run",
                Some("main::$_0"),
            ),
            (
                "std::sys::backtrace::__rust_begin_short_backtrace::<shop_app::main::{closure#0}, ()>",
                Some("shop_app::main::{closure#0}"),
            ),
            ("std::thread::_State_impl<std::thread::_Invoker<std::tuple<shop::Worker> > >::_M_run", None),
            ("shop::run(int)::{lambda()#1}", None),
            ("std::rt::lang_start::<()>::{closure#0}", None),
            ("::{lambda(", None),
            ("", None),
        ] {
            assert_eq!(closure(name, is_own), expected, "{name}");
        }
    }

    #[test]
    fn what_runs_closures_is_told_from_what_opens_sockets() {
        for name in [
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "tokio::runtime::task::core::Core<T,S>::poll",
            "<tokio::runtime::blocking::task::BlockingTask<T> as core::future::future::Future>::poll",
            "std::__future_base::_State_baseV2::_M_do_set<int>",
            "std::thread::_State_impl<std::thread::_Invoker<std::tuple<shop::Worker> > >::_M_run",
        ] {
            assert!(runs_closures(name), "{name}");
        }
        for name in [
            "std::net::tcp::TcpStream::connect",
            "tokio::net::tcp::stream::TcpStream::connect",
            "connect",
            "",
        ] {
            assert!(!runs_closures(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_has_some_closure_or_none(name in ".*", odd in "[a:<>(){},# ]{0,40}(::\\{lambda\\(\\)#1\\})?[>, :a]{0,9}") {
            closure(&name, |_| true);
            closure(&odd, |_| true);
        }
    }
}
