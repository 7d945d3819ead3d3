//! The processes that hold sockets: what there is to name their lines of code by. Bounded; what is left out is counted.

use std::time::{Duration, Instant};

use super::{
    check::{Check, ProgramRow, State, Topic},
    host::shown_by,
};
use crate::{
    host::{process_view::ProcessView, world::World},
    inspect::{
        socket_counts::{SocketCounts, socket_counts},
        tables::Tables,
    },
    kernel::{LoadError, Support},
    model::{coverage::Extent, no_site::NoSiteBecause},
    process::reader::ProcessReader,
    stacks::prospect::{LinesBy, Prospect, Prospects},
};

/// Processes that are looked at, and for how long in all.
const MOST_PROCESSES: usize = 64;
const TIMEOUT: Duration = Duration::from_millis(600);

/// The programs with sockets.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) rows: Vec<ProgramRow>,
    pub(super) checks: Vec<Check>,
    /// Processes that were not looked at.
    pub(super) more: usize,
}

/// Looks at them. `python_frames` says whether the kernel lets those be read.
///
/// # Errors
/// As [`Tables::new`].
pub(super) fn look(world: &World, support: Support, python_frames: State) -> Result<Programs, LoadError> {
    let mut tables = Tables::new(support, None, world)?.without_warnings();
    let SocketCounts { processes, coverage } = socket_counts(&mut tables, world);
    let reader = ProcessReader::new(world);
    let mut prospects = Prospects::new(&world.proc);
    let began = Instant::now();
    let mut looked_at = 0;
    let mut programs = Programs::default();
    for (pid, sockets) in processes.iter().take(MOST_PROCESSES).take_while(|_| began.elapsed() < TIMEOUT) {
        looked_at += 1;
        let Some(number) = pid.visible().filter(|number| *number != std::process::id()) else { continue };
        // It has ended meanwhile.
        let Ok(process) = reader.read(*pid) else { continue };
        let prospect = prospects.of(number);
        programs.add(&process.comm, number, *sockets, &Lines::of(prospect, python_frames));
    }
    programs.more = processes.len().saturating_sub(looked_at);
    programs.rows.sort_by_key(|row| std::cmp::Reverse(row.sockets));
    if coverage.extent() != Extent::Everything {
        let remedy = ProcessView::read(&world.proc).proc.map_or("", shown_by);
        programs.checks.push(Check::missing(
            Topic::Programs,
            "programs",
            "all processes with sockets",
            // It says what helps, too.
            coverage.to_record().to_string(),
            ("some that hold sockets are not in the list below", remedy),
        ));
    }
    Ok(programs)
}

/// What is said of the lines of code of one process.
#[derive(Debug)]
struct Lines {
    state: State,
    /// What names them; or why nothing does.
    by: String,
    remedy: Option<String>,
    id: &'static str,
}

impl Lines {
    fn named(by: impl Into<String>) -> Self {
        Self { state: State::Ok, by: by.into(), remedy: None, id: "lines" }
    }

    fn unnamed(by: impl Into<String>, remedy: &str) -> Self {
        Self { state: State::Missing, by: by.into(), remedy: Some(remedy.to_owned()), id: "lines" }
    }

    fn not_tried(by: String) -> Self {
        Self { state: State::NotTried, by, remedy: None, id: "lines" }
    }

    /// Of an interpreter whose frames the kernel side reads, if it may.
    fn of_frames(by: String, frames: State) -> Self {
        match frames {
            State::Ok => Self::named(by),
            State::Missing => Self::unnamed(
                format!("{by}, whose frames this kernel does not let be read"),
                "see frames of Python, PHP and Ruby above",
            ),
            State::NotTried => Self::not_tried(format!("{by}; whether its frames can be read was not tried")),
        }
    }

    fn of(prospect: Result<Prospect, String>, python_frames: State) -> Self {
        let Prospect { named_by, has_unwind_tables, asks_for_perf_map } = match prospect {
            Ok(prospect) => prospect,
            Err(why) => {
                return Self::not_tried(format!("not looked at: {why}"));
            }
        };
        let lines = match named_by {
            LinesBy::Python(minor) => Self::of_frames(format!("Python 3.{minor}"), python_frames),
            LinesBy::Php(version) => Self::of_frames(format!("PHP {version}"), python_frames),
            LinesBy::Ruby(version) => Self::of_frames(format!("Ruby {version}"), python_frames),
            LinesBy::HotSpot(version) => {
                Self::named(format!("Java {}", version.as_deref().unwrap_or("(HotSpot)")))
            }
            LinesBy::PerfMap => Self::named("perf map"),
            LinesBy::GoTable => Self::named("Go's line table"),
            LinesBy::DebugInformation => Self::named("debug information"),
            LinesBy::DebugFile(path) => Self::named(format!("debug file {}", path.display())),
            LinesBy::Symbols => Self::named("functions by its symbols; no lines"),
            LinesBy::Nothing(_) if asks_for_perf_map => Self::unnamed(
                "was told to write a perf map, and there is none that can be trusted",
                "/tmp/perf-PID.map has to be where the process sees it, and its own",
            ),
            LinesBy::Nothing(because) => {
                let (why, remedy) = because_of(because);
                Self::unnamed(why, remedy)
            }
        };
        if lines.state == State::Ok && !has_unwind_tables {
            let remedy = "build it with -fasynchronous-unwind-tables, or -fno-omit-frame-pointer";
            let by = format!("{}; without unwind tables", lines.by);
            return Self { id: "unwind_tables", ..Self::unnamed(by, remedy) };
        }
        lines
    }
}

