//! Unwinds the stacks of processes by the unwind information of their files, by their code or frame pointers where there is
//! none, and by what a Java VM says of its own code. Reads files, `maps` and memory; nothing in a process is stopped or attached to.

use std::{
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use framehop::{CacheNative, FrameAddress, MayAllocateDuringUnwind, Unwinder as _, UnwinderNative};
use rustc_hash::{FxHashMap, FxHashSet};
use tcptrace_ebpf::interpreter::FRAMES_UNKNOWN;

use super::{
    callers::{OwnCode, OwnCodeLook},
    instructions::Width,
    kept::KeptCodes,
    module::{Bytes, UnwindInfo},
};
use crate::{
    host::clock::Clocks,
    model::{
        captured_stack::{CapturedStack, Registers},
        found_by::CallersBy,
    },
    process::reader::{FILE_BYTES, contents},
    stacks::{
        hotspot::{self, Archives, HotSpot, StackLook, Step},
        kept_code::KeptCode,
        mappings::{self, FileIdentity, Mapping},
        memory::ProcessMemory,
        point::{Point, ScriptLine},
        registers::FrameRegisters,
        scripts::{Part, ScriptLines, finder::InterpreterFinder, merged},
    },
};

/// Frames of one stack.
const MOST_FRAMES: usize = 128;

/// Processes whose modules are known, and bytes of unwind information, beyond which all is forgotten.
const MOST_PROCESSES: usize = 128;
const MOST_BYTES: usize = 24 << 20;

/// Mappings of one process that are kept.
const MOST_MAPPINGS: usize = 4_096;

/// Lines of virtual machines that are kept once; beyond, all are forgotten.
const MOST_LINES: usize = 16_384;

/// A process's mappings are read again for an address that is in none, but not more often.
const MAPS_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a process has come to run an interpreter is asked again at its calls, but not more often.
const INTERPRETER_INTERVAL: Duration = Duration::from_secs(10);

/// The points of a call whose program is no more: the process executed another one since, at whose addresses is other code.
const GONE: [Point; 1] = [Point::End];

/// Unwinds stacks.
pub(super) struct StackUnwinder {
    proc_root: PathBuf,
    /// `None` where frames of interpreters are not read.
    scripts: Option<(InterpreterFinder, ScriptLines)>,
    processes: FxHashMap<u32, Process>,
    files: FxHashMap<FileIdentity, Option<Arc<UnwindInfo>>>,
    file_bytes: usize,
    cache: CacheNative<MayAllocateDuringUnwind>,
    /// Each line of code once, however many stacks it is on.
    lines: FxHashSet<Arc<ScriptLine>>,
    kept: KeptCodes,
    clocks: Clocks,
}

/// A stack that was unwound.
#[derive(Default)]
pub(super) struct Unwound {
    /// Innermost first. Empty where the process has ended.
    pub(super) points: Vec<Point>,
    /// What the process had mapped, as long as that is kept.
    pub(super) code: Weak<KeptCode>,
}

/// What is known of a process.
struct Process {
    code: Code,
    own: OwnCode,
    kept: Weak<KeptCode>,
    hotspot: Option<HotSpot<ProcessMemory>>,
    read_at: Instant,
    /// The same by the kernel's clock (CLOCK_MONOTONIC, nanoseconds).
    read_ns: u64,
    /// Where the main thread's stack ends of the program that it ran then; 0 when not known.
    stack_end: u64,
    /// When it was asked whether it runs an interpreter.
    asked_at: Option<Instant>,
}

/// The code that a process has mapped.
#[derive(Default)]
pub(super) struct Code {
    unwinder: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    mappings: Vec<Mapping>,
    /// The files, where they are, and what is added to the addresses that they say.
    files: Vec<(Range<u64>, u64, Arc<UnwindInfo>)>,
}

impl Process {
    /// It may be read again.
    fn is_old(&self) -> bool {
        self.read_at.elapsed() >= MAPS_INTERVAL
    }

    /// Whether a call was made by another program than the one that it runs.
    fn runs_another_than(&self, stack: &CapturedStack) -> bool {
        self.stack_end != 0 && stack.stack_end != 0 && self.stack_end != stack.stack_end
    }
}

impl Code {
    /// Adds what a file says of how to unwind, where it is mapped. Returns what is to be added to its addresses.
    pub(super) fn add(&mut self, info: &Arc<UnwindInfo>, mapping: &Mapping) -> Option<u64> {
        let module = info.mapped_at(mapping)?;
        let base = module.base_avma();
        self.files.push((mapping.addresses.clone(), base, Arc::clone(info)));
        self.unwinder.add_module(module);
        Some(base)
    }

    fn has_mapped(&self, address: u64) -> bool {
        self.mapping(address).is_some()
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.addresses.contains(&address))
    }

    fn describes(&self, address: u64) -> bool {
        self.file_at(address).is_some_and(|(base, info)| info.describes(address.wrapping_sub(base)))
    }

    /// Whether the instructions of a file say more of its callers than frame pointers.
    fn may_be_followed(&self, address: u64) -> bool {
        cfg!(target_arch = "x86_64")
            && self.file_at(address).is_some_and(|(_, info)| !info.keeps_frame_pointers)
    }

    fn file_at(&self, address: u64) -> Option<(u64, &UnwindInfo)> {
        let mapped = self.files.iter().find(|(addresses, ..)| addresses.contains(&address));
        mapped.map(|(_, base, info)| (*base, &**info))
    }
}

