//! How a command ended, and its exit code.

use std::{
    ffi::OsStr,
    io::{self, Write as _, stderr, stdout},
    path::PathBuf,
};

use thiserror::Error;

use crate::{
    forms::reading::{error::ReadError, losses::Losses},
    host::{
        file_access::FileAccessError,
        open_files,
        privilege::NotPrivileged,
        rights::{RightsError, RightsLeft},
        system_calls::FilterError,
    },
    inspect::thread::InspectorGone,
    kernel::LoadError,
    model::{
        clearing::Unsupported,
        coverage::Extent,
        escape::{EscapedLines, is_harmful},
        units::plural,
    },
    netlink as sock_diag,
    output::{
        error::{OpenError, StartError, WriteError},
        replace::ReplaceError,
        standard_output,
        terminal::displayable_on,
    },
    report::perfetto::TraceError,
};

/// How a command ended that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// It did what it was asked to do.
    Done,
    /// It found what `--exit-code` asks about.
    Found,
    /// It could not end every socket that it was to end.
    Refused,
    /// It did what it was asked to do, as far as it could look: a part of the host was out of its reach.
    Incomplete,
    /// It could look at nothing.
    Blind,
}

impl Conclusion {
    /// Found, if something was found and the exit code is to say so: that holds whatever else there may be. What was not
    /// found is no answer where nobody looked.
    pub(crate) fn of_search(is_found: bool, exit_code: bool, looked_at: Extent) -> Self {
        match looked_at {
            _ if is_found && exit_code => Self::Found,
            Extent::Everything => Self::Done,
            Extent::Part => Self::Incomplete,
            Extent::Nothing => Self::Blind,
        }
    }
}

/// A command could not run, or not to its end.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// What was typed makes no sense.
    #[error(transparent)]
    CommandLine(clap::Error),
    /// What was asked for makes no sense for these recordings.
    #[error("{0}")]
    InvalidRequest(String),
    /// This process may not do what is needed.
    #[error(transparent)]
    NotPrivileged(#[from] NotPrivileged),
    /// What is not needed could not be given up, and that was insisted on.
    #[error("{0}; --sandbox on goes on with it")]
    Rights(#[from] RightsError),
    /// A thread has more than what is needed.
    #[error(transparent)]
    RightsLeft(#[from] RightsLeft),
    /// System calls could not be given up, and that was insisted on.
    #[error("{0}; --sandbox on goes without")]
    SystemCalls(#[from] FilterError),
    /// Files could not be given up, and that was insisted on.
    #[error("{0}; --sandbox on goes without")]
    Files(#[from] FileAccessError),
    /// The kernel side could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An output file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The system refused something that every command needs.
    #[error("cannot {what}: {source}{}", open_files::remedy(source))]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel does not list sockets.
    #[error(transparent)]
    SockDiag(#[from] sock_diag::Error),
    /// Sockets cannot be ended here.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// It was told to end before it was done.
    #[error("interrupted: {} not touched", plural(*.0, "socket"))]
    Interrupted(u64),
    /// A part of the program ended.
    #[error(transparent)]
    InspectorGone(#[from] InspectorGone),
    /// A recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A recording does not begin as a session does.
    #[error(
        "{path} does not begin with the header of a session, so it cannot be replayed as one: put its first line back, or sum up what is there with `tcptrace report`",
        path = path.display()
    )]
    NoHeader {
        /// The recording.
        path: PathBuf,
    },
    /// What is read is to be written over.
    #[error("{path} is what is replayed: name another output", path = path.display())]
    OwnInput {
        /// The recording.
        path: PathBuf,
    },
    /// A recording was replayed, but it is not all of its session.
    #[error("{path} is not the whole session: {losses}", path = path.display())]
    Missing {
        /// The recording.
        path: PathBuf,
        /// What is missing.
        losses: Box<Losses>,
    },
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Thread(source) => Self::System { what: "start a thread", source },
            StartError::Write(error) => error.into(),
        }
    }
}

impl From<ReplaceError> for CommandError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Open(error) => error.into(),
            ReplaceError::Write(error) => error.into(),
        }
    }
}

impl From<TraceError> for CommandError {
    fn from(error: TraceError) -> Self {
        match error {
            TraceError::Read(error) => error.into(),
            TraceError::Write(error) => error.into(),
        }
    }
}

