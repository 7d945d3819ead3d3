//! Whether the programs' frames fit the stack that a kernel has for a program and all functions it calls. Linux 6.18 accepts
//! more than older kernels do, so a test that loads the programs there shows nothing.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeSet, HashMap, HashSet};

use aya_obj::{
    Object,
    generated::{BPF_PSEUDO_CALL, bpf_insn},
};

/// Bytes for all frames of a call path (`MAX_BPF_STACK` of include/linux/filter.h).
const MOST: u32 = 512;

/// What a frame is rounded up to (`check_max_stack_depth` of kernel/bpf/verifier.c; 16 since Linux 6.13, where programs are
/// compiled).
const ROUNDED_TO: u32 = 32;

/// The frame pointer: frames are below it.
const R10: u8 = 10;

// Instructions (Documentation/bpf/standardization/instruction-set.rst).
const CALL: u8 = 0x85;
const MOVE: u8 = 0xbf;
const ADD_NUMBER: u8 = 0x07;

/// One of the objects that are built into the tool, by its name.
macro_rules! objects {
    ($($name:literal),*) => {
        [$(($name, &include_bytes!(concat!(env!("OUT_DIR"), "/", $name))[..])),*]
    };
}

/// How far below the frame pointer an instruction reaches at most. Keeps which registers are copies of that.
fn reach(instruction: bpf_insn, copies: &mut BTreeSet<u8>) -> u32 {
    let (to, from) = (instruction.dst_reg(), instruction.src_reg());
    let below = |offset: i32| offset.min(0).unsigned_abs();
    let was_copy = copies.contains(&to);
    match instruction.code {
        CALL => copies.retain(|register| *register >= 6),
        MOVE if from == R10 => drop(copies.insert(to)),
        code if matches!(code & 0x07, 0 | 1 | 4 | 7) => drop(copies.remove(&to)),
        _ => {}
    }
    match instruction.code {
        ADD_NUMBER if was_copy => below(instruction.imm),
        // The address of a load is in the source, that of a store in the destination.
        code if code & 0x07 == 1 && from == R10 => below(instruction.off.into()),
        code if matches!(code & 0x07, 2 | 3) && to == R10 => below(instruction.off.into()),
        _ => 0,
    }
}

/// A function of a program: the bytes of its frame, and where the functions begin that it calls.
#[derive(Debug, Default)]
struct Frame {
    bytes: u32,
    calls: BTreeSet<usize>,
}

/// The functions of a linked program, by where they begin.
fn frames(instructions: &[bpf_insn]) -> HashMap<usize, Frame> {
    let is_call = |instruction: &bpf_insn| {
        instruction.code == CALL && u32::from(instruction.src_reg()) == BPF_PSEUDO_CALL
    };
    let target = |at: usize, by: i32| at.checked_add_signed(isize::try_from(by).ok()? + 1);
    let calls: Vec<(usize, usize)> = instructions
        .iter()
        .enumerate()
        .filter(|(_, instruction)| is_call(instruction))
        .filter_map(|(at, instruction)| Some((at, target(at, instruction.imm)?)))
        .collect();
    let begins: BTreeSet<usize> = calls.iter().map(|(_, to)| *to).chain([0]).collect();
    let function = |at: usize| begins.range(..=at).next_back().copied().unwrap_or_default();
    let mut frames: HashMap<usize, Frame> = HashMap::new();
    let mut copies = BTreeSet::new();
    for (at, instruction) in instructions.iter().enumerate() {
        let frame = frames.entry(function(at)).or_default();
        frame.bytes = frame.bytes.max(reach(*instruction, &mut copies));
    }
    for (at, to) in calls {
        frames.entry(function(at)).or_default().calls.insert(to);
    }
    frames
}

/// The bytes of a function's frame and of all below it, on the path of calls that takes most.
fn most(frames: &HashMap<usize, Frame>, function: usize) -> u32 {
    let frame = &frames[&function];
    let called = frame.calls.iter().map(|called| most(frames, *called)).max();
    frame.bytes.max(1).next_multiple_of(ROUNDED_TO) + called.unwrap_or_default()
}

#[test]
fn the_frames_on_each_path_of_calls_fit_the_stack_of_older_kernels() {
    let mut with_calls = 0;
    for (name, bytes) in objects![
        "tcptrace-btf",
        "tcptrace-btf-perf",
        "tcptrace-tracepoint",
        "tcptrace-tracepoint-perf",
        "tcptrace-holders"
    ] {
        let mut object = Object::parse(bytes).unwrap();
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_calls(&sections).unwrap();
        for (program, parsed) in &object.programs {
            let frames = frames(&object.functions[&parsed.function_key()].instructions);
            with_calls += usize::from(frames.len() > 1);
            let bytes = most(&frames, 0);
            assert!(bytes <= MOST, "{program} of {name} takes {bytes} bytes of stack: {frames:?}");
        }
    }
    assert!(with_calls > 0, "no program calls a function");
}

#[test]
fn a_frame_is_as_deep_as_its_lowest_access_and_paths_of_calls_add_up() {
    const LOAD: u8 = 0x79;
    const STORE: u8 = 0x7b;
    const EXIT: u8 = 0x95;
    let instruction = |code, registers: (u8, u8), off, imm| {
        let (to, from) = registers;
        bpf_insn { code, _bitfield_align_1: [], _bitfield_1: bpf_insn::new_bitfield_1(to, from), off, imm }
    };
    let program = [
        instruction(STORE, (10, 1), -8, 0),
        instruction(MOVE, (2, 10), 0, 0),
        instruction(ADD_NUMBER, (2, 0), 0, -40),
        instruction(CALL, (0, 1), 0, 1),
        instruction(EXIT, (0, 0), 0, 0),
        // Another's frame, and a number.
        instruction(STORE, (1, 2), -400, 0),
        instruction(ADD_NUMBER, (1, 0), 0, -400),
        instruction(LOAD, (0, 10), -16, 0),
        instruction(EXIT, (0, 0), 0, 0),
    ];
    let frames = frames(&program);
    assert_eq!((frames[&0].bytes, frames[&5].bytes), (40, 16));
    assert_eq!((most(&frames, 0), most(&frames, 5)), (64 + 32, 32));
}
