#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    frames::Step,
    synthetic::{
        ASIDE, CALL_STUB_RETURN, CODE, COMPILED, DEOPT, FRAME, Generation, INTERPRETED, Machine, STUB,
    },
};
use crate::stacks::{memory::planted::Planted, point::ScriptLine, registers::FrameRegisters};

const SP: u64 = 0x7fff_0000;
const FP: u64 = SP + 0x100;
const BCP: i64 = if cfg!(target_arch = "x86_64") { -8 } else { -9 };

/// Words of a stack.
#[derive(Default)]
struct Words(BTreeMap<u64, u64>);

impl Words {
    fn set(&mut self, fp: u64, words: i64, value: u64) {
        self.0.insert(fp.checked_add_signed(8 * words).unwrap(), value);
    }
}

fn step(machine: Machine, at: FrameRegisters, stack: &Words) -> Step {
    let mut hotspot = machine.hotspot();
    hotspot.look().unwrap().step(at, &|address| stack.0.get(&address).copied())
}

fn text(line: &ScriptLine) -> String {
    let number = line.line.map_or_else(|| "-".to_owned(), |line| line.to_string());
    format!("{} {}:{number}", line.function, line.file.as_deref().unwrap_or("-"))
}

fn lines(step: &Step) -> Vec<String> {
    match step {
        Step::Elsewhere => vec!["elsewhere".to_owned()],
        Step::Frame { lines, .. } => lines.iter().map(text).collect(),
    }
}

fn caller(step: &Step) -> Option<FrameRegisters> {
    match step {
        Step::Elsewhere => None,
        Step::Frame { caller, .. } => *caller,
    }
}

fn interpreted(method: u64, bcp: u64) -> Words {
    let mut stack = Words::default();
    for (words, value) in [(-1, FP + 24), (-3, method), (BCP, bcp), (0, FP + 0x200), (1, CALL_STUB_RETURN)] {
        stack.set(FP, words, value);
    }
    stack
}

#[test]
fn a_frame_of_the_interpreter_has_its_line_and_leads_to_its_caller() {
    let machine = Machine::new(Generation::Jdk17);
    let stack = interpreted(machine.methods[0], machine.bcp(0, 6));
    let step = step(machine, FrameRegisters { pc: INTERPRETED, sp: SP, fp: FP }, &stack);
    assert_eq!(lines(&step), ["com.acme.Leak.main com/acme/Leak.java:7"]);
    assert_eq!(caller(&step), Some(FrameRegisters { pc: CALL_STUB_RETURN, sp: FP + 24, fp: FP + 0x200 }));
}

#[test]
fn a_native_method_has_no_line() {
    let machine = Machine::new(Generation::Jdk25);
    let stack = interpreted(machine.methods[2], 0);
    let step = step(machine, FrameRegisters { pc: INTERPRETED, sp: SP, fp: FP }, &stack);
    assert_eq!(lines(&step), ["com.acme.Leak.connect0 com/acme/Leak.java:-"]);
}

#[test]
fn what_is_no_method_or_no_place_in_it_has_no_name() {
    let at = FrameRegisters { pc: INTERPRETED, sp: SP, fp: FP };
    let nothing = Step::Frame { lines: vec![], caller: None };
    for generation in [Generation::Jdk17, Generation::Jdk25] {
        let machine = Machine::new(generation);
        let [main, open, _] = machine.methods;
        let bcp = machine.bcp(0, 6);
        for (method, bcp) in [(main + 8, bcp), (0, bcp), (u64::MAX, bcp), (SP, bcp), (open, bcp), (main, 0)] {
            let stack = interpreted(method, bcp);
            assert_eq!(step(Machine::new(generation), at, &stack), nothing, "{method:#x} {bcp:#x}");
        }
        // Its class does not know it any more: it was unloaded, and others live there.
        let mut machine = Machine::new(generation);
        let other = machine.methods[1];
        let memory = machine.memory.clone();
        let (pool, class) = pool_and_class(&memory, main);
        machine.memory.u64(class + 408, other);
        assert_eq!(step(machine, at, &interpreted(main, bcp)), nothing);
        let mut machine = Machine::new(generation);
        machine.memory.u64(class + 232, pool + 8);
        assert_eq!(step(machine, at, &interpreted(main, bcp)), nothing);
    }
}

fn pool_and_class(memory: &Planted, method: u64) -> (u64, u64) {
    let look = crate::stacks::memory::Look::at(memory);
    let pool = look.u64(look.u64(method + 8).unwrap() + 8).unwrap();
    (pool, look.u64(pool + 24).unwrap())
}

fn compiled_stack() -> Words {
    let mut stack = Words::default();
    stack.0.insert(SP + FRAME - 8, INTERPRETED);
    stack.0.insert(SP + FRAME - 16, FP);
    stack
}

