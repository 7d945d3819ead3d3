//! Chooses the line to look at on a stack: the application's own, or the reason that there is none. Pure.

use super::{
    binary::Binary,
    event_loops,
    frame::{Frame, Origin},
    kind::Kind,
    point::ScriptLanguage,
};
use crate::model::{
    found_by::{FoundBy, NamedBy},
    no_site::{NoSite, NoSiteBecause},
    stack::Stack,
};

/// How far out a stack goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// It ends before the function in which its thread began.
    pub(super) is_cut: bool,
    /// Unwind information led from each of its functions to the next, up to where the thread began.
    pub(super) is_whole: bool,
    /// Callers were there whose code is there no more, or makes no sense.
    pub(super) is_short: bool,
}

/// Makes a stack of its frames, innermost first. `program` is what the process runs.
pub(super) fn stack(mut frames: Vec<Frame>, extent: Extent, program: Option<&Binary>) -> Stack {
    rate_by_callers(&mut frames);
    rate_made(&mut frames);
    let site = own(&frames).map(|frame| frame.text.clone());
    let no_site = site.is_none().then(|| why_none(&frames, extent, program));
    let (is_cut, found_by) = (extent.is_cut, found_by(&frames));
    let frames = frames.into_iter().map(|frame| frame.text).collect();
    Stack { frames, site, is_cut, no_site, found_by }
}

/// How the line was found, or what is known instead of it; `None` where no frame is.
fn found_by(frames: &[Frame]) -> Option<FoundBy> {
    let told = may_be_own(frames).next();
    let is_told = |frame: &Frame| told.is_some_and(|told| std::ptr::eq(told, frame));
    let last = frames.iter().position(is_told).unwrap_or(frames.len().checked_sub(1)?);
    let mut callers = Vec::new();
    for by in frames.iter().take(last + 1).filter_map(|frame| frame.reached_by) {
        if !callers.contains(&by) {
            callers.push(by);
        }
    }
    Some(FoundBy { callers, name: told.and_then(|told| told.named_by) })
}

/// The innermost frame of the application's own, if it has a name: the next one out is another function.
fn own(frames: &[Frame]) -> Option<&Frame> {
    may_be_own(frames).next().filter(|frame| frame.is_named)
}

/// The frames of code that no library and no runtime brought along. What embeds an interpreter did not make the call: the
/// code that is interpreted did. Nor did what runs a loop in which a library made it, or calls what has the caller inlined.
fn may_be_own(frames: &[Frame]) -> impl Iterator<Item = &Frame> {
    let is_interpreted = |frame: &Frame| is_script(frame) || matches!(frame.kind, Kind::Interpreter(_));
    let interpreted = frames.iter().position(is_interpreted).unwrap_or(frames.len());
    // What lies between lines that a machine told is an extension of the application's own.
    let outermost_told = frames.iter().rposition(|frame| frame.told_by.is_some()).unwrap_or(0);
    let embeds =
        move |at: usize, frame: &Frame| frame.is_of_file() && interpreted < at && outermost_told < at;
    let is_seen = move |at: usize, frame: &Frame| frame.kind == Kind::Own && !embeds(at, frame);
    let with_lines = frames
        .iter()
        .enumerate()
        .rposition(|(at, frame)| is_seen(at, frame) && frame.named_by == Some(NamedBy::LineTable));
    // Of a program that has line tables, what has none was linked in, or brought along: nobody built it with the program.
    let is_linked_in = move |at: usize, frame: &Frame| {
        frame.origin == Origin::Linked
            && frame.named_by == Some(NamedBy::Symbols)
            && with_lines.is_some_and(|outer| at < outer)
    };
    let inner = in_loop(frames).len().min(inlined_in(frames).unwrap_or(usize::MAX));
    let own = frames
        .iter()
        .enumerate()
        .take(inner)
        .filter(move |(at, frame)| is_seen(*at, frame) && !is_linked_in(*at, frame));
    own.map(|(_, frame)| frame)
}