impl StackUnwinder {
    pub(super) fn new(proc_root: &Path, finder: Option<InterpreterFinder>) -> Self {
        let scripts = finder.map(|finder| {
            let lines = ScriptLines::new(Arc::clone(&finder.builds));
            (finder, lines)
        });
        Self {
            proc_root: proc_root.to_owned(),
            scripts,
            processes: FxHashMap::default(),
            files: FxHashMap::default(),
            file_bytes: 0,
            cache: CacheNative::new(),
            lines: FxHashSet::default(),
            kept: KeptCodes::default(),
            clocks: Clocks::of_this_host(proc_root),
        }
    }

    /// Unwinds a stack.
    pub(super) fn unwound(&mut self, stack: &CapturedStack) -> Unwound {
        let points = self.points(stack);
        if points == GONE {
            return Unwound { points, code: Weak::new() };
        }
        let code = self.processes.get(&stack.pid).map(|process| Weak::clone(&process.kept));
        Unwound { points, code: code.unwrap_or_default() }
    }

    fn points(&mut self, stack: &CapturedStack) -> Vec<Point> {
        // Where no stacks are copied there is nothing to unwind.
        let native = if stack.registers.pc == 0 { Vec::new() } else { self.unwind(stack) };
        if native == GONE {
            return native;
        }
        let Some((finder, lines)) = &mut self.scripts else { return native };
        if stack.script.head.outcome == FRAMES_UNKNOWN {
            if let Some(process) = self.processes.get_mut(&stack.pid)
                && process.asked_at.is_none_or(|asked| asked.elapsed() >= INTERPRETER_INTERVAL)
            {
                process.asked_at = Some(Instant::now());
                finder.ask(stack.pid);
            }
            return native;
        }
        let Ok(process) = mappings::process(&self.proc_root, stack.pid) else { return native };
        let Some(read) = lines.read(stack.pid, &process, &stack.script) else { return native };
        let code = self.processes.get(&stack.pid).map(|process| &process.code);
        let mut known = FxHashMap::default();
        let mut is_own = |mapping: &Mapping| {
            *known.entry(mapping.addresses.start).or_insert_with(|| {
                mapping.path(&process).is_ok_and(|path| lines.is_own_extension(stack.pid, &process, &path))
            })
        };
        let parts: FxHashMap<u64, Part> = native
            .iter()
            .filter_map(|point| {
                let Point::Address { address, .. } = point else { return None };
                let mapping = || code.and_then(|code| code.mapping(*address));
                let part = match read.part(*address) {
                    Part::Other if mapping().is_some_and(&mut is_own) => Part::OwnExtension,
                    part => part,
                };
                Some((*address, part))
            })
            .collect();
        merged(&native, read.lines, |address| parts.get(&address).copied().unwrap_or(Part::Other))
    }

    fn unwind(&mut self, stack: &CapturedStack) -> Vec<Point> {
        self.bound();
        let known = self.processes.get(&stack.pid);
        // A program that was executed since has other mappings and another memory, and a library may have been loaded.
        let is_stale = known.is_none_or(|process| {
            let is_gone = process.hotspot.as_ref().is_some_and(|hotspot| !hotspot.is_there());
            let has_executed = process.runs_another_than(stack) && process.read_ns < stack.ktime_ns;
            has_executed || ((is_gone || !process.code.has_mapped(stack.registers.pc)) && process.is_old())
        });
        if is_stale {
            self.read_again(stack.pid);
        }
        if self.processes.get(&stack.pid).is_some_and(|process| process.runs_another_than(stack)) {
            return GONE.to_vec();
        }
        let (points, is_complete) = self.walked(stack);
        if is_complete || !self.processes.get(&stack.pid).is_some_and(Process::is_old) {
            return points;
        }
        self.read_again(stack.pid);
        self.walked(stack).0
    }

