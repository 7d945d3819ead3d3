//! Outputs that are written at once, by the thread that has something to say: for sessions that go on only
//! with what is written, and for those that say little. Nothing is dropped; an error ends the session.

use std::io::{self, IsTerminal as _};

use super::{WriteError, options::Output, target::Target, terminal_size};
use crate::forms::{
    encoder::Encoder,
    format::Format,
    palette::Palette,
    text::{self, snapshot::Extent},
};
use crate::model::record::{
    Header, Record, Totals,
    cleared::{ClearEnd, ClearPlan},
    time_wait::TimeWaitLook,
};

/// Room that a chunk is given from its beginning, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// All outputs of a session.
pub struct Direct {
    outputs: Vec<Written>,
}

struct Written {
    format: Format,
    encoder: Encoder,
    target: Target,
    /// Records in the output.
    records: u64,
}

impl Direct {
    /// Writes the header to outputs that are open.
    pub(super) fn begin(opened: Vec<(Output, Target)>, header: &Header) -> Result<Self, WriteError> {
        let begin = |(Output { format, .. }, mut target): (Output, Target)| {
            let palette = if target.is_stdout() { Palette::for_stdout() } else { Palette::default() };
            let mut encoder = Encoder::new(format, palette, CHUNK_BYTES);
            // A person who sees the records come knows what they typed.
            let preamble = match format {
                Format::Text if !target.is_file() => Vec::new(),
                _ => encoder.preamble(header),
            };
            let begun = target.begin(preamble);
            let written = Written { format, encoder, target, records: 0 };
            begun.map_err(|error| written.failed(&error))?;
            Ok(written)
        };
        Ok(Self { outputs: opened.into_iter().map(begin).collect::<Result<_, _>>()? })
    }

    /// Writes one record, which waits in memory until [`Direct::flush`].
    pub fn write(&mut self, record: &Record) {
        for Written { encoder, .. } in &mut self.outputs {
            encoder.push(record, &Totals::default());
        }
    }

    /// Writes one look at TIME_WAIT, all that text says of the session if `is_all`; as text, about `rows` destinations of each namespace at most. As a page it
    /// takes the place of what is on the terminal.
    pub fn write_time_wait(&mut self, look: &TimeWaitLook, rows: usize, is_all: bool, is_page: bool) {
        self.write_text(rows, is_all, |out, extent, height, palette| {
            text::time_wait::write(out, look, extent, height.filter(|_| is_page), palette)
        });
        for (summary, destinations) in &look.namespaces {
            for destination in destinations {
                self.write(&Record::TimeWait(Box::new(destination.clone())));
            }
            self.write(&Record::TimeWaitSummary(Box::new(summary.clone())));
        }
    }

    /// Writes what is to be ended, and that nothing was; as text, about `rows` sockets at most.
    pub fn write_plan(&mut self, plan: ClearPlan, end: ClearEnd, rows: usize) {
        let end = Record::ClearEnd(Box::new(end));
        self.write_text(rows, true, |out, extent, _, palette| {
            text::cleared::write_plan(out, &plan, extent, palette)?;
            text::write(out, &end, palette)
        });
        for planned in plan.planned {
            self.write(&Record::Cleared(Box::new(planned)));
        }
        self.write(&end);
    }

    /// Whether standard output is one of them and a terminal, where a look can take the place of the one before.
    pub fn is_page(&self) -> bool {
        self.outputs.iter().any(|output| output.format == Format::Text && output.size().is_some())
    }

    fn write_text(
        &mut self,
        rows: usize,
        is_all: bool,
        write: impl Fn(&mut Vec<u8>, Extent, Option<usize>, &Palette) -> io::Result<()>,
    ) {
        for output in &mut self.outputs {
            let size = output.size();
            let extent = Extent { rows, width: size.map(|(width, _)| width) };
            let height = size.map(|(_, height)| height);
            output.encoder.push_text(is_all, |out, palette| write(out, extent, height, palette));
        }
    }

    /// Writes out what waits.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.outputs.iter_mut().try_for_each(Written::flush)
    }

    /// Writes out what waits, and completes the files.
    ///
    /// # Errors
    /// When that fails.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.flush()?;
        for output in &mut self.outputs {
            let finished = output.target.finish();
            finished.map_err(|error| output.failed(&error))?;
        }
        Ok(())
    }
}

impl Written {
    fn flush(&mut self) -> Result<(), WriteError> {
        let chunk = self.encoder.take(&Totals::default());
        if chunk.records == 0 {
            return Ok(());
        }
        let written = self.target.write(&chunk);
        written.map_err(|error| self.failed(&error))?;
        self.records += chunk.records;
        Ok(())
    }

    /// Width and height of the terminal that it goes to, in characters.
    fn size(&self) -> Option<(usize, usize)> {
        if self.target.is_stdout() && io::stdout().is_terminal() { terminal_size(io::stdout()) } else { None }
    }

    fn failed(&self, error: &io::Error) -> WriteError {
        if self.target.is_stdout() && error.kind() == io::ErrorKind::BrokenPipe {
            return WriteError::ReaderGone;
        }
        let reason = format!("{error}; it has {}", crate::model::units::plural(self.records, "record"));
        WriteError::Failed { name: self.target.name().to_owned(), reason }
    }
}
