//! The recordings as a trace that ui.perfetto.dev and chrome://tracing open: a track a socket, a slice a state, under the
//! process that holds it where that was found out.
//!
//! Written as it is read, in two passes: who holds a socket is told after most of its states, and a track cannot change
//! its process. Only open sockets are kept, and who holds those that were stuck; both are bounded.

pub(crate) mod events;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
    path::PathBuf,
};

use self::events::{Args, Events, Track};
use super::{
    aggregate::Wanted,
    cast::{Cast, Kind},
    episode::SocketId,
    input::Input,
    unix_ns,
};
use crate::model::{
    escape::Harmless,
    record::{Leak, LeakEnd, Record, Timed},
    socket::Socket,
    state::State,
    transition::Transition,
    units::Socketed,
    verdict::Verdict,
};
use crate::{commands::report::run::ReportError, output::replace::Destination};

/// Above all process ids that the kernel gives (`PID_MAX_LIMIT` is 4,194,304): each host has a range of its own.
const PIDS_OF_HOST: u64 = 10_000_000;

/// Writes the trace.
///
/// # Errors
/// When a recording cannot be read, or the trace cannot be written.
pub(crate) fn write(
    files: &[PathBuf],
    wanted: &Wanted,
    destination: &Destination,
) -> Result<(), ReportError> {
    if files.iter().any(|file| file.as_os_str() == "-") {
        return Err(ReportError::Asked(
            "standard input can be read only once, and a trace takes two looks: write it to a file first"
                .to_owned(),
        ));
    }
    let holders = Holders::read(&mut Input::open(files, false)?, wanted);
    let mut input = Input::open(files, false)?;
    let skipped = &mut 0;
    destination.write(|out| {
        let mut drawing = Drawing::begin(out, &holders, wanted)?;
        while let Some((file, record)) = input.next() {
            drawing.take(file, &record)?;
        }
        *skipped = drawing.skipped;
        drawing.finish()
    })?;
    if *skipped > 0 {
        log::warn!(
            "{} open at the same time as {} others and left out; a larger --max-sockets helps",
            crate::model::units::plural(*skipped, "socket"),
            wanted.max_sockets
        );
    }
    for (name, state) in input.names().zip(input.states()) {
        if let Some(error) = state.error {
            log::warn!("{name} could not be read to its end: {error}");
        }
    }
    Ok(())
}

/// Which session a file's records belong to, while it is read.
#[derive(Default)]
struct Sessions {
    cast: Cast,
    of_file: HashMap<usize, u32>,
}

impl Sessions {
    /// The index of the session and of the host of a record.
    fn of(&mut self, file: usize, record: &Record) -> (u32, u32) {
        let at_ns = unix_ns(record.time());
        if let Record::Header(header) = record {
            let session = self.cast.session(header);
            self.of_file.insert(file, session);
        }
        let session = match self.of_file.get(&file) {
            Some(session) => *session,
            None => {
                let session = self.cast.headless_session(at_ns);
                self.of_file.insert(file, session);
                session
            }
        };
        let known = self.cast.sessions.get_mut(session as usize);
        let host = known.map_or(0, |known| {
            known.reach(at_ns);
            known.host
        });
        (session, host)
    }
}

/// Who holds the sockets that were stuck, and when the recordings begin.
struct Holders {
    cast: Cast,
    by_socket: HashMap<SocketId, (Option<u32>, Option<Verdict>)>,
    first_ns: i64,
}

impl Holders {
    fn read(input: &mut Input, wanted: &Wanted) -> Self {
        let mut sessions = Sessions::default();
        let mut by_socket = HashMap::new();
        let mut first_ns = i64::MAX;
        while let Some((file, record)) = input.next() {
            let (_, host) = sessions.of(file, &record);
            // What was there when a recording began is drawn from its beginning.
            first_ns = first_ns.min(unix_ns(record.time()));
            if let Record::Leak(leak) = &record
                && by_socket.len() < wanted.max_sockets
            {
                let process =
                    leak.owners.first().and_then(|owner| sessions.cast.process(host, &owner.process));
                by_socket.insert(SocketId::of(host, &leak.socket), (process, leak.verdict));
            }
        }
        Self { cast: sessions.cast, by_socket, first_ns: first_ns.max(wanted.window.from_ns) }
    }
}

