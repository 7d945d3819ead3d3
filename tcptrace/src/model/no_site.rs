//! Why a call has no line of the application's own, with what can be done about it. Decides nothing: `stacks` rates
//! frames, `inspect` knows what was watched.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{escape::Escaped, numbered::numbered};

numbered! {
    /// Why there is no line.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum NoSiteBecause {
        /// The socket was opened before anybody watched.
        BeforeStart = 1,
        /// Nobody saw who opened it: it was there before, or too many came at once.
        Unseen = 2,
        /// The command looks once, at sockets that were opened before.
        LooksOnce = 3,
        /// Nobody watched who opens sockets.
        NotWatched = 4,
        /// Nobody has accepted the connection.
        NotAccepted = 5,
        /// A request of io_uring is no system call, and has no stack.
        IoUring = 6,
        /// More sockets were opened at once than are followed.
        OverBudget = 7,
        /// Linux does not trace accept() of 32-bit programs.
        Accept32Bit = 8,
        /// accept() cannot be watched here.
        AcceptUnseen = 9,
        /// The caller is outside of the pid namespace of /proc.
        NotVisible = 10,
        /// The caller has ended before its stack was named.
        ProcessEnded = 11,
        /// The stack was not copied: it could not be read, there was no room, or the process opened too many at once.
        StackNotKept = 12,
        /// The files with the names could not be read in time.
        NotNamed = 13,
        /// The stack ends early, before any code of the application.
        CutShort = 14,
        /// The application's code has no symbols.
        Stripped = 15,
        /// A library made the call, and the stack ends there.
        Library = 16,
        /// The whole stack is a library's, but for who runs its loop: a thread or a task of its own made the call.
        LibraryThread = 17,
        InterpretedPython = 18,
        InterpretedJava = 19,
        InterpretedNode = 20,
        InterpretedRuby = 21,
        InterpretedPhp = 22,
        InterpretedErlang = 23,
        InterpretedDotnet = 24,
        InterpretedPerl = 25,
        InterpretedLua = 26,
        /// Another interpreter, or an emulator, runs the application's code.
        Interpreted = 27,
        /// What made the call is inlined in a function of a library that runs what others hand it.
        Inlined = 28,
        /// The files with the names may not be opened.
        NotPermitted = 29,
    }
}

impl NoSiteBecause {
    /// Whether it is worth a word to people: not what the verdict or the command says already.
    #[must_use]
    pub(crate) fn is_news(self) -> bool {
        !matches!(self, Self::LooksOnce | Self::NotWatched | Self::NotAccepted)
    }

    /// Whether it is told by the frames that were found: a stack of which more is known may have another.
    #[must_use]
    pub(crate) fn is_of_frames(self) -> bool {
        match self {
            Self::CutShort
            | Self::Library
            | Self::InterpretedPython
            | Self::InterpretedJava
            | Self::InterpretedNode
            | Self::InterpretedRuby
            | Self::InterpretedPhp
            | Self::InterpretedErlang
            | Self::InterpretedDotnet
            | Self::InterpretedPerl
            | Self::InterpretedLua
            | Self::Interpreted => true,
            Self::BeforeStart
            | Self::Unseen
            | Self::LooksOnce
            | Self::NotWatched
            | Self::NotAccepted
            | Self::IoUring
            | Self::OverBudget
            | Self::Accept32Bit
            | Self::AcceptUnseen
            | Self::NotVisible
            | Self::ProcessEnded
            | Self::StackNotKept
            | Self::NotNamed
            | Self::Stripped
            | Self::LibraryThread
            | Self::Inlined
            | Self::NotPermitted => false,
        }
    }

