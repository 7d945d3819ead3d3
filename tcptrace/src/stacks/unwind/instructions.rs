//! Finds out who called a function of x86 that has no unwind information, by its own instructions: what they do to the
//! stack from the place where a call returns to, up to the function's own return. Any bytes give an answer; runs nothing.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};
use rustc_hash::FxHashSet;

/// Instructions that are looked at for one function, and bytes that are fetched at once.
const MOST_INSTRUCTIONS: usize = 1024;
const CHUNK: usize = 64;

/// The longest instruction (Intel's manual, volume 2, 2.3.11).
const LONGEST: usize = 15;

/// Where something is on the stack, counted from a register as it is in the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    StackPointer(i64),
    FramePointer(i64),
}

/// How the caller of a function is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallerRule {
    /// Where its address is.
    pub(super) address: Slot,
    /// Bytes that the return takes off the stack.
    pub(super) taken: i64,
    pub(super) frame_pointer: FramePointer,
}

/// What the caller has as its frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramePointer {
    Same,
    At(Slot),
    NotKnown,
}

/// How wide a word is: 64 bits, or 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Wide,
    Narrow,
}

impl Width {
    pub(super) fn bytes(self) -> i64 {
        match self {
            Self::Wide => 8,
            Self::Narrow => 4,
        }
    }

    fn bits(self) -> u32 {
        match self {
            Self::Wide => 64,
            Self::Narrow => 32,
        }
    }
}

impl Slot {
    fn plus(self, bytes: i64) -> Option<Self> {
        Some(match self {
            Self::StackPointer(offset) => Self::StackPointer(offset.checked_add(bytes)?),
            Self::FramePointer(offset) => Self::FramePointer(offset.checked_add(bytes)?),
        })
    }

    /// The address, by what the registers hold.
    pub(super) fn of(self, sp: u64, fp: u64) -> Option<u64> {
        match self {
            Self::StackPointer(offset) => sp.checked_add_signed(offset),
            Self::FramePointer(offset) => fp.checked_add_signed(offset),
        }
    }
}

/// The rule of the function that goes on at `start`: that of its returns, of which all that lead to a caller
/// (`is_caller`) have to agree. `fill` reads code; it returns how many bytes it has read. Without a rule, whether any
/// return was reached.
pub(super) fn caller_rule(
    width: Width,
    start: u64,
    mut fill: impl FnMut(u64, &mut [u8]) -> usize,
    is_caller: impl Fn(&CallerRule) -> bool,
) -> Result<CallerRule, HasReturn> {
    let mut paths = vec![Path::at(start)];
    let mut visited = FxHashSet::default();
    let mut information = InstructionInfoFactory::new();
    let (mut left, mut has_return) = (MOST_INSTRUCTIONS, HasReturn(false));
    let mut found: Option<CallerRule> = None;
    while let Some(mut path) = paths.pop() {
        let mut code = Bytes { start: 0, bytes: [0; CHUNK], length: 0 };
        while left > 0 && visited.insert(path.next) {
            left -= 1;
            let Some(instruction) = code.instruction(width, path.next, &mut fill) else { break };
            match path.step(width, &instruction, &mut information) {
                Step::On => {}
                Step::Or(other) => {
                    paths.push(Path { next: other, ..path });
                }
                Step::Return(rule) => {
                    has_return = HasReturn(true);
                    if is_caller(&rule) {
                        match &mut found {
                            None => found = Some(rule),
                            Some(known) if (known.address, known.taken) == (rule.address, rule.taken) => {
                                if known.frame_pointer != rule.frame_pointer {
                                    known.frame_pointer = FramePointer::NotKnown;
                                }
                            }
                            Some(_) => return Err(has_return),
                        }
                    }
                    break;
                }
                Step::Stop => break,
            }
        }
    }
    found.ok_or(has_return)
}

/// Whether a function returns anywhere, as far as was looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HasReturn(pub(super) bool);

/// Whether a call ends at an address: `bytes` are those before it. `call` with an address (E8), or through a register or
/// memory (FF /2).
pub(super) fn ends_call(bytes: [u8; 8]) -> bool {
    let before = |count: usize| bytes.len().checked_sub(count).and_then(|at| bytes.get(at)).copied();
    let is_indirect = |count: usize| {
        before(count) == Some(0xff) && before(count - 1).is_some_and(|operand| operand >> 3 & 7 == 2)
    };
    before(5) == Some(0xe8) || [2, 3, 4, 6, 7].into_iter().any(is_indirect)
}

