//! The recordings as a trace for ui.perfetto.dev and chrome://tracing: one track per socket, one slice per
//! state, grouped by the holding process where it is known.
//!
//! Streams in two passes: a socket's holder is recorded after most of its states, and a track cannot change
//! its process. Keeps only open sockets and the holders of stuck ones; both are bounded.

pub(crate) mod events;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
    path::PathBuf,
};

use self::events::{Args, Events, Track};
use super::{
    aggregate::ReportScope,
    asked_names::AskedNames,
    entities::Entities,
    input::{FileState, Recordings},
    session_kind::SessionKind,
    stay::SocketIdentity,
    time::unix_ns,
};
use crate::{
    forms::reading::error::ReadError,
    model::{
        escape::{Escaped, EscapedName},
        pid::Pid,
        record::{Leak, LeakEnd, Record, Timed},
        socket::Socket,
        state::State,
        transition::Transition,
        units::Socketed,
        verdict::Verdict,
    },
    output::replace::{ReplaceError, ReportDestination},
};

/// The pids of each host get a range of their own. Larger than `PID_MAX_LIMIT` (4,194,304).
const PIDS_OF_HOST: u64 = 10_000_000;

/// The trace's number of a process among those of its host; pids go to 4 million.
fn track_pid(pid: Pid) -> u64 {
    const NOT_VISIBLE: u64 = PIDS_OF_HOST / 2;
    pid.visible().map_or_else(|| NOT_VISIBLE + u64::from(pid.on_host().unwrap_or(0)), u64::from)
}

/// A trace could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    /// A recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output cannot be used, or is incomplete.
    #[error(transparent)]
    Write(#[from] ReplaceError),
}

/// Writes the trace of files, which are read twice; returns whether all of them could be read.
///
/// # Errors
/// When a recording cannot be read, or the trace cannot be written.
pub(crate) fn write(
    files: &[PathBuf],
    wanted: &ReportScope,
    destination: &ReportDestination,
) -> Result<bool, TraceError> {
    let holders = SocketHolders::read(&mut Recordings::open(files, false)?, wanted);
    let mut input = Recordings::open(files, false)?;
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
    let states = input.states();
    for (name, state) in input.names().zip(&states) {
        if let Some(error) = &state.error {
            log::warn!("{name} could not be read to its end: {error}");
        } else if !state.is_undamaged() {
            log::warn!("{name} is not whole: {}", state.losses);
        }
    }
    Ok(states.iter().all(FileState::is_undamaged))
}

/// Maps files to their sessions while they are read.
#[derive(Default)]
struct Sessions {
    entities: Entities,
    of_file: HashMap<usize, u32>,
}

impl Sessions {
    /// The index of the session and of the host of a record.
    fn of(&mut self, file: usize, record: &Record) -> (u32, u32) {
        let at_ns = unix_ns(record.time());
        if let Record::Header(header) = record {
            let session = self.entities.session(header);
            self.of_file.insert(file, session);
        }
        let session = if let Some(session) = self.of_file.get(&file) {
            *session
        } else {
            let session = self.entities.headless_session(at_ns);
            self.of_file.insert(file, session);
            session
        };
        let known = self.entities.sessions.get_mut(session as usize);
        let host = known.map_or(0, |known| {
            known.reach(at_ns);
            known.host
        });
        (session, host)
    }
}

/// The first pass: the holders of stuck sockets, and when the recordings begin.
struct SocketHolders {
    entities: Entities,
    by_socket: HashMap<SocketIdentity, (Option<u32>, Option<Verdict>)>,
    first_ns: i64,
}

impl SocketHolders {
    fn read(input: &mut Recordings, wanted: &ReportScope) -> Self {
        let mut sessions = Sessions::default();
        let mut by_socket = HashMap::new();
        let mut first_ns = i64::MAX;
        let mut asked_names = AskedNames::new(&wanted.criteria.owners);
        while let Some((file, record)) = input.next() {
            let (_, host) = sessions.of(file, &record);
            // Sockets older than their recording are drawn from its start.
            first_ns = first_ns.min(unix_ns(record.time()));
            let Record::Leak(leak) = &record else { continue };
            asked_names.take(&leak.owners);
            if by_socket.len() < wanted.max_sockets && wanted.criteria.admits_owners(&leak.owners) {
                let process =
                    leak.owners.first().and_then(|owner| sessions.entities.process(host, &owner.process));
                by_socket.insert(SocketIdentity::of(host, &leak.socket), (process, leak.verdict));
            }
        }
        for nobody in asked_names.unmet() {
            log::warn!("{nobody}");
        }
        Self { entities: sessions.entities, by_socket, first_ns: first_ns.max(wanted.window.from_ns) }
    }
}