    /// The reason as the end of a sentence, with the remedy where there is one.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::BeforeStart => "opened before tcptrace watched",
            Self::Unseen => {
                "opener not known: opened before tcptrace watched, or while more sockets were opened than are followed, or \
                 shut down by both sides soon"
            }
            Self::LooksOnce => {
                "opened before anybody looked: `tcptrace leaks` sees the line of code of those to come"
            }
            Self::NotWatched => {
                "who opens sockets was not watched: `tcptrace leaks` without --no-stacks does"
            }
            Self::NotAccepted => "not accepted by anybody",
            Self::IoUring => "opened by io_uring, whose requests have no stack",
            Self::OverBudget => "more sockets were opened at once than are followed",
            Self::Accept32Bit => "opener not seen: Linux does not trace accept() of 32-bit programs",
            Self::AcceptUnseen => "accept() cannot be watched here: `tcptrace doctor` says why",
            Self::NotVisible => {
                "the process is not visible from here: run tcptrace in the host's pid namespace"
            }
            Self::ProcessEnded => {
                "the process ended, or executed another program, before its stack was named"
            }
            Self::StackNotKept => "its stack was not copied: too many at once, or it could not be read",
            Self::NotNamed => "the files of the program could not be read in time",
            Self::CutShort => {
                "the stack is cut short: it is deeper than --stack-bytes, or has no unwind information: build with -fno-omit-frame-pointer"
            }
            Self::Stripped => "the program is stripped: its symbols are gone",
            Self::Library => {
                "the stack that was found has no code of the application; it may lack unwind information"
            }
            Self::LibraryThread => "no code of the application on that stack asked for it",
            Self::InterpretedPython => {
                "no line of Python was found: those of CPython 3.6 to 3.15 are, once the process has run for some milliseconds under tcptrace"
            }
            Self::InterpretedJava => {
                "Java's callers are not known: they are in its heap (a virtual thread that has waited), or this VM is not HotSpot of JDK 11 or later"
            }
            Self::InterpretedNode => {
                "JavaScript has no names here: `node --perf-basic-prof --interpreted-frames-native-stack` gives them"
            }
            Self::InterpretedRuby => {
                "no line of Ruby was found: those of CRuby 2.7 to 3.4 are, once the process has run for some milliseconds under tcptrace"
            }
            Self::InterpretedPhp => {
                "no line of PHP was found: those of PHP 7.4 to 8.5 without threads (NTS) are, once the process has run for some milliseconds under tcptrace"
            }
            Self::InterpretedErlang => "Erlang's functions have no names here: `erl +JPperf true` gives them",
            Self::InterpretedDotnet => {
                ".NET's methods have no names here: DOTNET_PerfMapEnabled=1 gives them"
            }
            Self::InterpretedPerl => "Perl's subroutines have no names here",
            Self::InterpretedLua => "Lua's functions have no names here",
            Self::Interpreted => "an interpreter, or an emulator, runs its code, which has no names here",
            Self::Inlined => {
                "its code is inlined in a library's, which only line tables tell apart: build with them (`debug = \"line-tables-only\"` in Cargo.toml, or -g1)"
            }
            Self::NotPermitted => {
                "tcptrace may not open the files with its names: give it CAP_CHECKPOINT_RESTORE, and CAP_DAC_READ_SEARCH where they are not for all, or run it as root"
            }
        }
    }
}

/// Why a call has no line of the application's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NoSite {
    pub because: NoSiteBecause,
    /// What is known instead: the library that made the call, or where in a stripped program it was.
    pub of: Option<String>,
}

impl NoSite {
    /// What begins the sentence where nothing is known instead of the line.
    pub(crate) const NOT_KNOWN: &'static str = "line not known: ";

    /// What stands where "opened at …" would. `verb` is what was done to the socket: "opened".
    #[must_use]
    pub fn in_words(&self, verb: &str) -> String {
        let meaning = self.because.meaning();
        match (self.because, &self.of) {
            (NoSiteBecause::Library, Some(library)) => {
                format!("{verb} by {}, whose caller is not known: {meaning}", Escaped(library))
            }
            (NoSiteBecause::LibraryThread, Some(library)) => {
                format!("{verb} by {} itself: {meaning}", Escaped(library))
            }
            (NoSiteBecause::Stripped, Some(place)) => {
                format!("{}{meaning}; {verb} at {}", Self::NOT_KNOWN, Escaped(place))
            }
            (_, Some(library)) => format!("{}{meaning}; {verb} by {}", Self::NOT_KNOWN, Escaped(library)),
            (NoSiteBecause::LooksOnce, None) if verb == "opened" => meaning.to_owned(),
            (_, None) => format!("{}{meaning}", Self::NOT_KNOWN),
        }
    }
}

impl From<NoSiteBecause> for NoSite {
    fn from(because: NoSiteBecause) -> Self {
        Self { because, of: None }
    }
}

impl fmt::Display for NoSite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.in_words("opened"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_instead_stands_in_the_sentence() {
        let words = |because, of: Option<&str>| NoSite { because, of: of.map(str::to_owned) }.to_string();
        assert_eq!(
            words(NoSiteBecause::Library, Some("libcurl.so.4")),
            "opened by libcurl.so.4, whose caller is not known: the stack that was found has no code of the application; it may lack unwind information"
        );
        let stripped = words(NoSiteBecause::Stripped, Some("shop+0x12e8"));
        assert!(stripped.ends_with("; opened at shop+0x12e8"), "{stripped}");
        let hostile = words(NoSiteBecause::InterpretedPython, Some("lib\x1b[2J.so"));
        assert!(!hostile.contains('\x1b'), "{hostile}");
    }

    #[test]
    fn every_reason_has_a_sentence_of_its_own() {
        let meanings: std::collections::BTreeSet<_> = NoSiteBecause::ALL.map(NoSiteBecause::meaning).into();
        assert_eq!(meanings.len(), NoSiteBecause::ALL.len());
        for meaning in meanings {
            assert!(!meaning.ends_with('.') && !meaning.is_empty(), "{meaning}");
        }
    }
}