/// The frames within the innermost loop of a library, of a call that its work made: all frames where there is none, or where it
/// accepts.
fn in_loop(frames: &[Frame]) -> &[Frame] {
    let is_loop = |frame: &Frame| frame.kind != Kind::Own && event_loops::is_loop(frame.function());
    let accepts = |frame: &Frame| frame.kind != Kind::Own && event_loops::accepts(frame.function());
    let within = frames.iter().position(is_loop).and_then(|at| frames.get(..at));
    within.filter(|within| !within.iter().any(accepts)).unwrap_or(frames)
}

/// Rates machine code that a line of a library called, such as its part in C that was unpacked elsewhere, as the library's.
fn rate_by_callers(frames: &mut [Frame]) {
    let mut caller: Option<Kind> = None;
    for frame in frames.iter_mut().rev() {
        match (&frame.kind, &caller) {
            (Kind::Own, Some(library)) if frame.is_of_file() => frame.kind = library.clone(),
            (Kind::Library(_), _) if is_script(frame) => caller = Some(frame.kind.clone()),
            (Kind::Runtime | Kind::Interpreter(_), _) if frame.is_of_file() => {}
            _ => caller = None,
        }
    }
}

/// Rates code that has no file as the run-time's where a line of the application's own with a file is further out: a library
/// made it while the program ran, as Python's dataclasses and Java's proxies do, or the application had it evaluated.
fn rate_made(frames: &mut [Frame]) {
    let mut written = None;
    for frame in frames.iter_mut().rev().filter(|frame| frame.told_by.is_some() && frame.kind == Kind::Own) {
        if !frame.is_made {
            written = frame.told_by;
        } else if written == frame.told_by {
            frame.kind = Kind::Runtime;
        }
    }
}

/// Whether a virtual machine told the name of a frame.
fn is_script(frame: &Frame) -> bool {
    frame.is_named && !frame.is_of_file()
}

/// Whether no caller is missing because of how the code is made. Between frames without pointers, some may be skipped
/// unseen, even where the outermost function is there: only Go and the machines that name their functions keep them all. A
/// machine's callers may be missing where the stack ends early: Python makes code that nothing unwinds.
fn knows_callers(frames: &[Frame], Extent { is_cut, is_short, .. }: Extent) -> bool {
    let outermost = frames.iter().rposition(|frame| frame.told_by.is_some());
    // What makes no sense then lies below the machine, as below a greenlet, whose stack was moved.
    let has_all_lines =
        outermost.is_some_and(|at| frames.get(at).is_some_and(tells_all) && at + 1 < frames.len());
    if is_short && !has_all_lines {
        return false;
    }
    let is_entry =
        |frame: &Frame| frame.text == "Interpreter" || frame.text.contains("InterpreterEntryTrampoline");
    let is_nameless = |frame: &Frame| is_entry(frame) || !(frame.is_named || frame.is_of_file());
    let is_go = |frame: &Frame| frame.text.starts_with("runtime.goexit");
    if let Some(outermost) = outermost {
        return is_end(frames, outermost) && !frames.iter().any(is_nameless);
    }
    frames.iter().any(is_go) || (!is_cut && frames.iter().any(is_script) && !frames.iter().any(is_nameless))
}

/// Whether a line was told by a machine that tells all of a thread, or of a greenlet, as Python, PHP and Ruby do.
fn tells_all(frame: &Frame) -> bool {
    matches!(frame.told_by, Some(ScriptLanguage::Python | ScriptLanguage::Php | ScriptLanguage::Ruby))
}

/// Whether the outermost line that a virtual machine told is where its thread begins. Those of Python, PHP and Ruby are; else the
/// thread's own is seen below it, or Java's `Thread.run`, whoever overrides it, and the machine that called it.
fn is_end(frames: &[Frame], outermost: usize) -> bool {
    if frames.get(outermost).is_some_and(tells_all) {
        return true;
    }
    let is_machine = |frame: &Frame| frame.is_of_file() && matches!(frame.kind, Kind::Interpreter(_));
    let below = frames.get(outermost + 1..).unwrap_or_default();
    let runs = frames.get(outermost).and_then(|frame| frame.text.split(' ').next());
    let is_run = runs.and_then(|function| function.rsplit('.').next()) == Some("run");
    frames.iter().any(|frame| frame.is_outermost) || (is_run && below.iter().any(is_machine))
}