/// An open socket with its track.
struct Drawn {
    track: Track,
    state: State,
    session: u32,
}

/// The second pass: draws the trace.
struct Drawing<'a> {
    events: Events<'a>,
    holders: &'a SocketHolders,
    wanted: &'a ReportScope,
    sessions: Sessions,
    open: HashMap<SocketIdentity, Drawn>,
    tracks: u64,
    named: HashSet<u64>,
    skipped: u64,
}

impl<'a> Drawing<'a> {
    fn begin(
        out: &'a mut dyn Write,
        holders: &'a SocketHolders,
        wanted: &'a ReportScope,
    ) -> io::Result<Self> {
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
        let criteria = &self.wanted.criteria;
        // Whose it is only the report of a leak tells.
        let has_wanted_owner = |socket: &Socket| {
            criteria.owners.is_empty()
                || self.holders.by_socket.contains_key(&SocketIdentity::of(host, socket))
        };
        let is_wanted = |socket: &Socket| {
            self.wanted.window.contains(unix_ns(record.time()))
                && criteria.admits_socket(socket)
                && has_wanted_owner(socket)
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
        let id = SocketIdentity::of(host, &what.socket);
        if !self.open.contains_key(&id) {
            let since = what.dwell_ns().map(|dwell| at_ns.saturating_sub_unsigned(dwell));
            // A socket starts in CLOSE: nothing to draw. connect() chooses the port after entering SYN_SENT
            // (`tcp_v4_connect`), so the next transition draws that state.
            if what.new_state == State::SynSent {
                return Ok(());
            }
            match since.filter(|_| what.old_state != State::Close) {
                Some(since) => {
                    self.begin_track(id.clone(), session, host, &what.socket, what.old_state, since)?;
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
        let id = SocketIdentity::of(host, &leak.socket);
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
        let kind = self.sessions.entities.sessions.get(session as usize).map(|session| session.kind);
        let id = SocketIdentity::of(host, &end.socket);
        let at_ns = unix_ns(end.time);
        // In a trace the transitions say this, and what follows.
        if kind == Some(SessionKind::Trace) {
            return Ok(());
        }
        let Some(drawn) = self.open.remove(&id) else { return Ok(()) };
        self.events.end(&drawn.track, drawn.state.name(), at_ns)?;
        self.events.end(&drawn.track, &drawn.track.name, at_ns)
    }

    /// Begins the track of a socket that is in `state` since `since_ns`.
    fn begin_track(
        &mut self,
        id: SocketIdentity,
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

    /// The trace's number of a process; names it on first use.
    fn process(&mut self, host: u32, process: Option<u32>) -> io::Result<u64> {
        let known = process.and_then(|index| self.holders.entities.processes.get(index as usize));
        let base = u64::from(host) * PIDS_OF_HOST;
        let (pid, name) = match known {
            Some(process) => {
                let (comm, pid) = (EscapedName(&process.identity.comm), process.identity.pid);
                (base + track_pid(pid), format!("{comm} (pid {pid})"))
            }
            None => (base + PIDS_OF_HOST - 1, "holder not known".to_owned()),
        };
        if self.named.insert(pid) {
            let host = self.holders.entities.host_name(host).map(|host| format!(" on {}", Escaped(host)));
            self.events.name_process(pid, &format!("{name}{}", host.unwrap_or_default()))?;
        }
        Ok(pid)
    }

    /// Ends open tracks at the end of their recordings.
    fn finish(mut self) -> io::Result<()> {
        for (_, drawn) in std::mem::take(&mut self.open) {
            let session = self.sessions.entities.sessions.get(drawn.session as usize);
            let last_ns = session.map_or(0, |session| session.last_ns).min(self.wanted.window.to_ns);
            self.events.end(&drawn.track, drawn.state.name(), last_ns)?;
            self.events.end(&drawn.track, &drawn.track.name, last_ns)?;
        }
        self.events.finish()
    }
}
