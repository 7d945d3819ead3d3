#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use super::*;
use std::{os::fd::AsFd as _, sync::atomic::AtomicUsize};

use crate::model::captured_stack::{CapturedFrames, Registers, StackBytes};
use crate::stacks::point::addresses;

#[test]
fn equal_stacks_are_kept_once_and_a_later_call_at_the_same_address_is_another_one() {
    let mut kept = Kept::default();
    kept.keep(KernelSocket(7), 100, addresses(&[1, 2]), Weak::new());
    kept.keep(KernelSocket(8), 110, addresses(&[1, 2]), Weak::new());
    assert_eq!((kept.calls.len(), kept.stacks.len()), (2, 1));
    let stacks = UnwoundStacks {
        kept: Arc::new(Mutex::new(kept)),
        passes: Arc::default(),
        is_over: Arc::default(),
        wakeup: Arc::new(Wakeup::new().unwrap()),
    };
    let points = |ktime_ns| stacks.of(KernelSocket(7), ktime_ns).map(|stack| stack.points);
    assert_eq!(points(100).as_deref(), Some(&addresses(&[1, 2])[..]));
    assert_eq!(points(101), None);
}

#[test]
fn of_a_socket_the_last_two_calls_are_kept() {
    let mut kept = Kept::default();
    for (ktime_ns, address) in [(100, 1), (200, 2), (300, 3)] {
        kept.keep(KernelSocket(7), ktime_ns, addresses(&[address]), Weak::new());
        let first = (ktime_ns < 300).then(|| Points::from(addresses(&[1])));
        let points = |ktime_ns| kept.of(KernelSocket(7), ktime_ns).map(|stack| stack.points);
        assert_eq!(points(100), first);
        assert_eq!(points(ktime_ns), Some(Points::from(addresses(&[address]))));
    }
}

#[test]
fn the_thread_takes_copies_and_a_process_that_is_gone_has_no_stack() {
    const COPIES: usize = 3 * BATCH;
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    let mut left = COPIES;
    let wakeup = Arc::new(Wakeup::new().unwrap());
    let wakes = Arc::clone(&wakeup);
    let (nothing_comes, _writer) = std::io::pipe().unwrap();
    let drain = move |at_most: Duration, limit: usize, visit: &mut dyn FnMut(CapturedStack)| {
        if left == 0 {
            return wakes.wait(nothing_comes.as_fd(), at_most);
        }
        let taken = left.min(limit);
        left -= taken;
        for _ in 0..taken {
            let registers = Registers { pc: 1, ..Registers::default() };
            let (socket, pid, script) = (KernelSocket(7), u32::MAX >> 1, CapturedFrames::default());
            visit(CapturedStack {
                socket,
                ktime_ns: 1,
                pid,
                registers,
                stack_end: 0,
                bytes: StackBytes { start: registers.sp, bytes: vec![0; 64], chunks: 1 },
                script,
            });
            counts.fetch_add(1, Ordering::Relaxed);
        }
    };
    let stacks = UnwoundStacks::start(Path::new("/proc"), Arc::default(), None, wakeup, drain).unwrap();
    stacks.catch_up(Duration::from_mins(1));
    assert_eq!(count.load(Ordering::Relaxed), COPIES, "all that was there is unwound");
    assert!(stacks.copies_stacks());
    assert!(stacks.of(KernelSocket(7), 1).is_none());
}

#[test]
fn frame_pointers_lead_on_where_a_copy_ends() {
    // The copy ends at 4; by frame pointers the function outside of a frameless one, 2, was missed.
    assert_eq!(
        joined(&addresses(&[1, 2, 3, 4]), &addresses(&[1, 3, 4, 5, 6])),
        addresses(&[1, 2, 3, 4, 5, 6])
    );
    // Where frame pointers went astray, they do not meet.
    assert_eq!(joined(&addresses(&[1, 2, 3, 4]), &addresses(&[1, 99])), addresses(&[1, 2, 3, 4]));
    assert_eq!(joined(&addresses(&[1, 2, 3]), &addresses(&[])), addresses(&[1, 2, 3]));
    assert_eq!(joined(&addresses(&[1]), &addresses(&[1, 5, 6])), addresses(&[1, 5, 6]));
    assert_eq!(
        joined(&addresses(&[1, 2, 3]), &addresses(&[1, 5, 6, 7])),
        addresses(&[1, 2, 3, 5, 6, 7]),
        "functions without frame pointers, of which the outermost has a stack of its own"
    );
    assert_eq!(
        joined(&addresses(&[1, 7, 7, 7, 8]), &addresses(&[1, 7, 7, 7, 8, 9])),
        addresses(&[1, 7, 7, 7, 8, 9]),
        "a recursion"
    );
}

#[test]
fn lines_that_a_machine_told_do_not_give_way_to_addresses() {
    let told = |function: &str| {
        let (language, function) = (crate::stacks::point::ScriptLanguage::Java, function.to_owned());
        Point::Script(
            crate::stacks::point::ScriptLine { language, function, file: None, line: None, package: None }
                .into(),
        )
    };
    let unwound = [addresses(&[1, 2]), vec![told("Leak.open"), told("Leak.main")]].concat();
    assert_eq!(joined(&unwound, &addresses(&[1, 2, 70, 71, 72, 73])), unwound);
    let to_the_end = [unwound.clone(), addresses(&[5, 6])].concat();
    assert_eq!(
        joined(&to_the_end, &addresses(&[1, 70, 6, 7])),
        [to_the_end.clone(), addresses(&[6, 7]).split_off(1)].concat()
    );
}
