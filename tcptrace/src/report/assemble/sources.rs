//! The evidence of a report: its sessions and files, and what cannot be claimed because of them. Pure.

use crate::{
    forms::reading::losses::Losses,
    model::{coverage::NotLookedAt, record::Totals},
    report::{
        aggregate::{Aggregator, SourceFile},
        caveats::Caveat,
        entities::RecordedSession,
        input::FileState,
        model::{FileReport, Report, SessionReport},
        session_kind::SessionKind,
        sums::Sums,
        time::Time,
    },
};

/// The time the recordings cover, in nanoseconds since 1970.
pub(crate) fn reach(aggregator: &Aggregator, files: &[FileState]) -> Option<(i64, i64)> {
    let first = |(index, session): (usize, &RecordedSession)| {
        let sources = aggregator.sources.iter().zip(files);
        let mut of_session =
            sources.filter(|(source, _)| source.session.is_some_and(|of| of as usize == index));
        // Without its earlier files, a session is known only from its first record on.
        let is_late = of_session.all(|(_, file)| file.losses.before > 0);
        session.first_record_ns.filter(|_| is_late).unwrap_or(session.first_ns)
    };
    let sessions = &aggregator.entities.sessions;
    let last = sessions.iter().map(|session| session.last_ns).max()?;
    Some((sessions.iter().enumerate().map(first).min()?, last))
}

pub(crate) fn sessions(aggregator: &Aggregator, files: &[FileState]) -> Vec<SessionReport> {
    let entities = &aggregator.entities;
    let of_session = |index: usize| {
        let files = aggregator.sources.iter().zip(files);
        files.filter(move |(source, _)| source.session.is_some_and(|session| session as usize == index))
    };
    entities
        .sessions
        .iter()
        .enumerate()
        .map(|(index, session)| {
            let header = session.header.as_ref();
            let identity = header.map(|header| &header.host);
            SessionReport {
                files: of_session(index).map(file).collect(),
                host: identity.map(|identity| identity.host.clone()),
                kernel: identity.map(|identity| identity.kernel.clone()),
                boot_id: identity.and_then(|identity| identity.boot_id.clone()),
                command: header.map(|header| header.command.join(" ")),
                kind: session.kind,
                backend: header.map(|header| header.backend.clone()),
                started: Time::from_unix_ns(session.first_ns),
                last: Time::from_unix_ns(session.last_ns),
                has_ended: session.has_ended,
                records_close_wait: session.records_close_wait,
                lost: session
                    .summary
                    .as_ref()
                    .map(|summary| summary.totals)
                    // A session that did not end wrote its counters from time to time.
                    .or_else(|| {
                        of_session(index)
                            .map(|(_, state)| state.losses.totals)
                            .max_by_key(|totals| totals.records)
                    })
                    .unwrap_or_default(),
                not_looked_at: session.summary.as_ref().and_then(|summary| summary.not_looked_at.clone()),
            }
        })
        .collect()
}

/// Files without a record, which belong to no session.
pub(crate) fn without_records(aggregator: &Aggregator, files: &[FileState]) -> Vec<FileReport> {
    let files = aggregator.sources.iter().zip(files);
    files.filter(|(source, _)| source.session.is_none()).map(file).collect()
}

fn file((source, state): (&SourceFile, &FileState)) -> FileReport {
    let Losses {
        totals: _,
        dropped,
        missing,
        damaged,
        is_cut,
        unknown,
        before,
        replaced: _,
        truncated,
        has_ended: _,
        goes_on,
    } = state.losses;
    FileReport {
        name: source.name.clone(),
        records: source.records,
        before,
        dropped,
        missing,
        damaged,
        unknown,
        truncated,
        is_cut,
        goes_on,
        error: state.error.clone(),
    }
}

