//! Where records go, and in which form. Sinks decide nothing: what they are given, they write.

mod escape;
mod file;
mod text;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anstyle::Style;
use thiserror::Error;

pub(crate) use self::text::columns;
use self::text::snapshot::Extent;
pub use self::{escape::Harmless, file::OpenError};
use crate::record::{Record, Snapshot};

/// The form of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Jsonl,
}

/// Where records are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// A record could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Whoever read standard output has stopped: nothing is wrong, and nothing is left to do.
    #[error("the reader of standard output has gone")]
    ReaderGone,
    /// The output is incomplete.
    #[error("cannot write to {destination}: {source}; the output is incomplete")]
    Failed {
        /// What was written to.
        destination: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Room for some hundred records between writes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes records in one form to one place.
pub struct Sink {
    writer: BufWriter<Box<dyn Write + Send>>,
    format: Format,
    destination: String,
    is_stdout: bool,
    palette: Palette,
}

/// How the text form is coloured; plain unless it goes to a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Palette {
    /// What has to be seen: a leak.
    pub alert: Style,
    /// What is over: the end of a leak.
    pub calm: Style,
    /// Names of processes.
    pub name: Style,
    /// What can be skipped.
    pub faint: Style,
}

impl Palette {
    /// Colours for a terminal; `None` for anything else, and wherever NO_COLOR is set.
    pub fn for_stdout() -> Self {
        use anstyle::AnsiColor::{Cyan, Green, Red};
        if anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never {
            return Self::default();
        }
        Self {
            alert: Red.on_default().bold(),
            calm: Green.on_default(),
            name: Cyan.on_default().bold(),
            faint: Style::new().dimmed(),
        }
    }
}

impl Sink {
    /// Opens the destination.
    ///
    /// # Errors
    /// When a file cannot be created, or it would not be safe to write to it as root.
    pub fn open(destination: &Destination, format: Format) -> Result<Self, OpenError> {
        let (writer, name, is_stdout, palette): (Box<dyn Write + Send>, _, _, _) = match destination {
            Destination::Stdout => {
                (Box::new(io::stdout()), "standard output".to_owned(), true, Palette::for_stdout())
            }
            Destination::File(path) => {
                (Box::new(file::create(path)?), path.display().to_string(), false, Palette::default())
            }
        };
        let writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
        Ok(Self { writer, format, destination: name, is_stdout, palette })
    }

    /// Writes one record; it may stay in the buffer until [`Sink::flush`].
    ///
    /// # Errors
    /// When the buffer had to be written and could not be.
    pub fn write(&mut self, record: &Record) -> Result<(), WriteError> {
        let written = match self.format {
            Format::Text => text::write(&mut self.writer, record, &self.palette),
            Format::Jsonl => serde_json::to_writer(&mut self.writer, record)
                .map_err(io::Error::from)
                .and_then(|()| self.writer.write_all(b"\n")),
        };
        written.map_err(|source| self.failed(source))
    }

    /// Writes one look at the host; as text, about `rows` sockets and as many groups at most.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    pub fn write_snapshot(&mut self, snapshot: Snapshot, rows: usize) -> Result<(), WriteError> {
        match self.format {
            Format::Text => {
                let extent = Extent { rows, width: self.width() };
                text::snapshot::write(&mut self.writer, &snapshot, extent, &self.palette)
                    .map_err(|source| self.failed(source))
            }
            Format::Jsonl => {
                let Snapshot { groups, scope: _, summary } = snapshot;
                for leak in groups.into_iter().flat_map(|group| group.leaks) {
                    self.write(&Record::Leak(Box::new(leak)))?;
                }
                self.write(&Record::Summary(Box::new(summary)))
            }
        }
    }

    /// Characters that a line of the terminal takes; `None` when there is no terminal.
    fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.is_stdout)?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }

    /// Writes out what the buffer holds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.writer.flush().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> WriteError {
        if self.is_stdout && source.kind() == io::ErrorKind::BrokenPipe {
            return WriteError::ReaderGone;
        }
        WriteError::Failed { destination: self.destination.clone(), source }
    }
}