impl CommandError {
    /// Tells the operator, once. A reader that has gone (`tcptrace trace | head`) has got what it wanted.
    pub(crate) fn report(&self) {
        match self {
            Self::CommandLine(error) => {
                let text = format!("tcptrace: {}", said(error));
                // What cannot be written there cannot be reported anywhere.
                let _ = anstream::stderr().write_all(&displayable_on(&stderr(), text.as_bytes()));
            }
            Self::Write(WriteError::ReaderGone) => {}
            error => log::error!("{error}"),
        }
    }
}

fn is_harmless(typed: &OsStr) -> bool {
    !typed.to_string_lossy().contains(is_harmful)
}

/// How a command line ends that runs no command: help and the version go to standard output, with which all is done.
///
/// # Errors
/// When it makes no sense, or standard output takes nothing.
pub(crate) fn not_run(error: clap::Error) -> Result<Conclusion, CommandError> {
    if error.use_stderr() {
        return Err(CommandError::CommandLine(error));
    }
    standard_output::require()?;
    let text = said(&error);
    let mut out = anstream::stdout();
    out.write_all(&displayable_on(&stdout(), text.as_bytes())).and_then(|()| out.flush()).map_err(
        |error| match error.kind() {
            io::ErrorKind::BrokenPipe => WriteError::ReaderGone,
            _ => WriteError::Failed { name: "standard output".to_owned(), reason: error.to_string() },
        },
    )?;
    Ok(Conclusion::Done)
}

/// What clap has to say, as lines, in colours; without them where it may repeat what would set some.
fn said(error: &clap::Error) -> String {
    let mut text = in_colours(error, std::env::args_os().all(|typed| is_harmless(&typed)));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn in_colours(error: &clap::Error, is_harmless: bool) -> String {
    let text = error.render();
    if is_harmless { text.ansi().to_string() } else { EscapedLines(&text.to_string()).to_string() }
}

/// The exit code that stands for the end of a command: a promise (docs/commands.md).
#[must_use]
pub(crate) fn exit_code(ended: &Result<Conclusion, CommandError>) -> u8 {
    use CommandError as E;
    match ended {
        Ok(Conclusion::Done) => 0,
        Ok(Conclusion::Found) => 1,
        Ok(Conclusion::Refused | Conclusion::Blind) => 3,
        Ok(Conclusion::Incomplete) => 4,
        Err(error) => match error {
            E::Write(WriteError::ReaderGone) => 0,
            E::CommandLine(_)
            | E::InvalidRequest(_)
            | E::Open(_)
            | E::Read(_)
            | E::NoHeader { .. }
            | E::OwnInput { .. } => 2,
            E::Rights(_)
            | E::RightsLeft(_)
            | E::SystemCalls(_)
            | E::Files(_)
            | E::NotPrivileged(_)
            | E::Load(_)
            | E::Unsupported(_)
            | E::System { .. }
            | E::SockDiag(_) => 3,
            E::Write(_) | E::InspectorGone(_) | E::Interrupted(_) | E::Missing { .. } => 4,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_sets_no_colours_in_what_is_said_of_it() {
        let typed = "--no\u{1b}[31m\u{9b}2J";
        let error = crate::commands::help::command().try_get_matches_from(["tcptrace", "now", typed]);
        let text =
            error.err().map(|error| in_colours(&error, is_harmless(OsStr::new(typed)))).unwrap_or_default();
        assert!(text.starts_with("error: ") && text.contains("\n\nUsage: "), "{text:?}");
        assert!(!text.contains(|character| character != '\n' && is_harmful(character)), "{text:?}");
        assert!(is_harmless(OsStr::new("--no")));
    }

    #[test]
    fn what_was_not_looked_at_is_never_well_and_a_leak_is_one_whatever_else_there_is() {
        let code = |is_found, asked, extent| exit_code(&Ok(Conclusion::of_search(is_found, asked, extent)));
        assert_eq!([false, true].map(|asked| code(false, asked, Extent::Everything)), [0, 0]);
        assert_eq!([false, true].map(|asked| code(true, asked, Extent::Everything)), [0, 1]);
        assert_eq!([false, true].map(|asked| code(false, asked, Extent::Part)), [4, 4]);
        assert_eq!([false, true].map(|asked| code(true, asked, Extent::Part)), [4, 1]);
        assert_eq!([false, true].map(|asked| code(false, asked, Extent::Nothing)), [3, 3]);
    }
}
