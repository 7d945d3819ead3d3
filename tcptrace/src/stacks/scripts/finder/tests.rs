#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may stop at the first surprise")]

use super::*;

#[test]
fn a_program_without_an_interpreter_has_none_and_one_that_is_gone_neither() {
    let mut finder = Finder::new(Path::new("/proc"), Arc::default());
    assert_eq!(finder.find(std::process::id(), true), Found::Nothing);
    assert_eq!(finder.find(u32::MAX >> 1, true), Found::Nothing);
    assert!(finder.files.len() == 1);
}

#[test]
fn the_looks_in_a_second_are_bounded() {
    let mut finder = Finder::new(Path::new("/no/such/proc"), Arc::default());
    for pid in 0..MOST_LOOKS + 3 {
        finder.look(pid, false, 0, &mut |_, _| panic!("nothing is there"));
    }
    assert!(finder.skipped <= 3);
    finder.second = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
    let skipped = finder.skipped;
    finder.look(1, false, 0, &mut |_, _| panic!("nothing is there"));
    assert_eq!((finder.skipped, finder.looks), (skipped, 1));
}

#[test]
fn files_of_interpreters_are_told_by_their_names() {
    for (path, expected) in [
        ("/usr/lib/x86_64-linux-gnu/libpython3.12.so.1.0", true),
        ("/usr/bin/python3.11", true),
        ("/usr/lib/apache2/modules/libphp8.2.so", true),
        ("/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1.2", true),
        ("/usr/lib/libc.so.6", false),
        ("", false),
    ] {
        assert_eq!(may_hold_machine(path), expected, "{path}");
    }
}