/// A socket that is drawn.
struct Drawn {
    track: Track,
    state: State,
    session: u32,
}

/// The trace while it is written.
struct Drawing<'a> {
    events: Events<'a>,
    holders: &'a Holders,
    wanted: &'a Wanted,
    sessions: Sessions,
    open: HashMap<SocketId, Drawn>,
    tracks: u64,
    named: HashSet<u64>,
    skipped: u64,
}

impl<'a> Drawing<'a> {
    fn begin(out: &'a mut dyn Write, holders: &'a Holders, wanted: &'a Wanted) -> io::Result<Self> {
        Ok(Self {
            events: Events::begin(out, holders.first_ns)?,
            holders,
            wanted,
            sessions: Sessions::default(),
            open: HashMap::new(),
            tracks: 0,
            named: HashSet::new(),
            skipped: 0,
        })
    }

    fn take(&mut self, file: usize, record: &Record) -> io::Result<()> {
        let (session, host) = self.sessions.of(file, record);
        let is_wanted = |socket: &Socket| {
            self.wanted.window.contains(unix_ns(record.time())) && self.wanted.admits_socket(socket)
        };
        match record {
            Record::Transition(transition) if is_wanted(&transition.what.socket) => {
                self.transition(session, host, transition)
            }
            Record::Leak(leak) if is_wanted(&leak.socket) => self.leak(session, host, leak),
            Record::LeakEnd(end) if is_wanted(&end.socket) => self.leak_end(session, host, end),
            Record::Transition(_)
            | Record::Leak(_)
            | Record::LeakEnd(_)
            | Record::Header(_)
            | Record::Summary(_)
            | Record::TimeWait(_)
            | Record::TimeWaitSummary(_)
            | Record::Cleared(_)
            | Record::ClearEnd(_)
            | Record::Other(_) => Ok(()),
        }
    }

    fn transition(&mut self, session: u32, host: u32, transition: &Timed<Transition>) -> io::Result<()> {
        let what = &transition.what;
        let at_ns = unix_ns(transition.time);
        let id = SocketId::of(host, &what.socket);
        if !self.open.contains_key(&id) {
            let since = what.dwell_ns().map(|dwell| at_ns.saturating_sub_unsigned(dwell));
            // CLOSE is where a socket begins: nothing to draw. connect() chooses the port after it has entered SYN_SENT
            // (`tcp_v4_connect`): what comes next tells of it.
            if what.new_state == State::SynSent {
                return Ok(());
            }
            match since.filter(|_| what.old_state != State::Close) {
                Some(since) => {
                    self.begin_track(id.clone(), session, host, &what.socket, what.old_state, since)?
                }
                None if what.new_state != State::Close => {
                    return self.begin_track(id, session, host, &what.socket, what.new_state, at_ns);
                }
                None => return Ok(()),
            }
        }
        let Some(drawn) = self.open.get_mut(&id) else { return Ok(()) };
        self.events.end(&drawn.track, drawn.state.name(), at_ns)?;
        if what.new_state == State::Close {
            let drawn = self.open.remove(&id);
            return drawn.map_or(Ok(()), |drawn| self.events.end(&drawn.track, &drawn.track.name, at_ns));
        }
        drawn.state = what.new_state;
        let verdict = self.holders.by_socket.get(&id).and_then(|(_, verdict)| *verdict);
        let verdict = verdict.filter(|_| what.new_state == State::CloseWait).map(Verdict::name);
        self.events.begin_slice(
            &drawn.track,
            what.new_state.name(),
            at_ns,
            &Args { verdict, ..Args::default() },
        )
    }