#[test]
fn compiled_code_has_the_lines_that_were_inlined() {
    for generation in [Generation::Jdk17, Generation::Jdk23, Generation::Jdk25] {
        for (offset, expected) in [
            (
                0x20,
                &["com.acme.Leak.open com/acme/Leak.java:5", "com.acme.Leak.main com/acme/Leak.java:7"][..],
            ),
            (0x10, &["com.acme.Leak.main com/acme/Leak.java:7"]),
        ] {
            let at = FrameRegisters { pc: COMPILED + offset, sp: SP, fp: 1 };
            let step = step(Machine::new(generation), at, &compiled_stack());
            assert_eq!(lines(&step), expected, "{generation:?} {offset:#x}");
            assert_eq!(caller(&step), Some(FrameRegisters { pc: INTERPRETED, sp: SP + FRAME, fp: FP }));
        }
    }
}

#[test]
fn compiled_code_without_debug_information_ends_the_stack() {
    // To go on would skip what was inlined there.
    let nothing = Step::Frame { lines: vec![], caller: None };
    for generation in [Generation::Jdk17, Generation::Jdk25] {
        let at = FrameRegisters { pc: COMPILED + 0x18, sp: SP, fp: 1 };
        assert_eq!(step(Machine::new(generation), at, &compiled_stack()), nothing);
        assert_eq!(
            step(Machine::new(generation), FrameRegisters { pc: DEOPT, ..at }, &compiled_stack()),
            nothing
        );
    }
}

#[test]
fn a_frame_that_is_to_be_interpreted_has_the_place_that_was_put_aside() {
    for generation in [Generation::Jdk17, Generation::Jdk25] {
        let mut stack = compiled_stack();
        stack.0.insert(SP + ASIDE, COMPILED + 0x20);
        let step = step(Machine::new(generation), FrameRegisters { pc: DEOPT, sp: SP, fp: 1 }, &stack);
        assert_eq!(lines(&step).len(), 2, "{step:?}");
    }
}

#[test]
fn stubs_have_no_line_and_lead_on_only_where_their_frame_is_known() {
    let mut stack = Words::default();
    stack.set(FP, 0, FP + 0x100);
    stack.set(FP, 1, 0x4000);
    let of = |pc| step(Machine::new(Generation::Jdk25), FrameRegisters { pc, sp: SP, fp: FP }, &stack);
    let entry = Step::Frame {
        lines: vec![],
        caller: Some(FrameRegisters { pc: 0x4000, sp: FP + 16, fp: FP + 0x100 }),
    };
    assert_eq!(of(CALL_STUB_RETURN), entry);
    assert_eq!(of(STUB), Step::Frame { lines: vec![], caller: None });
    assert_eq!(of(CODE + 0x1000), Step::Frame { lines: vec![], caller: None }, "free");
    assert_eq!(of(CODE - 1), Step::Elsewhere);
}

#[test]
fn a_caller_is_above() {
    let machine = Machine::new(Generation::Jdk17);
    let mut stack = interpreted(machine.methods[0], machine.bcp(0, 6));
    for sp in [SP, SP - 8, 0, u64::MAX] {
        stack.set(FP, -1, sp);
        let at = FrameRegisters { pc: INTERPRETED, sp: SP, fp: FP };
        let step = step(Machine::new(Generation::Jdk17), at, &stack);
        assert_eq!((lines(&step).len(), caller(&step)), (1, None));
    }
}

#[test]
fn a_program_that_is_gone_or_describes_nothing_is_not_looked_at() {
    let mut machine = Machine::new(Generation::Jdk17);
    machine.memory = Planted::default();
    let mut hotspot = machine.hotspot();
    assert!(!hotspot.is_there());
    assert!(hotspot.look().is_none());
    assert!(Machine::new(Generation::Jdk17).hotspot().is_there());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is overwritten, there is an answer, and none of it is a name that is in no memory.
    #[test]
    fn any_memory_gives_an_answer(
        damage in prop::collection::vec((0_u64..0x4000, any::<u64>()), 0..60),
        code in prop::collection::vec((0_u64..0x9000, any::<u64>()), 0..30),
        words in prop::collection::vec(any::<u64>(), 40),
        pc in prop_oneof![Just(INTERPRETED), Just(COMPILED + 0x20), Just(COMPILED), Just(DEOPT), CODE..CODE + 0x10000],
        generation in prop_oneof![Just(Generation::Jdk17), Just(Generation::Jdk23), Just(Generation::Jdk25)],
    ) {
        let mut machine = Machine::new(generation);
        for (at, value) in damage {
            machine.memory.u64(0x2000_0000 + at, value);
        }
        for (at, value) in code {
            machine.memory.u64(CODE + at, value);
        }
        let mut hotspot = machine.hotspot();
        if let Some(mut look) = hotspot.look() {
            let word = |address: u64| {
                let index = usize::try_from(address.checked_sub(SP)? / 8).ok()?;
                words.get(index).copied()
            };
            look.step(FrameRegisters { pc, sp: SP, fp: SP + 80 }, &word);
        }
    }

    #[test]
    fn damaged_tables_end(damage in prop::collection::vec((0_u64..256, any::<u64>()), 1..20)) {
        let mut machine = Machine::new(Generation::Jdk17);
        for (at, value) in damage {
            machine.memory.u64(0x1000_0000 + (at & !7), value);
        }
        machine.hotspot().look();
    }
}