    /// As [`walk`], of a process that is known.
    fn walked(&mut self, stack: &CapturedStack) -> (Vec<Point>, bool) {
        let Some(process) = self.processes.get_mut(&stack.pid) else { return (Vec::new(), true) };
        let java = process.hotspot.as_mut().and_then(HotSpot::look);
        let keep = |line| once(&mut self.lines, line);
        let own = process.own.look();
        if own.width() == Width::Narrow {
            return (walk_narrow(stack, &process.code, own), true);
        }
        walk(stack, &process.code, Some(own), &mut self.cache, java, keep)
    }

    /// Reads what is known of a process anew.
    fn read_again(&mut self, pid: u32) {
        // Copies of one that has just ended may wait still.
        self.processes.retain(|_, process| !process.is_old() || process.own.is_there());
        match self.read(pid) {
            Some(process) => drop(self.processes.insert(pid, process)),
            None => drop(self.processes.remove(&pid)),
        }
    }

    /// Forgets what has ended.
    pub(super) fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    fn bound(&mut self) {
        if self.processes.len() >= MOST_PROCESSES || self.file_bytes >= MOST_BYTES {
            self.processes.clear();
            self.files.clear();
            self.file_bytes = 0;
            self.cache = CacheNative::new();
        }
    }

    fn read(&mut self, pid: u32) -> Option<Process> {
        let process = mappings::process(&self.proc_root, pid).ok()?;
        let mappings: Vec<Mapping> = mappings::executable(&process).ok()?.take(MOST_MAPPINGS).collect();
        // It may end while its files are read.
        let kept = self.kept.keep(pid, &process, &mappings);
        let width = if is_32_bit(&process) { Width::Narrow } else { Width::Wide };
        let mut code = Code::default();
        let mut hotspot = None;
        for mapping in &mappings {
            let of_kept = || kept.upgrade().and_then(|kept| kept.open(mapping));
            let Some((identity, file)) = mapping.open(&process).ok().or_else(of_kept) else { continue };
            if !self.files.contains_key(&identity) {
                let path = mapping.path(&process).unwrap_or_default();
                let info = UnwindInfo::read(file, hotspot::is_library(&path)).map(Arc::new);
                self.file_bytes += info.as_ref().map_or(0, |info| info.size());
                self.files.insert(identity, info);
            }
            let info = self.files.get(&identity).and_then(Option::as_ref);
            let Some(info) = info else { continue };
            let Some(base) = code.add(info, mapping) else { continue };
            if let Some(exports) = info.hotspot.as_ref().filter(|_| hotspot.is_none()) {
                let exports = exports.moved(base);
                let parts = ProcessMemory::open(&process).ok().zip(process.try_clone().ok());
                hotspot = parts.map(|(memory, process)| HotSpot::new(memory, exports, Archives::of(process)));
            }
        }
        code.mappings = mappings;
        let stack_end = stack_end(&process);
        let own = OwnCode::of(process, width);
        let (read_at, read_ns) = (Instant::now(), self.clocks.monotonic_ns());
        Some(Process { code, own, kept, hotspot, read_at, read_ns, stack_end, asked_at: None })
    }
}

/// Goes from frame to frame of a stack. `false` with its points if they end at code of which no file is known.
pub(super) fn walk(
    stack: &CapturedStack,
    code: &Code,
    mut own: Option<OwnCodeLook<'_>>,
    cache: &mut CacheNative<MayAllocateDuringUnwind>,
    mut java: Option<StackLook<'_>>,
    mut keep: impl FnMut(ScriptLine) -> Arc<ScriptLine>,
) -> (Vec<Point>, bool) {
    let mut read = |address: u64| stack.word(address).ok_or(());
    let mut registers = native(stack.registers);
    let mut address = FrameAddress::from_instruction_pointer(stack.registers.pc);
    let mut points = Vec::new();
    // What led to the frame.
    let mut by = None;
    // Without unwind information, callers may be passed over.
    let mut is_described = true;
    let mut is_complete = true;
    while points.len() < MOST_FRAMES {
        // A call of the kernel is in a library: only callers are Java's.
        let step = java.as_mut().filter(|_| address.is_return_address()).map_or(Step::Elsewhere, |java| {
            java.step(of_native(address.address(), &registers), &|address| stack.word(address))
        });
        let next = match step {
            Step::Elsewhere => {
                points.push(Point::Address { address: address.address(), by });
                // Compiled Java keeps no frame pointers. To go by them from a library that was loaded meanwhile would skip
                // callers unseen.
                is_complete = java.is_none() || code.has_mapped(address.address());
                if !is_complete {
                    break;
                }
                let has_information = code.describes(address.address_for_lookup());
                is_described &= has_information;
                let at = of_native(address.address(), &registers);
                let follow = |own: &mut OwnCodeLook<'_>| {
                    own.caller(at, |address| stack.word(address), |address| code.has_mapped(address))
                };
                let may_follow = !has_information && code.may_be_followed(address.address_for_lookup());
                let followed = own.as_mut().filter(|_| may_follow).and_then(follow);
                if let Some(FrameRegisters { pc, sp, fp }) = followed {
                    registers = native(Registers { pc, sp, fp, lr: pc });
                    by = Some(CallersBy::Instructions);
                    address = FrameAddress::from_return_address(pc).unwrap_or(address);
                    continue;
                }
                let frame = code.unwinder.unwind_frame(address, &mut registers, cache, &mut read);
                if is_described && frame == Ok(None) {
                    points.push(Point::End);
                }
                by = Some(if has_information {
                    CallersBy::UnwindInformation
                } else {
                    CallersBy::FramePointers
                });
                frame.ok().flatten()
            }
            Step::Frame { lines, caller } => {
                if lines.is_empty() && caller.is_none() {
                    points.push(Point::Address { address: address.address(), by });
                }
                by = Some(CallersBy::Hotspot);
                points.extend(lines.into_iter().map(|line| Point::Script(keep(line))));
                caller.map(|FrameRegisters { pc, sp, fp }| {
                    registers = native(Registers { pc, sp, fp, lr: pc });
                    pc
                })
            }
        };
        let Some(caller) = next.and_then(FrameAddress::from_return_address) else { break };
        address = caller;
    }
    points.truncate(MOST_FRAMES);
    (points, is_complete)
}

