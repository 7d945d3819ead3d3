//! Writes the "Trace Event Format" of chrome://tracing as JSON, one event per line. Knows nothing of sockets.

use std::io::{self, Write};

use serde::Serialize;

use crate::{forms::jsonl::escaped, output::replace::MARK, report::time::timestamp};

/// A track of nested slices.
pub(crate) struct Track {
    pub id: u64,
    /// The process that groups it.
    pub pid: u64,
    pub name: String,
}

/// Details shown for a selected slice.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Args<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'a str>,
}

#[derive(Serialize)]
struct TraceEvent<'a, A> {
    /// `b` and `e` begin and end a slice, `n` marks a moment, `M` is metadata.
    ph: &'static str,
    cat: &'static str,
    name: &'a str,
    /// In hexadecimal.
    id: String,
    pid: u64,
    tid: u64,
    /// Microseconds.
    ts: f64,
    args: A,
}

/// Writes the events of a trace.
pub(crate) struct Events<'a> {
    out: &'a mut dyn Write,
    first_ns: i64,
    count: u64,
}

impl<'a> Events<'a> {
    /// Begins a trace. Times count from `first_ns` (since 1970), so that a double holds nanoseconds.
    pub(crate) fn begin(out: &'a mut dyn Write, first_ns: i64) -> io::Result<Self> {
        let began = timestamp(first_ns);
        writeln!(
            out,
            r#"{{"displayTimeUnit":"ns","otherData":{{"writer":"{MARK}","began":"{began}"}},"traceEvents":["#
        )?;
        Ok(Self { out, first_ns, count: 0 })
    }

    /// Begins a slice inside the innermost open slice of the track.
    pub(crate) fn begin_slice(
        &mut self,
        track: &Track,
        name: &str,
        at_ns: i64,
        args: &Args<'_>,
    ) -> io::Result<()> {
        self.write("b", track, name, at_ns, args)
    }

    /// Ends the innermost open slice of the track; `name` must be its name.
    pub(crate) fn end(&mut self, track: &Track, name: &str, at_ns: i64) -> io::Result<()> {
        self.write("e", track, name, at_ns, &Args::default())
    }

    /// Marks a moment on the track.
    pub(crate) fn instant(
        &mut self,
        track: &Track,
        name: &str,
        at_ns: i64,
        args: &Args<'_>,
    ) -> io::Result<()> {
        self.write("n", track, name, at_ns, args)
    }

    /// Names a process.
    pub(crate) fn name_process(&mut self, pid: u64, name: &str) -> io::Result<()> {
        #[derive(Serialize)]
        struct TrackName<'a> {
            name: &'a str,
        }
        let event = TraceEvent {
            ph: "M",
            cat: "__metadata",
            name: "process_name",
            id: String::new(),
            pid,
            tid: pid,
            ts: 0.0,
            args: TrackName { name },
        };
        self.write_event(&event)
    }

    fn write(
        &mut self,
        ph: &'static str,
        track: &Track,
        name: &str,
        at_ns: i64,
        args: &Args<'_>,
    ) -> io::Result<()> {
        // A double holds the nanoseconds of a hundred days.
        let ts = at_ns.saturating_sub(self.first_ns) as f64 / 1e3;
        let id = format!("{:#x}", track.id);
        self.write_event(&TraceEvent { ph, cat: "tcp", name, id, pid: track.pid, tid: track.pid, ts, args })
    }

    fn write_event(&mut self, event: &impl Serialize) -> io::Result<()> {
        if self.count > 0 {
            self.out.write_all(b",\n")?;
        }
        self.count += 1;
        escaped::write(&mut self.out, event)?;
        Ok(())
    }

    /// Ends the trace.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.out.write_all(b"\n]}\n")
    }
}