/// Everything that the report cannot claim, losses first.
pub(crate) fn caveats(aggregator: &Aggregator, sums: &Sums, report: &Report) -> Vec<Caveat> {
    let sessions = &report.sessions;
    let files = || sessions.iter().flat_map(|session| &session.files).chain(&report.without_records);
    let names = |is_so: &dyn Fn(&FileReport) -> bool| -> Vec<String> {
        files().filter(|file| is_so(file)).map(|file| file.name.clone()).collect()
    };
    let sum =
        |count: &dyn Fn(&Totals) -> u64| sessions.iter().map(|session| count(&session.lost)).sum::<u64>();
    let all_are =
        |kind: SessionKind| !sessions.is_empty() && sessions.iter().all(|session| session.kind == kind);
    let of_sessions = |is_so: &dyn Fn(&SessionReport) -> bool| -> Vec<String> {
        let sessions = sessions.iter().filter(|session| is_so(session));
        sessions.filter_map(|session| session.files.last()).map(|file| file.name.clone()).collect()
    };
    let records = files().map(|file| file.missing).sum();
    let damaged = files().map(|file| file.damaged).sum();
    let mut caveats = Vec::new();
    let mut add = |is_so: bool, caveat: Caveat| {
        if is_so {
            caveats.push(caveat);
        }
    };
    let counted = |count: u64, caveat: fn(u64) -> Caveat| (count > 0, caveat(count));
    for (is_so, caveat) in [
        counted(sum(&Totals::lost_in_ring), Caveat::LostInRing),
        counted(sum(&|totals| totals.lost_skipped), Caveat::Skipped),
        counted(sessions.iter().map(dropped).sum(), Caveat::DroppedByWriter),
        counted(sum(&|totals| totals.undecodable), Caveat::Undecodable),
        counted(sum(&|totals| totals.evicted), Caveat::Evicted),
    ] {
        add(is_so, caveat);
    }
    let mut partial = of_sessions(&|session| !session.looked_everywhere());
    partial.dedup();
    let mut which = NotLookedAt::default();
    sessions.iter().filter_map(|session| session.not_looked_at.as_ref()).for_each(|other| which.widen(other));
    add(!partial.is_empty(), Caveat::NotLookedAt { files: partial, which });
    // The earliest file read of a rotated session says how many records came before it.
    let before =
        sessions.iter().filter_map(|session| session.files.iter().map(|file| file.before).min()).sum();
    add(before > 0, Caveat::EarlierFiles(before));
    let fewer = aggregator.entities.sessions.iter().zip(sessions).filter_map(fewer_than_counted);
    let (missing, of) = fewer.fold((0, 0), |(missing, of), one| (missing + one.0, of + one.1));
    add(missing > 0, Caveat::FewerThanCounted { missing, counted: of });
    let truncated = names(&|file| file.truncated > 0);
    add(!truncated.is_empty(), Caveat::Truncated(truncated));
    let incomplete = names(&|file| file.missing + file.damaged > 0);
    add(!incomplete.is_empty(), Caveat::Missing { files: incomplete, records, damaged });
    let cut = names(&|file| file.is_cut);
    add(!cut.is_empty(), Caveat::Cut(cut));
    for file in files() {
        if let Some(error) = &file.error {
            add(true, Caveat::Unreadable { file: file.name.clone(), error: error.clone() });
        }
    }
    let empty: Vec<String> = report.without_records.iter().map(|file| file.name.clone()).collect();
    add(!empty.is_empty(), Caveat::NoRecords(empty));
    let open = || sessions.iter().filter(|session| !session.has_ended);
    let open_files = |goes_on: bool| -> Vec<String> {
        // A rotated file's session ends in another file, which may be missing here.
        let rotated = |session: &&SessionReport| session.files.iter().all(|file| file.goes_on) == goes_on;
        let files = open().filter(rotated).flat_map(|session| &session.files);
        files.filter(|file| file.goes_on == goes_on).map(|file| file.name.clone()).collect()
    };
    let (not_ended, later) = (open_files(false), open_files(true));
    add(!not_ended.is_empty(), Caveat::NotEnded(not_ended));
    add(!later.is_empty(), Caveat::LaterFiles(later));
    let no_beginning = of_sessions(&|session| session.host.is_none());
    add(!no_beginning.is_empty(), Caveat::NoBeginning(no_beginning));
    let out_of_order: Vec<String> = aggregator.out_of_order().map(|source| source.name.clone()).collect();
    add(!out_of_order.is_empty(), Caveat::OutOfOrder(out_of_order));
    let closed_first = report.closed_first.as_ref();
    let is_lower_bound = report.peers.is_lower_bound
        || closed_first.is_some_and(|closed| closed.peers.is_lower_bound || closed.processes.is_lower_bound);
    let (left_out, most) = (aggregator.stays.evicted(), aggregator.wanted().max_sockets);
    for (is_so, caveat) in [
        counted(files().map(|file| file.unknown).sum(), Caveat::UnknownRecords),
        (left_out > 0, Caveat::TooManySockets { left_out, most }),
        counted(sums.of_others.ever, Caveat::TooManyProcesses),
        (is_lower_bound, Caveat::LowerBounds),
        counted(sums.unattributed.ever, Caveat::Unattributed),
        counted(sums.not_looked_at.ever, Caveat::HolderNotRecorded),
    ] {
        add(is_so, caveat);
    }
    let (known, stuck) = (sums.stacks.total()[0], sums.stuck.ever);
    let skipped = sum(&|totals| totals.openers_skipped);
    add(known < stuck && stuck > sums.not_looked_at.ever, Caveat::StacksKnown { known, stuck, skipped });
    add(sums.began_unseen > 0, Caveat::BeganUnseen(sums.began_unseen));
    let blind = sessions.iter().filter(|session| !session.records_close_wait && session.host.is_some());
    let blind: Vec<String> = blind.flat_map(|session| &session.files).map(|file| file.name.clone()).collect();
    add(!blind.is_empty(), Caveat::CloseWaitNotRecorded(blind));
    add(all_are(SessionKind::Now), Caveat::OnlyMoments);
    add(all_are(SessionKind::Leaks), Caveat::OnlyLeaks);
    let hosts = aggregator.entities.hosts.len();
    add(hosts > 1, Caveat::SeveralClocks(hosts));
    for nobody in aggregator.asked_names.unmet() {
        add(true, nobody);
    }
    caveats
}

/// How many transitions of a session are missing for no known reason, and how many it counted. JSON Lines have no numbers, so
/// that only the summary tells of earlier files. `None` for what writes fewer transitions than it counts: `leaks`, and `trace`
/// with a choice of states, which follows sockets beyond them.
fn fewer_than_counted((session, report): (&RecordedSession, &SessionReport)) -> Option<(u64, u64)> {
    let counted = session.summary.as_ref()?.totals.records;
    let has_choice = report
        .command
        .as_ref()
        .is_none_or(|command| command.split(' ').any(|word| word.starts_with("--state")));
    if session.kind != SessionKind::Trace || has_choice || report.files.iter().any(|file| file.before > 0) {
        return None;
    }
    let lost = |file: &FileReport| file.missing + file.damaged + file.unknown;
    let known = session.transitions + dropped(report) + report.files.iter().map(lost).sum::<u64>();
    Some((counted.saturating_sub(known), counted)).filter(|(missing, _)| *missing > 0)
}

/// Records that a session's writer dropped: counted in the files where it happened and in the summary.
fn dropped(session: &SessionReport) -> u64 {
    session.files.iter().map(|file| file.dropped).sum::<u64>().max(session.lost.dropped)
}