/// Goes from frame to frame of a stack of 32 bits, by the code alone.
fn walk_narrow(stack: &CapturedStack, code: &Code, mut own: OwnCodeLook<'_>) -> Vec<Point> {
    let Registers { pc, sp, fp, lr: _ } = stack.registers;
    let mut points = vec![Point::Address { address: pc, by: None }];
    let mut at = FrameRegisters { pc, sp, fp };
    while points.len() < MOST_FRAMES {
        let caller = own.caller(at, |address| stack.half_word(address), |address| code.has_mapped(address));
        let Some(caller) = caller else { break };
        points.push(Point::Address { address: caller.pc, by: Some(CallersBy::Instructions) });
        at = caller;
    }
    points
}

/// Where the main thread's stack of the program ends that a process runs; 0 when that may not be known.
fn stack_end(process: &OwnedFd) -> u64 {
    // `startstack`, the 28th field; the second one, in parentheses, may have spaces (proc_pid_stat(5)).
    let stat = contents(process, "stat", FILE_BYTES).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let field = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(28 - 3));
    field.and_then(|field| field.parse().ok()).unwrap_or_default()
}

/// Whether a process runs a program of 32 bits on a machine of x86-64.
fn is_32_bit(process: &OwnedFd) -> bool {
    // `e_ident[EI_CLASS]` (elf(5)).
    let class = mappings::program(process).ok().and_then(|(_, program)| {
        let mut head = [0; 5];
        program.read_exact_at(&mut head, 0).ok().map(|()| head)
    });
    cfg!(target_arch = "x86_64") && class == Some(*b"\x7fELF\x01")
}

/// The line that is kept for this one.
fn once(lines: &mut FxHashSet<Arc<ScriptLine>>, line: ScriptLine) -> Arc<ScriptLine> {
    if let Some(known) = lines.get(&line) {
        return Arc::clone(known);
    }
    if lines.len() >= MOST_LINES {
        lines.clear();
    }
    let line = Arc::new(line);
    lines.insert(Arc::clone(&line));
    line
}

#[cfg(target_arch = "x86_64")]
fn native(Registers { pc, sp, fp, lr: _ }: Registers) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(pc, sp, fp)
}

#[cfg(target_arch = "x86_64")]
fn of_native(pc: u64, registers: &framehop::UnwindRegsNative) -> FrameRegisters {
    FrameRegisters { pc, sp: registers.sp(), fp: registers.bp() }
}

#[cfg(target_arch = "aarch64")]
fn of_native(pc: u64, registers: &framehop::UnwindRegsNative) -> FrameRegisters {
    FrameRegisters { pc, sp: registers.sp(), fp: registers.fp() }
}

#[cfg(target_arch = "aarch64")]
fn native(Registers { pc: _, sp, fp, lr }: Registers) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(lr, sp, fp)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_forgotten_when_another_one_is_read() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (pid, own) = (child.id(), std::process::id());
        let mut unwinder = StackUnwinder::new(Path::new("/proc"), None);
        let mut pids_after_reading = |pid| {
            unwinder.read_again(pid);
            for process in unwinder.processes.values_mut() {
                process.read_at = process.read_at.checked_sub(MAPS_INTERVAL).unwrap();
            }
            let mut pids: Vec<u32> = unwinder.processes.keys().copied().collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids_after_reading(pid), [pid]);
        let mut both = [pid, own];
        both.sort_unstable();
        assert_eq!(pids_after_reading(own), both, "it is there");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(pids_after_reading(own), [own]);
    }
}
