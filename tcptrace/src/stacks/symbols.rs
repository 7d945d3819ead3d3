//! Names the lines of code on a stack, from ELF symbols, DWARF and Go's line table in the process's own files
//! (inside its container, even after deletion) and from the map files that JIT compilers write to /tmp. Never blocks
//! longer than its deadline.

use std::{
    cell::{Cell, RefCell},
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use blazesym::{
    Pid,
    symbolize::{
        Input, ProcessMemberInfo, ProcessMemberType, Reason, Symbolized, Symbolizer,
        source::{self, Process, Source},
    },
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    binary::Binary,
    deadline::{DeadlineThread, NoAnswer},
    debug_files::DebugFiles,
    elf::{BoundedFile, Elf},
    frame::{self, Frame},
    go::GoCode,
    interpreters,
    kept_code::KeptCode,
    mapped_code::{KnownTraits, MappedCode, identified},
    mappings, modules, perf_map,
    point::{Point, Points},
    site::{self, Extent},
    tail_calls::{self, KnownFunctions},
};
use crate::{
    host::live_thread::live_thread,
    model::{found_by::CallersBy, no_site::NoSiteBecause, stack::Stack},
};

/// Named stacks kept.
const KEPT_STACKS: usize = 4096;

/// Most files of a symbolizer, and their bytes. It keeps each one open and mapped with all it has read of it, and separate
/// debug files besides.
const MAX_FILES: usize = 200;
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Longest time to name a stack. Reading the line tables of a large program takes a second or two, once.
const NAMING_TIMEOUT: Duration = Duration::from_secs(5);

/// After this time in which no stack is named, the files that were read for names are closed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Most frames named of a stack.
const MAX_FRAMES: usize = 64;

/// A stack without a line is named anew when what names come from has changed; that is looked at no more often.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Names stacks, and caches them.
pub(crate) struct Symbols {
    resolver: DeadlineThread<Question, Option<Answer>>,
    /// By pid and stack.
    kept: FxHashMap<(u32, Points), Kept>,
}

/// A stack that is to be named.
struct Question {
    pid: u32,
    points: Points,
    /// What the process had mapped at the call, where that is known.
    code: Option<Arc<KeptCode>>,
    /// Whether it is there still.
    is_there: bool,
    /// No answer is wanted as long as names come from the same.
    unless: Option<NameSources>,
}

struct Answer {
    stack: Stack,
    sources: NameSources,
}

struct Kept {
    stack: Arc<Stack>,
    /// Where names could come from; `None` where nobody answered.
    sources: Option<NameSources>,
    /// When that was looked at.
    looked_at: Instant,
}

/// What the names of the functions of a process come from, to tell whether that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NameSources {
    mappings: Option<u64>,
    perf_map: Option<(u64, SystemTime)>,
}

impl Symbols {
    pub(crate) fn new(proc_root: &Path) -> Self {
        let proc_root = proc_root.to_owned();
        let start = move || {
            let mut resolver = Resolver::new(proc_root.clone());
            Box::new(move |question: Question| resolver.answer(&question)) as Box<_>
        };
        let resolver = DeadlineThread::new("symbols", NAMING_TIMEOUT, start).forgets_after(IDLE_TIMEOUT);
        Self { resolver, kept: FxHashMap::default() }
    }