/// What is known on one way through a function.
#[derive(Clone, Copy, Debug)]
struct Path {
    next: u64,
    sp: Slot,
    frame_pointer: FramePointer,
    /// What was pushed on the way lies below: no more what was there.
    pushed: i64,
}

enum Step {
    /// With the next instruction.
    On,
    /// With either.
    Or(u64),
    Return(CallerRule),
    /// It leads elsewhere, or what it does to the stack is not known.
    Stop,
}

impl Path {
    fn at(start: u64) -> Self {
        Self { next: start, sp: Slot::StackPointer(0), frame_pointer: FramePointer::Same, pushed: 0 }
    }

    fn step(
        &mut self,
        width: Width,
        instruction: &Instruction,
        information: &mut InstructionInfoFactory,
    ) -> Step {
        self.next = instruction.next_ip();
        let target = instruction.near_branch_target();
        let is_near = matches!(instruction.op0_kind(), OpKind::NearBranch32 | OpKind::NearBranch64);
        match instruction.flow_control() {
            FlowControl::Return if instruction.mnemonic() == Mnemonic::Ret => {
                let taken = instruction.stack_pointer_increment().into();
                return self.slot().map_or(Step::Stop, |address| {
                    Step::Return(CallerRule { address, taken, frame_pointer: self.frame_pointer })
                });
            }
            FlowControl::UnconditionalBranch if is_near => self.next = target,
            FlowControl::ConditionalBranch if is_near => return Step::Or(target),
            // To know its own address, old code calls what follows.
            FlowControl::Call if is_near && target == self.next => return self.moved(-width.bytes()),
            // A function leaves the stack as it was.
            FlowControl::Call | FlowControl::IndirectCall => {}
            FlowControl::Interrupt if instruction.code() == Code::Int_imm8 => {}
            FlowControl::Next if instruction.mnemonic() != Mnemonic::Hlt => {
                return self.plain(width, instruction, information);
            }
            _ => return Step::Stop,
        }
        Step::On
    }

    /// An instruction that leads to the next.
    fn plain(
        &mut self,
        width: Width,
        instruction: &Instruction,
        information: &mut InstructionInfoFactory,
    ) -> Step {
        let register = |operand| full(instruction.op_register(operand));
        let is_to = |wanted| instruction.op0_kind() == OpKind::Register && register(0) == wanted;
        match instruction.mnemonic() {
            Mnemonic::Leave => {
                let Some(frame) = self.frame() else { return Step::Stop };
                self.sp = frame;
                self.frame_pointer = self.slot().map_or(FramePointer::NotKnown, FramePointer::At);
                return self.moved(width.bytes());
            }
            Mnemonic::Pop if is_to(Register::RBP) => {
                self.frame_pointer = self.slot().map_or(FramePointer::NotKnown, FramePointer::At);
                return self.moved(width.bytes());
            }
            Mnemonic::Mov if is_to(Register::RSP) => {
                let from = self
                    .frame()
                    .filter(|_| instruction.op1_kind() == OpKind::Register && register(1) == Register::RBP);
                return self.set(from);
            }
            Mnemonic::Lea if is_to(Register::RSP) => {
                let base = match full(instruction.memory_base()) {
                    Register::RSP => Some(self.sp),
                    Register::RBP => self.frame(),
                    _ => None,
                };
                let base = base.filter(|_| instruction.memory_index() == Register::None);
                return self.set(base.and_then(|base| base.plus(displacement(width, instruction))));
            }
            Mnemonic::Add | Mnemonic::Sub if is_to(Register::RSP) => {
                let bytes = match instruction.op1_kind() {
                    OpKind::Immediate8to64 => instruction.immediate8to64(),
                    OpKind::Immediate32to64 => instruction.immediate32to64(),
                    OpKind::Immediate8to32 => instruction.immediate8to32().into(),
                    OpKind::Immediate32 => instruction.immediate32().cast_signed().into(),
                    _ => return Step::Stop,
                };
                return self.moved(if instruction.mnemonic() == Mnemonic::Add { bytes } else { -bytes });
            }
            _ => {}
        }
        let is_stack = instruction.is_stack_instruction();
        for used in information.info(instruction).used_registers() {
            let is_written = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None);
            match full(used.register()) {
                Register::RSP if is_written && !is_stack => return Step::Stop,
                Register::RBP if is_written => self.frame_pointer = FramePointer::NotKnown,
                _ => {}
            }
        }
        if is_stack {
            // `pop rsp`, and what the stack pointer is a part of otherwise.
            if is_to(Register::RSP) || instruction.stack_pointer_increment() == 0 {
                return Step::Stop;
            }
            return self.moved(instruction.stack_pointer_increment().into());
        }
        Step::On
    }

    fn moved(&mut self, bytes: i64) -> Step {
        if let (Slot::StackPointer(offset), true) = (self.sp, bytes < 0) {
            self.pushed = self.pushed.max(offset);
        }
        self.set(self.sp.plus(bytes))
    }

    fn set(&mut self, sp: Option<Slot>) -> Step {
        let Some(sp) = sp else { return Step::Stop };
        self.sp = sp;
        Step::On
    }

    /// What the frame pointer of the function points to.
    fn frame(&self) -> Option<Slot> {
        (self.frame_pointer == FramePointer::Same).then_some(Slot::FramePointer(0))
    }

    /// The slot that the stack pointer points to, if it is still as it was.
    fn slot(&self) -> Option<Slot> {
        match self.sp {
            Slot::StackPointer(offset) if offset < self.pushed => None,
            sp => Some(sp),
        }
    }
}