    fn leak(&mut self, session: u32, host: u32, leak: &Leak) -> io::Result<()> {
        let Some(age) = leak.age.filter(|_| leak.state == State::CloseWait) else { return Ok(()) };
        let at_ns = unix_ns(leak.time);
        let id = SocketId::of(host, &leak.socket);
        if !self.open.contains_key(&id) {
            let since = at_ns.saturating_sub_unsigned(age.ns);
            self.begin_track(id.clone(), session, host, &leak.socket, State::CloseWait, since)?;
        }
        let Some(drawn) = self.open.get_mut(&id) else { return Ok(()) };
        drawn.session = session;
        let args = Args { verdict: leak.verdict.map(Verdict::name), ..Args::default() };
        self.events.instant(&drawn.track, "reported as stuck", at_ns, &args)
    }

    fn leak_end(&mut self, session: u32, host: u32, end: &LeakEnd) -> io::Result<()> {
        let kind = self.sessions.cast.sessions.get(session as usize).map(|session| session.kind);
        let id = SocketId::of(host, &end.socket);
        let at_ns = unix_ns(end.time);
        // Where transitions are recorded they tell it, and what comes after it.
        if kind == Some(Kind::Trace) {
            return Ok(());
        }
        let Some(drawn) = self.open.remove(&id) else { return Ok(()) };
        self.events.end(&drawn.track, drawn.state.name(), at_ns)?;
        self.events.end(&drawn.track, &drawn.track.name, at_ns)
    }

    /// Draws a socket from a moment on at which it was in this state.
    fn begin_track(
        &mut self,
        id: SocketId,
        session: u32,
        host: u32,
        socket: &Socket,
        state: State,
        since_ns: i64,
    ) -> io::Result<()> {
        if self.open.len() >= self.wanted.max_sockets {
            self.skipped += 1;
            return Ok(());
        }
        let (process, verdict) = self.holders.by_socket.get(&id).copied().unwrap_or_default();
        let pid = self.process(host, process)?;
        self.tracks += 1;
        let name = match state {
            State::Listen => format!("listening on {}", socket.endpoints.local),
            _ => Socketed(socket).to_string(),
        };
        let track = Track { id: self.tracks, pid, name };
        self.events.begin_slice(
            &track,
            &track.name,
            since_ns,
            &Args { cookie: socket.cookie, netns: socket.netns, ..Args::default() },
        )?;
        let verdict = verdict.filter(|_| state == State::CloseWait).map(Verdict::name);
        self.events.begin_slice(&track, state.name(), since_ns, &Args { verdict, ..Args::default() })?;
        self.open.insert(id, Drawn { track, state, session });
        Ok(())
    }

    /// The number that stands for a process, which is named when it appears.
    fn process(&mut self, host: u32, process: Option<u32>) -> io::Result<u64> {
        let known = process.and_then(|index| self.holders.cast.processes.get(index as usize));
        let base = u64::from(host) * PIDS_OF_HOST;
        let (pid, name) = match known {
            Some(process) => {
                let (comm, pid) = (Harmless(&process.identity.comm), process.identity.pid);
                (base + u64::from(pid), format!("{comm} (pid {pid})"))
            }
            None => (base + PIDS_OF_HOST - 1, "holder not known".to_owned()),
        };
        if self.named.insert(pid) {
            let host = self.holders.cast.host_name(host).map(|host| format!(" on {}", Harmless(host)));
            self.events.name_process(pid, &format!("{name}{}", host.unwrap_or_default()))?;
        }
        Ok(pid)
    }

    /// Ends what is still open where its recording ends.
    fn finish(mut self) -> io::Result<()> {
        for (_, drawn) in std::mem::take(&mut self.open) {
            let session = self.sessions.cast.sessions.get(drawn.session as usize);
            let last_ns = session.map_or(0, |session| session.last_ns).min(self.wanted.window.to_ns);
            self.events.end(&drawn.track, drawn.state.name(), last_ns)?;
            self.events.end(&drawn.track, &drawn.track.name, last_ns)?;
        }
        self.events.finish()
    }
}