    /// Names a stack of a process. Asks whether the process that made the call `is_there` still, for a stack that is not
    /// cached: addresses mean nothing to another one. `code` is what it had mapped then, for when it has ended.
    ///
    /// # Errors
    /// When there is no stack to name: why.
    pub(crate) fn name(
        &mut self,
        pid: u32,
        points: &Points,
        code: Option<Arc<KeptCode>>,
        mut is_there: impl FnMut() -> bool,
    ) -> Result<Arc<Stack>, NoSiteBecause> {
        let key = (pid, Arc::clone(points));
        let known = self.kept.get(&key);
        if let Some(kept) = known
            && (kept.stack.site.is_some() || kept.looked_at.elapsed() < RETRY_INTERVAL || !is_there())
        {
            return Ok(Arc::clone(&kept.stack));
        }
        if points.is_empty() {
            return Err(NoSiteBecause::StackNotKept);
        }
        let is_there = known.is_some() || is_there();
        if !is_there && code.is_none() {
            return told(points).map(Arc::new).ok_or(NoSiteBecause::ProcessEnded);
        }
        let unless = known.and_then(|kept| kept.sources);
        let question = Question { pid, points: Arc::clone(points), code, is_there, unless };
        let answer = self.resolver.ask(question).inspect_err(|error| {
            // Warns once per lost thread, not for each stack that stays unnamed because of it.
            let level = if let NoAnswer::Late(_) = error { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "the stacks of process {pid} cannot be named: {error}");
        });
        let looked_at = Instant::now();
        let named = match (answer, self.kept.get_mut(&key)) {
            // What names come from has not changed, or nobody answered this time.
            (Ok(None) | Err(_), Some(kept)) => {
                kept.looked_at = looked_at;
                return Ok(Arc::clone(&kept.stack));
            }
            (Ok(Some(Answer { stack, sources })), _) => {
                Kept { stack: Arc::new(stack), sources: Some(sources), looked_at }
            }
            (Ok(None) | Err(_), None) => {
                let stack = told(points).unwrap_or_else(|| NoSiteBecause::NotNamed.into());
                Kept { stack: Arc::new(stack), sources: None, looked_at }
            }
        };
        if self.kept.len() >= KEPT_STACKS {
            self.kept.clear();
        }
        let stack = Arc::clone(&named.stack);
        self.kept.insert(key, named);
        Ok(stack)
    }
}

/// Reads the files that a process has mapped. They are untrusted: reading them may take any time.
struct Resolver {
    proc_root: PathBuf,
    symbolizer: Symbolizer,
    go: GoCode,
    debug_files: DebugFiles,
    opened: Rc<OpenedFiles>,
    traits: KnownTraits,
    functions: KnownFunctions,
}

/// What the symbolizer has opened.
#[derive(Default)]
struct OpenedFiles {
    paths: RefCell<FxHashSet<PathBuf>>,
    bytes: Cell<u64>,
}

impl OpenedFiles {
    fn add(&self, path: &Path) {
        if self.paths.borrow_mut().insert(path.to_owned()) {
            let bytes = fs::metadata(path).map_or(0, |file| file.len());
            self.bytes.set(self.bytes.get().saturating_add(bytes));
        }
    }

    fn are_too_many(&self, others: usize) -> bool {
        self.paths.borrow().len() + others >= MAX_FILES || self.bytes.get() >= MAX_FILE_BYTES
    }
}

impl Resolver {
    fn new(proc_root: PathBuf) -> Self {
        let opened = Rc::default();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self {
            proc_root,
            symbolizer: symbolizer(&opened),
            go: GoCode::default(),
            debug_files: DebugFiles::new(home.as_deref()),
            opened,
            traits: KnownTraits::default(),
            functions: KnownFunctions::default(),
        }
    }

    fn answer(&mut self, question: &Question) -> Option<Answer> {
        let Question { pid, points, code, is_there, unless } = question;
        let runs_it = |code: &&Arc<KeptCode>| {
            let pid = live_thread(&self.proc_root, *pid).unwrap_or(*pid);
            let process = mappings::process(&self.proc_root, pid).ok().filter(|_| *is_there);
            process.is_some_and(|process| code.is_mapped_by(&process, points))
        };
        if let Some(code) = code.as_ref().filter(|code| !runs_it(code)) {
            let sources = NameSources { mappings: None, perf_map: None };
            return (*unless != Some(sources))
                .then(|| Answer { stack: self.resolve_kept(code, points), sources });
        }
        let sources = NameSources {
            mappings: mappings::state(&self.proc_root, *pid),
            perf_map: perf_map::state(&self.proc_root, *pid),
        };
        (*unless != Some(sources)).then(|| Answer { stack: self.resolve(*pid, points), sources })
    }