/// Which function that runs what others hand it has the caller most likely inlined: between that and the call is nothing but what
/// opens sockets for anybody, which is the run-time, or what the same library has.
fn inlined_in(frames: &[Frame]) -> Option<usize> {
    let mut inner: Vec<&Kind> = Vec::new();
    frames.iter().position(|frame| {
        let opens = |kind: &&Kind| **kind == Kind::Runtime || matches!((*kind, &frame.kind), (Kind::Library(of), Kind::Library(runner)) if opens_for(of, runner));
        let is_it = frame.runs_closures && frame.kind != Kind::Own && inner.iter().all(opens);
        inner.push(&frame.kind);
        is_it
    })
}

/// Whether a library opens sockets for what another one runs.
fn opens_for(library: &str, runner: &str) -> bool {
    library == runner || (runner == "tokio" && matches!(library, "mio" | "socket2"))
}

fn why_none(frames: &[Frame], extent: Extent, program: Option<&Binary>) -> NoSite {
    if frames.is_empty() {
        return NoSiteBecause::ProcessEnded.into();
    }
    let library = |frames: &[Frame]| {
        frames.iter().rev().find_map(|frame| match &frame.kind {
            Kind::Library(name) => Some(name.clone()),
            Kind::Runtime | Kind::Interpreter(_) | Kind::Own => None,
        })
    };
    let interpreted = frames.iter().enumerate().find_map(|(at, frame)| match frame.kind {
        Kind::Interpreter(language) => Some((at, language)),
        Kind::Runtime | Kind::Library(_) | Kind::Own => None,
    });
    let knows_callers = knows_callers(frames, extent);
    if let Some((at, because)) = interpreted.filter(|_| !knows_callers) {
        // Where methods have names, the copy ends: or their callers are elsewhere, as a virtual thread's that has waited.
        let told = frames.iter().rposition(|frame| frame.told_by.is_some());
        let is_elsewhere = |frame: &Frame| !frame.is_named && !frame.is_of_file();
        let is_cut =
            !extent.is_short && told.is_some_and(|told| !frames.get(told + 1).is_some_and(is_elsewhere));
        let because = if is_cut { NoSiteBecause::CutShort } else { because };
        return NoSite { because, of: library(frames.get(..at).unwrap_or_default()) };
    }
    if let Some(because) =
        program.and_then(|program| program.traits.interpreter).filter(|_| !knows_callers && !extent.is_whole)
    {
        return NoSite { because, of: library(frames) };
    }
    if let Some(frame) = may_be_own(frames).next() {
        let build = frame.build_id.as_ref().map(|id| format!(" (build id {id})")).unwrap_or_default();
        return NoSite { because: NoSiteBecause::Stripped, of: Some(format!("{}{build}", frame.text)) };
    }
    // Below the lines that a machine told is the machine, and what switches between stacks.
    let outermost = frames.iter().rposition(|frame| frame.told_by.is_some());
    let asks = frames.get(..=outermost.unwrap_or(frames.len() - 1)).unwrap_or(frames);
    match library(in_loop(asks)) {
        of if inlined_in(frames).is_some() => NoSite { because: NoSiteBecause::Inlined, of },
        of if knows_callers || extent.is_whole => NoSite { because: NoSiteBecause::LibraryThread, of },
        of @ Some(_) => NoSite { because: NoSiteBecause::Library, of },
        None => NoSiteBecause::CutShort.into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::model::{
        found_by::{CallersBy, NamedBy},
        no_site::NoSiteBecause::{
            CutShort, Inlined, InterpretedJava, InterpretedNode, InterpretedPhp, InterpretedPython, Library,
            LibraryThread, ProcessEnded, Stripped,
        },
    };

    fn frame(text: &str, kind: Kind, is_named: bool, is_of_file: bool) -> Frame {
        Frame {
            text: text.to_owned(),
            kind,
            is_named,
            origin: if is_of_file { Origin::Linked } else { Origin::RunTime },
            is_outermost: false,
            runs_closures: false,
            told_by: None,
            is_made: false,
            build_id: None,
            reached_by: None,
            named_by: is_named.then_some(NamedBy::Symbols),
        }
    }

    fn libc() -> Frame {
        frame("connect", Kind::Runtime, true, true)
    }

    fn own(text: &str) -> Frame {
        frame(text, Kind::Own, true, true)
    }

    fn library() -> Frame {
        frame("Curl_dial", Kind::Library("libcurl.so.4".to_owned()), true, true)
    }

    fn python() -> Frame {
        frame("PyEval_EvalCode", Kind::Interpreter(InterpretedPython), true, true)
    }

    /// As far as it goes, by frame pointers.
    fn walked(is_cut: bool) -> Extent {
        Extent { is_cut, is_whole: false, is_short: false }
    }

    fn reason(frames: Vec<Frame>, is_cut: bool, program: &str) -> (NoSiteBecause, Option<String>) {
        let Stack { site, no_site, .. } =
            stack(frames, walked(is_cut), Some(&Binary::unread(program.into())));
        assert_eq!(site, None);
        let NoSite { because, of } = no_site.unwrap();
        (because, of)
    }

    #[test]
    fn the_innermost_frame_of_the_applications_own_is_the_site() {
        let stack = stack(vec![libc(), library(), own("dial"), own("main")], walked(false), None);
        assert_eq!((stack.site.as_deref(), stack.no_site), (Some("dial"), None));
    }

    #[test]
    fn in_a_program_with_line_tables_what_has_none_was_linked_in() {
        let with_line = |text: &str| Frame { named_by: Some(NamedBy::LineTable), ..own(text) };
        let frames = |last: Frame| vec![libc(), own("evutil_socket_connect_"), own("uv__tcp_connect"), last];
        let site = |frames| stack(frames, walked(false), None).site;
        assert_eq!(site(frames(with_line("shop_dial (ev.c:9)"))).as_deref(), Some("shop_dial (ev.c:9)"));
        assert_eq!(site(frames(own("main"))).as_deref(), Some("evutil_socket_connect_"), "nothing tells");
        let inner = vec![libc(), with_line("dial (ledger.c:2)"), own("run"), with_line("main (main.c:3)")];
        assert_eq!(site(inner).as_deref(), Some("dial (ledger.c:2)"));
        let plugin = Frame { origin: Origin::File, ..own("plugin_open") };
        let frames = vec![libc(), plugin, with_line("main (main.c:3)")];
        assert_eq!(site(frames).as_deref(), Some("plugin_open"), "a part of the program");
    }

    #[test]
    fn who_runs_a_loop_has_accepted_and_has_not_connected() {
        let line = |text: &str, kind| Frame {
            told_by: Some(ScriptLanguage::Python),
            ..frame(text, kind, true, false)
        };
        let standard = |text: &str| line(text, Kind::Interpreter(InterpretedPython));
        let run_by = |inner: Vec<Frame>| {
            let outer = [
                standard("Handle._run (events.py:80)"),
                standard("BaseEventLoop.run_forever (base_events.py:607)"),
                line("main (shop.py:9)", Kind::Own),
            ];
            let inner: Vec<Frame> = inner.into_iter().chain(outer).collect();
            stack(inner, walked(false), Some(&Binary::unread("/usr/bin/python3.11".into())))
        };
        let task = || line("_run_coro (_tasks.py:327)", Kind::Library("anyio".to_owned()));
        let stack = run_by(vec![libc(), task()]);
        let expected = NoSite { because: LibraryThread, of: Some("anyio".to_owned()) };
        assert_eq!((stack.site, stack.no_site), (None, Some(expected)));
        let asked = run_by(vec![libc(), task(), line("refund (shop.py:3)", Kind::Own)]);
        assert_eq!(asked.site.as_deref(), Some("refund (shop.py:3)"));
        let accepted = run_by(vec![frame("accept4", Kind::Runtime, true, true)]);
        assert_eq!(accepted.site.as_deref(), Some("main (shop.py:9)"));
    }

    #[test]
    fn what_a_line_of_a_library_calls_is_the_library_s() {
        let script = |text: &str, kind| frame(text, kind, true, false);
        let netty = || script("Native.connect (Native.java:9)", Kind::Library("io.netty".to_owned()));
        let frames = |caller| {
            vec![
                libc(),
                own("netty_unix_socket_connect"),
                caller,
                script("Shop.refund (Shop.java:2)", Kind::Own),
            ]
        };
        let site = |frames| stack(frames, walked(false), None).site;
        assert_eq!(site(frames(netty())).as_deref(), Some("Shop.refund (Shop.java:2)"));
        let own_caller = script("Ledger.dial (Ledger.java:4)", Kind::Own);
        assert_eq!(site(frames(own_caller)).as_deref(), Some("netty_unix_socket_connect"));
    }

    #[test]
    fn how_a_line_was_found_is_what_led_to_it_and_nothing_behind_it() {
        let by = |frame: Frame, by| Frame { reached_by: Some(by), ..frame };
        let frames = vec![
            libc(),
            by(library(), CallersBy::UnwindInformation),
            by(own("dial"), CallersBy::UnwindInformation),
            by(own("main"), CallersBy::FramePointers),
        ];
        let found = |frames| stack(frames, walked(true), None).found_by;
        let expected = FoundBy { callers: vec![CallersBy::UnwindInformation], name: Some(NamedBy::Symbols) };
        assert_eq!(found(frames), Some(expected));
        let without = vec![libc(), by(library(), CallersBy::FramePointers)];
        let expected = FoundBy { callers: vec![CallersBy::FramePointers], name: None };
        assert_eq!(found(without), Some(expected));
        assert_eq!(
            found(vec![own("main")]),
            Some(FoundBy { name: Some(NamedBy::Symbols), ..FoundBy::default() })
        );
        assert_eq!(found(vec![]), None);
    }

    #[test]
    fn what_embeds_an_interpreter_is_no_answer_and_what_was_compiled_is() {
        let (because, _) = reason(vec![libc(), python(), own("main")], false, "/usr/bin/uwsgi");
        assert_eq!(because, InterpretedPython);
        let node = |text| frame(text, Kind::Interpreter(InterpretedNode), true, false);
        let (because, _) = reason(vec![libc(), node("JS:~connect node:net:1:1")], false, "/usr/bin/node");
        assert_eq!(because, LibraryThread);
        let told = frame(
            "py::create_connection:/usr/lib/python3.12/socket.py",
            Kind::Interpreter(InterpretedPython),
            true,
            false,
        );
        let (because, _) = reason(vec![libc(), told], true, "/usr/bin/python3.12");
        assert_eq!(because, InterpretedPython);
        let frames = vec![
            libc(),
            node("JS:~connect node:net:1:1"),
            node("Builtins_InterpreterEntryTrampoline (node)"),
        ];
        let (because, _) = reason(frames, false, "/usr/bin/node");
        assert_eq!(because, InterpretedNode);
        let script = frame("Shop.refund (shop.py:7)", Kind::Library("shop".to_owned()), true, false);
        let (because, of) = reason(vec![libc(), script, own("uwsgi_main")], false, "/usr/bin/uwsgi");
        assert_eq!((because, of.as_deref()), (LibraryThread, Some("shop")));
        let compiled = frame("Leak.refund", Kind::Own, true, false);
        let java = frame("Interpreter", Kind::Interpreter(InterpretedJava), true, false);
        let stack = stack(vec![libc(), java, compiled], walked(true), None);
        assert_eq!(stack.site.as_deref(), Some("Leak.refund"));
    }

    #[test]
    fn what_was_made_at_run_time_is_nobodys_line_where_somebody_wrote_one() {
        let line = |text: &str, is_made| Frame {
            told_by: Some(ScriptLanguage::Python),
            is_made,
            ..frame(text, Kind::Own, true, false)
        };
        let library = || frame("__post_init__ (wire.py:9)", Kind::Library("wire".to_owned()), true, false);
        let made = || line("__init__ (<string>:5)", true);
        let site = |outer: Vec<Frame>| {
            let inner = [libc(), python(), library(), made()];
            stack(inner.into_iter().chain(outer).collect(), walked(false), None).site
        };
        assert_eq!(site(vec![line("refund (app.py:7)", false)]).as_deref(), Some("refund (app.py:7)"));
        let alone = site(vec![line("<module> (<string>:1)", true)]);
        assert_eq!(alone.as_deref(), Some("__init__ (<string>:5)"), "python -c");
    }

    #[test]
    fn an_extension_between_lines_is_the_application_s_and_what_embeds_them_is_not() {
        let python = |text: &str, kind| Frame {
            told_by: Some(ScriptLanguage::Python),
            ..frame(text, kind, true, false)
        };
        let connect = || python("create_connection (socket.py:836)", Kind::Interpreter(InterpretedPython));
        let line = || python("main (shop.py:9)", Kind::Own);
        let site = |frames| stack(frames, walked(false), None).site;
        let compiled = vec![libc(), connect(), own("shop.open_ledger (shop.so)"), line()];
        assert_eq!(site(compiled).as_deref(), Some("shop.open_ledger (shop.so)"));
        assert_eq!(site(vec![libc(), connect(), line(), own("main")]).as_deref(), Some("main (shop.py:9)"));
        assert_eq!(site(vec![libc(), connect(), own("uwsgi_main")]), None);
    }

    #[test]
    fn lines_of_python_are_whole_whatever_lies_below_them() {
        let line = |text: &str| Frame {
            told_by: Some(ScriptLanguage::Python),
            ..frame(text, Kind::Library("gevent".to_owned()), true, false)
        };
        let short = Extent { is_cut: true, is_whole: false, is_short: true };
        let why = |frames| {
            stack(frames, short, Some(&Binary::unread("/usr/bin/python3.11".into()))).no_site.unwrap()
        };
        let accepted = || {
            vec![libc(), python(), line("StreamServer.do_read (server.py:190)"), line("Hub.run (hub.py:647)")]
        };
        let switch = || frame("greenlet::g_switch", Kind::Library("greenlet".to_owned()), true, true);
        let below: Vec<Frame> = accepted().into_iter().chain([switch()]).collect();
        assert_eq!(why(below), NoSite { because: LibraryThread, of: Some("gevent".to_owned()) });
        assert_eq!(why(accepted()).because, InterpretedPython, "some may be missing");
    }

    #[test]
    fn lines_that_a_machine_told_end_where_a_thread_begins() {
        let machine = |text: &str| frame(text, Kind::Interpreter(InterpretedJava), true, true);
        let java = |text: &str| Frame {
            told_by: Some(ScriptLanguage::Java),
            ..frame(text, Kind::Interpreter(InterpretedJava), true, false)
        };
        let connect = || java("java.net.Socket.connect (Socket.java:633)");
        let run = || java("java.lang.Thread.run (Thread.java:840)");
        let native = || machine("Java_sun_nio_ch_Net_connect0 (libnio.so)");
        let call = || machine("libjvm.so+0x8123");
        let why = |frames| reason(frames, true, "/usr/bin/java").0;
        assert_eq!(why(vec![libc(), native(), connect(), run(), call()]), LibraryThread);
        assert_eq!(why(vec![libc(), native(), connect(), run()]), CutShort, "the copy may end there");
        assert_eq!(why(vec![libc(), native(), connect(), call()]), CutShort, "called from native code");
        let barrier = || frame("0x7f8d6433e5f9", Kind::Runtime, false, false);
        assert_eq!(why(vec![libc(), native(), connect(), barrier(), call()]), InterpretedJava, "in the heap");
        assert_eq!(why(vec![libc(), native()]), InterpretedJava);
        let own = Frame {
            told_by: Some(ScriptLanguage::Java),
            ..frame("Leak.refund (Leak.java:7)", Kind::Own, true, false)
        };
        let stack = stack(vec![libc(), native(), connect(), own, call()], walked(true), None);
        assert_eq!(stack.site.as_deref(), Some("Leak.refund (Leak.java:7)"));
    }

    #[test]
    fn what_runs_closures_may_have_the_caller_in_itself() {
        let whole = Extent { is_cut: false, is_whole: true, is_short: false };
        let runner = |text: &str, kind| Frame { runs_closures: true, ..frame(text, kind, true, true) };
        let tokio = |text: &str| frame(text, Kind::Library("tokio".to_owned()), true, true);
        let thread = || runner("std::sys::backtrace::__rust_begin_short_backtrace", Kind::Runtime);
        let task = || runner("tokio::runtime::task::raw::poll", Kind::Library("tokio".to_owned()));
        let why = |frames: Vec<Frame>| stack(frames, whole, None).no_site.unwrap().because;
        assert_eq!(why(vec![libc(), thread()]), Inlined);
        assert_eq!(why(vec![libc(), tokio("tokio::net::connect"), task(), thread()]), Inlined);
        assert_eq!(why(vec![libc(), library(), thread()]), LibraryThread, "the library's own thread");
        let worker = tokio("tokio::runtime::blocking::pool::Inner::run");
        assert_eq!(why(vec![libc(), library(), worker, thread()]), LibraryThread);
        let sort = || runner("std::__insertion_sort<int*, shop::ByAge>", Kind::Runtime);
        assert_eq!(why(vec![libc(), sort(), own("main")]), Inlined, "and not who called that");
        let stack = stack(vec![libc(), own("shop::ByAge::operator()"), sort(), own("main")], whole, None);
        assert_eq!(stack.site.as_deref(), Some("shop::ByAge::operator()"));
    }

    #[test]
    fn a_library_is_the_caller_where_unwind_information_led_to_the_end() {
        let whole = Extent { is_cut: false, is_whole: true, is_short: false };
        let why = |frames: Vec<Frame>, program: &str| {
            stack(frames, whole, Some(&Binary::unread(program.into()))).no_site.unwrap()
        };
        let of_library = NoSite { because: LibraryThread, of: Some("libcurl.so.4".to_owned()) };
        assert_eq!(why(vec![libc(), library()], "/srv/shop"), of_library);
        assert_eq!(why(vec![libc(), library()], "/usr/bin/python3"), of_library, "a thread of a library");
        assert_eq!(why(vec![libc(), library(), python()], "/usr/bin/python3").because, InterpretedPython);
    }

    #[test]
    fn without_a_line_the_reason_is_told() {
        let curl = Some("libcurl.so.4".to_owned());
        assert_eq!(reason(vec![libc(), library()], true, "/srv/shop"), (Library, curl.clone()));
        let begin = frame("main", Kind::Runtime, true, true);
        assert_eq!(reason(vec![libc(), library(), begin], false, "/srv/shop"), (Library, curl.clone()));
        let goexit = frame("runtime.goexit (asm_amd64.s:1)", Kind::Runtime, true, true);
        assert_eq!(
            reason(vec![libc(), library(), goexit], false, "/srv/shop"),
            (LibraryThread, curl.clone())
        );
        assert_eq!(
            reason(vec![libc(), library()], true, "/usr/bin/python3"),
            (InterpretedPython, curl.clone())
        );
        assert_eq!(reason(vec![libc(), library(), python()], true, "/srv/shop"), (InterpretedPython, curl));
        assert_eq!(reason(vec![libc()], true, "/usr/bin/php8.2"), (InterpretedPhp, None));
        assert_eq!(reason(vec![libc()], true, "/srv/shop"), (CutShort, None));
        assert_eq!(reason(vec![], true, ""), (ProcessEnded, None), "nothing is mapped any more");
        let mut stripped = frame("shop+0x12e8", Kind::Own, false, true);
        assert_eq!(
            reason(vec![libc(), stripped.clone()], true, "/srv/shop"),
            (Stripped, Some("shop+0x12e8".to_owned()))
        );
        // An exported function may be named where the one that it calls is not.
        let exported = frame("retry (libledger.so)", Kind::Own, true, true);
        assert_eq!(reason(vec![libc(), stripped.clone(), exported], true, "/srv/shop").0, Stripped);
        stripped.build_id = Some("0a1b".to_owned());
        let place = Some("shop+0x12e8 (build id 0a1b)".to_owned());
        assert_eq!(reason(vec![libc(), stripped], true, "/srv/shop"), (Stripped, place));
    }
}