/// Why nothing names lines, and what helps.
fn because_of(because: NoSiteBecause) -> (&'static str, &'static str) {
    match because {
        NoSiteBecause::InterpretedPython => {
            ("Python of a version that is not known here", "Python 3.6 to 3.15")
        }
        NoSiteBecause::InterpretedJava => {
            ("Java that does not describe itself", "HotSpot of JDK 11 or later")
        }
        NoSiteBecause::InterpretedNode => {
            ("JavaScript without a perf map", "node --perf-basic-prof --interpreted-frames-native-stack")
        }
        NoSiteBecause::InterpretedRuby => ("Ruby of a version that is not known here", "CRuby 2.7 to 3.4"),
        NoSiteBecause::InterpretedPhp => {
            ("PHP of a build that is not known here", "PHP 7.4 to 8.5 without threads (NTS)")
        }
        NoSiteBecause::InterpretedErlang => ("Erlang without a perf map", "erl +JPperf true"),
        NoSiteBecause::InterpretedDotnet => (".NET without a perf map", "DOTNET_PerfMapEnabled=1"),
        NoSiteBecause::InterpretedPerl => ("Perl", ""),
        NoSiteBecause::InterpretedLua => ("Lua", ""),
        NoSiteBecause::Stripped => (
            "stripped",
            "install its debug symbols below /usr/lib/debug/.build-id, or fetch them with debuginfod-find; else build it \
             with -g, unstripped",
        ),
        NoSiteBecause::NotPermitted => (
            "the files that it has mapped may not be opened",
            "CAP_CHECKPOINT_RESTORE, and CAP_DAC_READ_SEARCH where they are not for all; or run as root",
        ),
        other => (other.meaning(), ""),
    }
}

impl Programs {
    fn add(&mut self, comm: &str, pid: u32, sockets: usize, lines: &Lines) {
        let Lines { state, by, remedy, id } = lines;
        let known = self.rows.iter_mut().find(|row| row.comm == comm && row.lines == *by);
        match known {
            Some(row) => {
                row.pids.push(pid);
                row.sockets += sockets;
            }
            None => self.rows.push(ProgramRow {
                comm: comm.to_owned(),
                pids: vec![pid],
                sockets,
                state: *state,
                lines: by.clone(),
            }),
        }
        if *state != State::Missing {
            return;
        }
        let name = format!("lines of {comm}");
        if self.checks.iter().all(|check| check.name != name || check.detail.as_deref() != Some(by)) {
            let lost = match *id {
                "unwind_tables" => {
                    "callers are found only if it keeps frame pointers, which its files do not tell"
                }
                _ => "the line of code that opened a socket is not named",
            };
            let remedy = remedy.as_deref().unwrap_or_default();
            self.checks.push(Check::missing(Topic::Programs, id, &name, by.as_str(), (lost, remedy)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(named_by: LinesBy, python_frames: State) -> Lines {
        let prospect = Prospect { named_by, has_unwind_tables: true, asks_for_perf_map: false };
        Lines::of(Ok(prospect), python_frames)
    }

    #[test]
    fn lines_of_python_php_and_ruby_take_a_kernel_that_lets_them_be_read() {
        assert_eq!(lines(LinesBy::Python(11), State::Ok).state, State::Ok);
        assert_eq!(lines(LinesBy::Python(11), State::Missing).state, State::Missing);
        assert_eq!(lines(LinesBy::Python(11), State::NotTried).state, State::NotTried);
        let php = lines(LinesBy::Php("8.2"), State::Ok);
        assert_eq!((php.state, php.by.as_str()), (State::Ok, "PHP 8.2"));
        assert_eq!(lines(LinesBy::Php("8.2"), State::Missing).state, State::Missing);
        assert_eq!(lines(LinesBy::Ruby("3.1"), State::Ok).by, "Ruby 3.1");
    }

    #[test]
    fn of_what_could_not_be_looked_at_nothing_is_claimed() {
        let lines = Lines::of(Err("no answer within 300ms".to_owned()), State::Ok);
        assert_eq!(
            (lines.state, lines.by.as_str()),
            (State::NotTried, "not looked at: no answer within 300ms")
        );
    }

    #[test]
    fn without_unwind_tables_a_name_alone_finds_no_caller() {
        let named_by = LinesBy::Symbols;
        let prospect = Prospect { named_by, has_unwind_tables: false, asks_for_perf_map: false };
        let lines = Lines::of(Ok(prospect), State::Ok);
        assert_eq!((lines.state, lines.id), (State::Missing, "unwind_tables"));
    }

    #[test]
    fn workers_of_one_program_are_one_row_and_one_check() {
        let mut programs = Programs::default();
        for pid in 1..=3 {
            let lines = lines(LinesBy::Nothing(NoSiteBecause::InterpretedNode), State::Ok);
            programs.add("node", pid, 10, &lines);
        }
        let [row] = &programs.rows[..] else { unreachable!("{:?}", programs.rows) };
        assert_eq!((row.pids.len(), row.sockets, programs.checks.len()), (3, 30, 1));
    }
}