    fn resolve(&mut self, pid: u32, points: &[Point]) -> Stack {
        // The files of a process whose main thread has ended are those of another thread.
        let pid = live_thread(&self.proc_root, pid).unwrap_or(pid);
        let program = mappings::process(&self.proc_root, pid).ok().and_then(|process| self.program(&process));
        let (points, extent) = extent(points);
        let mut code = MappedCode::at(&self.proc_root, pid, &calls(points))
            .inspect_err(|error| log::debug!("the files that process {pid} has mapped: {error}"))
            .ok();
        let mut points = points.to_vec();
        if let Some(code) = &mut code {
            code.identify(&mut self.traits);
            points = tail_calls::filled(&points, code, &mut self.functions);
        }
        let (points, calls) = (&points[..], calls(&points));
        let program = program.as_ref();
        let mut known = self.known(points, &calls, code.as_ref(), program);
        self.name_by_symbols(pid, &calls, (code.as_ref(), program), &mut known);
        self.name_made_at_run_time(pid, &calls, &mut known);
        if let Some(code) = &code {
            place(code, &calls, program, &mut known);
        }
        let mut stack = finished(points, known, extent, program);
        if let Some(no_site) = stack.no_site.as_mut().filter(|_| code.is_some_and(|code| code.is_forbidden)) {
            // What the frames tell is for want of names.
            *no_site = NoSiteBecause::NotPermitted.into();
        }
        stack
    }

    /// The program that a process runs.
    fn program(&mut self, process: &OwnedFd) -> Option<Binary> {
        let path = mappings::program_path(process).ok()?;
        Some(match mappings::program(process) {
            Ok((identity, file)) => identified(path, identity, file, &mut self.traits),
            Err(_) => Binary::unread(path),
        })
    }

    /// As [`Resolver::resolve`], by what a process had mapped that has ended since, or has mapped other files.
    fn resolve_kept(&mut self, code: &KeptCode, points: &[Point]) -> Stack {
        let program = match code.open_program() {
            Some((identity, file)) => identified(code.program.clone(), identity, file, &mut self.traits),
            None => Binary::unread(code.program.clone()),
        };
        let (points, extent) = extent(points);
        let mut code = MappedCode::kept(code, &calls(points));
        code.identify(&mut self.traits);
        let points = &tail_calls::filled(points, &code, &mut self.functions)[..];
        let (calls, program) = (calls(points), Some(&program));
        let mut known = self.known(points, &calls, Some(&code), program);
        self.name_by_kept_files(&code, &calls, program, &mut known);
        place(&code, &calls, program, &mut known);
        finished(points, known, extent, program)
    }

    /// The frames at each address, innermost first, that no symbols are needed for; none of what is not known.
    fn known(
        &mut self,
        points: &[Point],
        calls: &[u64],
        code: Option<&MappedCode>,
        program: Option<&Binary>,
    ) -> Vec<Vec<Frame>> {
        if self.opened.are_too_many(self.debug_files.found()) {
            self.opened = Rc::default();
            self.debug_files.forget();
            self.symbolizer = symbolizer(&self.opened);
        }
        let mut known: Vec<Vec<Frame>> = vec![Vec::new(); calls.len()];
        if let Some(code) = code {
            let go = self.go.lines(code, calls);
            known = go.iter().map(|lines| lines.iter().map(frame::of_go).collect()).collect();
        }
        let package = interpreters::program(points);
        for (point, frames) in points.iter().zip(&mut known) {
            if let Point::Script(line) = point {
                *frames = vec![frame::of_script(line, package.as_deref())];
            }
        }
        if let Some(code) = code {
            self.name_by_debug_files(code, calls, program, &mut known);
        }
        known
    }

    /// Names by debug files that are installed for what the process has mapped.
    fn name_by_debug_files(
        &mut self,
        code: &MappedCode,
        calls: &[u64],
        program: Option<&Binary>,
        known: &mut [Vec<Frame>],
    ) {
        for mapping in &code.mappings {
            let is_asked = |(call, frames): &(&u64, &mut Vec<Frame>)| {
                mapping.addresses.contains(call) && frames.is_empty()
            };
            let mut asked = calls.iter().zip(known.iter_mut()).filter(is_asked).peekable();
            if asked.peek().is_none() {
                continue;
            }
            let Ok((_, file)) = code.open(mapping) else { continue };
            let file = BoundedFile::new(file);
            let Some(elf) = Elf::read(&file) else { continue };
            let path = elf.build_id().and_then(|build_id| self.debug_files.of(build_id));
            let (Some(path), Some(module)) = (path, code.binary(mapping)) else { continue };
            let source = Source::Elf(source::Elf::new(path));
            for (call, frames) in asked {
                let Some(stated) = modules::stated(&elf, mapping, *call) else { continue };
                match self.symbolizer.symbolize_single(&source, Input::VirtOffset(stated)) {
                    Ok(Symbolized::Sym(symbol)) => {
                        *frames = frame::named(&symbol, Some(module), program).collect();
                    }
                    Ok(Symbolized::Unknown(_)) => {}
                    Err(error) => log::debug!("the debug file {}: {error}", path.display()),
                }
            }
        }
    }