/// Code that was fetched.
struct Bytes {
    start: u64,
    bytes: [u8; CHUNK],
    length: usize,
}

impl Bytes {
    /// The instruction at an address; `None` where no code is, and where it makes no sense.
    fn instruction(
        &mut self,
        width: Width,
        address: u64,
        fill: &mut impl FnMut(u64, &mut [u8]) -> usize,
    ) -> Option<Instruction> {
        let within = |start: u64| usize::try_from(address.checked_sub(start)?).ok();
        let at = within(self.start).filter(|at| at + LONGEST <= self.length);
        if at.is_none() {
            self.start = address;
            self.length = fill(address, &mut self.bytes).min(CHUNK);
        }
        let rest = self.bytes.get(at.unwrap_or(0)..self.length)?;
        let instruction = Decoder::with_ip(width.bits(), rest, address, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some(instruction)
    }
}

/// The whole register that another one is a part of.
fn full(register: Register) -> Register {
    register.full_register()
}

fn displacement(width: Width, instruction: &Instruction) -> i64 {
    match width {
        Width::Wide => instruction.memory_displacement64().cast_signed(),
        Width::Narrow => instruction.memory_displacement32().cast_signed().into(),
    }
}

/// For the fuzz targets: the rule of a function with this code, where all its returns lead to callers.
#[must_use]
pub fn has_caller_rule(is_narrow: bool, code: &[u8]) -> bool {
    const START: u64 = 0x1000;
    let fill = |address: u64, buffer: &mut [u8]| {
        let rest = address.checked_sub(START).and_then(|at| code.get(usize::try_from(at).ok()?..));
        let copied = buffer.iter_mut().zip(rest.unwrap_or_default());
        copied.map(|(to, from)| *to = *from).count()
    };
    let width = if is_narrow { Width::Narrow } else { Width::Wide };
    caller_rule(width, START, fill, |_| true).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{
        FramePointer::{At, NotKnown, Same},
        Slot::StackPointer,
        *,
    };

    const START: u64 = 0x1000;

    fn rule_of(
        width: Width,
        code: &[u8],
        is_caller: impl Fn(&CallerRule) -> bool,
    ) -> Result<CallerRule, HasReturn> {
        let fill = |address: u64, buffer: &mut [u8]| {
            let at = usize::try_from(address - START).unwrap_or(usize::MAX);
            let rest = code.get(at..).unwrap_or_default();
            buffer.iter_mut().zip(rest).map(|(to, from)| *to = *from).count()
        };
        caller_rule(width, START, fill, is_caller)
    }

    fn wide(code: &[u8]) -> Result<CallerRule, HasReturn> {
        rule_of(Width::Wide, code, |_| true)
    }

    fn rule(address: Slot, frame_pointer: FramePointer) -> CallerRule {
        CallerRule { address, taken: 8, frame_pointer }
    }

    #[test]
    fn a_return_is_where_the_stack_was_when_the_function_began() {
        // ret
        assert_eq!(wide(&[0xc3]), Ok(rule(StackPointer(0), Same)));
        // add rsp, 0x18; pop rbx; pop rbp; ret
        assert_eq!(
            wide(&[0x48, 0x83, 0xc4, 0x18, 0x5b, 0x5d, 0xc3]),
            Ok(rule(StackPointer(40), At(StackPointer(32))))
        );
        // leave; ret
        assert_eq!(wide(&[0xc9, 0xc3]), Ok(rule(Slot::FramePointer(8), At(Slot::FramePointer(0)))));
        // lea rsp, [rbp-0x10]; pop rbx; pop r12; pop rbp; ret
        let code = [0x48, 0x8d, 0x65, 0xf0, 0x5b, 0x41, 0x5c, 0x5d, 0xc3];
        assert_eq!(wide(&code), Ok(rule(Slot::FramePointer(8), At(Slot::FramePointer(0)))));
        // call; mov rdi, rax; jmp over int3; ret
        let code = [0xe8, 0, 1, 0, 0, 0x48, 0x89, 0xc7, 0xeb, 1, 0xcc, 0xc3];
        assert_eq!(wide(&code), Ok(rule(StackPointer(0), Same)));
        // push 1; push 2; call; add rsp, 16; ret
        let code = [0x6a, 1, 0x6a, 2, 0xe8, 0, 1, 0, 0, 0x48, 0x83, 0xc4, 16, 0xc3];
        assert_eq!(wide(&code), Ok(rule(StackPointer(0), Same)));
        // pop ebp; pop edx; pop ecx; ret: how the kernel returns to programs of 32 bits.
        let narrow = CallerRule { address: StackPointer(12), taken: 4, frame_pointer: At(StackPointer(0)) };
        assert_eq!(rule_of(Width::Narrow, &[0x5d, 0x5a, 0x59, 0xc3], |_| true), Ok(narrow));
        // ret 4
        let narrow = CallerRule { address: StackPointer(0), taken: 8, frame_pointer: Same };
        assert_eq!(rule_of(Width::Narrow, &[0xc2, 4, 0], |_| true), Ok(narrow));
    }

    #[test]
    fn ways_that_lead_to_a_caller_have_to_agree() {
        // test eax, eax; js to the second; add rsp, 8; ret; add rsp, 8; xor ebp, ebp; ret
        let mut code =
            vec![0x85, 0xc0, 0x78, 5, 0x48, 0x83, 0xc4, 8, 0xc3, 0x48, 0x83, 0xc4, 8, 0x31, 0xed, 0xc3];
        assert_eq!(wide(&code), Ok(rule(StackPointer(8), NotKnown)));
        code[12] = 16;
        assert_eq!(wide(&code), Err(HasReturn(true)));
        let is_caller = |rule: &CallerRule| rule.address == StackPointer(8);
        assert_eq!(rule_of(Width::Wide, &code, is_caller), Ok(rule(StackPointer(8), Same)));
    }

    #[test]
    fn what_is_not_known_ends_the_way() {
        for code in [
            &[][..],
            &[0x0f, 0x0b],                   // ud2
            &[0xff, 0xe0],                   // jmp rax
            &[0xf4, 0xc3],                   // hlt; ret
            &[0x48, 0x83, 0xe4, 0xf0, 0xc3], // and rsp, -16; ret
            &[0x48, 0x89, 0xc4, 0xc3],       // mov rsp, rax; ret
            &[0x5c, 0xc3],                   // pop rsp; ret
            &[0x5d, 0xc9, 0xc3],             // pop rbp; leave; ret
            &[0xeb, 0xfe],                   // jmp to itself
            &[0x06],                         // none of 64 bits
        ] {
            assert_eq!(wide(code), Err(HasReturn(false)), "{code:x?}");
        }
        // push rbp; pop rbp; push rax; ret: what was pushed is no caller.
        assert_eq!(wide(&[0x50, 0xc3]), Err(HasReturn(false)));
        let long = vec![0x90; 2 * MOST_INSTRUCTIONS];
        assert_eq!(wide(&[&long[..], &[0xc3]].concat()), Err(HasReturn(false)));
    }

    #[test]
    fn a_call_ends_where_it_returns_to() {
        assert!(ends_call([0, 0, 0, 0xe8, 1, 2, 3, 4]));
        assert!(ends_call([0, 0, 0, 0, 0, 0, 0xff, 0xd0]), "call rax");
        assert!(ends_call([0, 0, 0xff, 0x15, 1, 2, 3, 4]), "call [rip+…]");
        assert!(ends_call([0, 0x65, 0xff, 0x15, 0x10, 0, 0, 0]), "call gs:[0x10]");
        assert!(!ends_call([0x90; 8]));
    }
}