    /// Names by the files that the process has mapped what is not known yet. Whose files they are is told by the mappings:
    /// blazesym knows a file by the path by which it was read first, which may have been that of another process.
    fn name_by_symbols(
        &self,
        pid: u32,
        calls: &[u64],
        (code, program): (Option<&MappedCode>, Option<&Binary>),
        known: &mut Vec<Vec<Frame>>,
    ) {
        let (indices, calls) = unknown(calls, known);
        for ((index, call), symbol) in indices.into_iter().zip(&calls).zip(self.symbolize(pid, &calls)) {
            match symbol {
                Symbolized::Sym(symbol) => {
                    let module = code.and_then(|code| code.binary_at(*call));
                    known[index] = frame::named(&symbol, module, program).collect();
                }
                // An address outside any mapping means that the stack walk went astray, or that code is gone since.
                Symbolized::Unknown(Reason::Unmapped) => return known.truncate(index),
                Symbolized::Unknown(_) => {}
            }
        }
    }

    /// Names by the files that are kept of a process what is not known yet.
    fn name_by_kept_files(
        &self,
        code: &MappedCode,
        calls: &[u64],
        program: Option<&Binary>,
        known: &mut [Vec<Frame>],
    ) {
        for (call, frames) in calls.iter().zip(known).filter(|(_, frames)| frames.is_empty()) {
            let Some(mapping) = code.mapping(*call) else { continue };
            let (Ok(file), Some(offset)) = (code.kept_file(mapping), mapping.offset_of(*call)) else {
                continue;
            };
            let here = file.here();
            self.opened.add(&here);
            let source = Source::Elf(source::Elf::new(here));
            match self.symbolizer.symbolize_single(&source, Input::FileOffset(offset)) {
                Ok(Symbolized::Sym(symbol)) => {
                    *frames = frame::named(&symbol, code.binary(mapping), program).collect();
                }
                Ok(Symbolized::Unknown(_)) => {}
                Err(error) => log::debug!("the file {}: {error}", file.path.display()),
            }
        }
    }

    /// Names by the process's own map what no file has a name for.
    fn name_made_at_run_time(&self, pid: u32, calls: &[u64], known: &mut [Vec<Frame>]) {
        let (indices, calls) = unknown(calls, known);
        if calls.is_empty() {
            return;
        }
        match perf_map::names(&self.proc_root, pid, &calls) {
            Ok(names) => {
                for (index, name) in indices.into_iter().zip(names) {
                    known[index].extend(name.map(|name| frame::made(&name)));
                }
            }
            Err(error) => log::debug!("the functions that process {pid} made at run time: {error}"),
        }
    }

    /// Symbolizes from the files that the process has mapped.
    fn symbolize(&self, pid: u32, calls: &[u64]) -> Vec<Symbolized<'_>> {
        // Perf maps come later: an unfinished one would spoil the whole stack here.
        let mut process = Process::new(Pid::from(pid));
        process.perf_map = false;
        let mut plain = process.clone();
        plain.debug_syms = false;
        let (source, plain) = (Source::Process(process), Source::Process(plain));
        let all = self.symbolizer.symbolize(&source, Input::AbsAddr(calls));
        all.unwrap_or_else(|error| {
            log::debug!("naming a stack of process {pid}: {error}");
            // One unreadable mapping, as of a memory file with JIT-compiled code, spoils the batch: retry each address
            // alone.
            let alone = |call: &u64| {
                let ask = |source| self.symbolizer.symbolize_single(source, Input::AbsAddr(*call));
                // Debug information may be damaged, or found on this host for another build than the container's; the
                // functions still have names.
                ask(&source).or_else(|_| ask(&plain))
            };
            let unknown = |_| Symbolized::Unknown(Reason::IgnoredError);
            calls.iter().map(|call| alone(call).unwrap_or_else(unknown)).collect()
        })
    }
}

/// The addresses of the calls.
fn calls(points: &[Point]) -> Vec<u64> {
    points.iter().map(Point::call).collect()
}

/// The points that are named, and how far the stack goes, as far as that tells.
fn extent(points: &[Point]) -> (&[Point], Extent) {
    let (points, is_whole) = match points.split_last() {
        Some((Point::End, points)) => (points, points.len() <= MAX_FRAMES),
        _ => (points, false),
    };
    // A stack longer than MAX_FRAMES did not end early.
    let is_cut = !is_whole && points.len() < MAX_FRAMES;
    (points.get(..MAX_FRAMES).unwrap_or(points), Extent { is_cut, is_whole, is_short: false })
}

/// A stack of what is known at each point.
fn finished(points: &[Point], mut known: Vec<Vec<Frame>>, extent: Extent, program: Option<&Binary>) -> Stack {
    // Trailing addresses outside of any code most likely mean that the stack walk went astray, or that code is gone since.
    known.truncate(known.iter().rposition(|frames| !frames.is_empty()).map_or(0, |last| last + 1));
    let is_short = known.len() < points.len();
    let extent =
        Extent { is_cut: extent.is_cut || is_short, is_whole: extent.is_whole && !is_short, is_short };
    let nowhere = |point: &Point| vec![frame::unnamed(point.call(), None, program)];
    let mut frames: Vec<Frame> = Vec::new();
    for (known, point) in known.into_iter().zip(points) {
        let known = if known.is_empty() { nowhere(point) } else { known };
        // What compilers split off a function goes by its name, and did not come from elsewhere.
        let is_split = point.found_by() == Some(CallersBy::TailCall)
            && frames
                .last()
                .zip(known.last())
                .is_some_and(|(inner, outer)| inner.function() == outer.function());
        if !is_split {
            frames.extend(reached(known, point));
        }
    }
    // Anything may lie below the outermost function.
    let is_cut = extent.is_cut && !frames.iter().any(|frame| frame.is_outermost);
    site::stack(frames, Extent { is_cut, ..extent }, program)
}

/// The lines that a virtual machine told while the process was there: the rest of its stack means nothing any more. `None`
/// where it told none.
fn told(points: &[Point]) -> Option<Stack> {
    let package = interpreters::program(points);
    let line = |point: &Point| match point {
        Point::Script(line) => reached(vec![frame::of_script(line, package.as_deref())], point),
        Point::Address { .. } | Point::End => Vec::new(),
    };
    let frames: Vec<Frame> = points.iter().flat_map(line).collect();
    let extent = Extent { is_cut: true, is_whole: false, is_short: false };
    (!frames.is_empty()).then(|| site::stack(frames, extent, None))
}

/// The frames of one point, each with what led to the point.
fn reached(mut frames: Vec<Frame>, point: &Point) -> Vec<Frame> {
    for frame in &mut frames {
        frame.reached_by = point.found_by();
    }
    frames
}

/// Says where what has no name is in its file.
fn place(code: &MappedCode, calls: &[u64], program: Option<&Binary>, known: &mut [Vec<Frame>]) {
    let (indices, calls) = unknown(calls, known);
    for ((index, call), place) in indices.into_iter().zip(&calls).zip(modules::places(code, &calls)) {
        known[index].extend(place.map(|place| frame::unnamed(*call, Some(&place), program)));
    }
}

/// The addresses of which nothing is known, and which of all they are.
fn unknown(calls: &[u64], known: &[Vec<Frame>]) -> (Vec<usize>, Vec<u64>) {
    let without = calls.iter().enumerate().zip(known).filter(|(_, frames)| frames.is_empty());
    without.map(|(call, _)| call).unzip()
}

/// A symbolizer that counts the files it opens, because it never closes one.
fn symbolizer(opened: &Rc<OpenedFiles>) -> Symbolizer {
    let opened = Rc::clone(opened);
    let count = move |member: ProcessMemberInfo<'_>| {
        if let ProcessMemberType::Path(path) = member.member_entry {
            opened.add(&path.maps_file);
        }
        // Leaves the work to blazesym.
        Ok(None)
    };
    Symbolizer::builder().set_process_dispatcher(count).build()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::stacks::{
        kept_code::KeptFile,
        point::{ScriptLanguage, ScriptLine, addresses},
    };

    #[test]
    fn files_count_once_and_large_ones_are_closed_sooner() {
        let folder = tempfile::tempdir().unwrap();
        let large = |name: &str| {
            let path = folder.path().join(name);
            fs::File::create(&path).unwrap().set_len(MAX_FILE_BYTES / 2).unwrap();
            path
        };
        let opened = OpenedFiles::default();
        for _ in 0..MAX_FILES {
            opened.add(&large("one"));
        }
        assert!(!opened.are_too_many(0));
        opened.add(&large("other"));
        assert!(opened.are_too_many(0), "all their bytes");
        let opened = OpenedFiles::default();
        (0..MAX_FILES - 2).for_each(|nth| opened.add(Path::new(&nth.to_string())));
        assert!(!opened.are_too_many(1) && opened.are_too_many(2));
    }

    #[inline(never)]
    fn a_line_to_be_found() -> u64 {
        // Some address within this very function.
        a_line_to_be_found as *const () as u64 + 2
    }

    #[test]
    fn an_address_of_this_process_has_a_name_and_a_line() {
        let mut symbols = Symbols::new(Path::new("/proc"));
        let stack = symbols
            .name(std::process::id(), &addresses(&[a_line_to_be_found()]).into(), None, || true)
            .unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.frames[0].contains("a_line_to_be_found (symbols.rs:"), "{stack:?}");
        assert_eq!(stack.site.as_ref(), stack.frames.first());
        assert!(stack.is_cut);
    }

    #[test]
    fn lines_that_a_machine_told_outlive_the_process() {
        let line = ScriptLine {
            language: ScriptLanguage::Python,
            function: "refund".to_owned(),
            file: Some("/srv/shop.py".to_owned()),
            line: Some(7),
            package: None,
        };
        let points = [addresses(&[0x10]), vec![Point::Script(line.into()), Point::End]].concat().into();
        let mut symbols = Symbols::new(Path::new("/proc"));
        let stack = symbols.name(1, &points, None, || false).unwrap();
        assert_eq!((stack.site.as_deref(), stack.frames.len()), (Some("refund (shop.py:7)"), 1));
        let native = addresses(&[0x10]).into();
        assert_eq!(symbols.name(1, &native, None, || false), Err(NoSiteBecause::ProcessEnded));
    }

    #[test]
    fn functions_of_a_process_that_has_ended_have_the_names_of_its_files() {
        let process = mappings::process(Path::new("/proc"), std::process::id()).unwrap();
        let (program_identity, _) = mappings::program(&process).unwrap();
        let program = fs::read_link("/proc/self/exe").unwrap();
        let kept = |mapping: mappings::Mapping| {
            let (identity, file) = mapping.open(&process).ok()?;
            let path = mapping.path(&process).ok()?;
            Some((mapping, Arc::new(KeptFile::new(path, identity, file, &Arc::default()))))
        };
        let parts = mappings::executable(&process).unwrap().filter_map(kept).collect();
        let code = Arc::new(KeptCode { program, program_identity, parts });
        let mut symbols = Symbols::new(Path::new("/proc"));
        let points = addresses(&[a_line_to_be_found(), 0x10]).into();
        let stack = symbols.name(1, &points, Some(code), || false).unwrap();
        assert!(stack.site.as_ref().unwrap().contains("a_line_to_be_found (symbols.rs:"), "{stack:?}");
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
    }

    #[test]
    fn a_map_that_is_written_later_is_used() {
        // Memory of no file, where a compiler could have put a function.
        let made = vec![0_u8; 1 << 20];
        let address = made.as_ptr() as u64 + 16;
        let mut symbols = Symbols::new(Path::new("/proc"));
        let mut site = || {
            let stack =
                symbols.name(std::process::id(), &addresses(&[address]).into(), None, || true).unwrap();
            symbols.kept.values_mut().for_each(|kept| kept.looked_at -= RETRY_INTERVAL);
            stack.site.clone()
        };
        assert_eq!(site(), None);
        let map = format!("/tmp/perf-{}.map", std::process::id());
        fs::write(&map, format!("{:x} 40 made_at_run_time\n", address - 8)).unwrap();
        let found = site();
        fs::remove_file(map).unwrap();
        assert_eq!(found.as_deref(), Some("made_at_run_time"));
    }

    #[test]
    fn what_is_no_code_ends_the_stack() {
        let mut symbols = Symbols::new(Path::new("/proc"));
        let stack = symbols
            .name(std::process::id(), &addresses(&[a_line_to_be_found(), 0x10, 0x20]).into(), None, || true)
            .unwrap();
        assert_eq!(stack.frames.len(), 1, "{stack:?}");
        assert!(stack.is_cut);
    }
}
