//! What a report cannot claim: each loss and each blind spot as one sentence, with the remedy where there is one.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::model::{
    coverage::NotLookedAt,
    escape::Escaped,
    units::{are, plural, were},
};

/// One loss or blind spot of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caveat {
    /// The ring buffer was full.
    LostInRing(u64),
    /// The kernel left the program out.
    Skipped(u64),
    /// The writer dropped records because its output was too slow.
    DroppedByWriter(u64),
    /// Records are missing from files, or lie in damaged parts.
    Missing {
        /// FileNames that something is missing from.
        files: Vec<String>,
        /// Records, as far as their numbers tell.
        records: u64,
        /// Damaged blocks or lines.
        damaged: u64,
    },
    /// Sessions say of themselves that they could not look at everything.
    NotLookedAt {
        /// The last file of each.
        files: Vec<String>,
        which: NotLookedAt,
    },
    /// Records of sessions that were rotated, in earlier files.
    EarlierFiles(u64),
    /// Transitions that sessions counted and that are not in what was read, where records have no numbers.
    FewerThanCounted { missing: u64, counted: u64 },
    /// FileNames became shorter while they were read.
    Truncated(Vec<String>),
    /// FileNames end in the middle of something.
    Cut(Vec<String>),
    /// FileNames gave no record at all.
    NoRecords(Vec<String>),
    /// FileNames have no summary: their sessions were killed, or go on.
    NotEnded(Vec<String>),
    /// FileNames were rotated, and the last of their session is not here.
    LaterFiles(Vec<String>),
    /// FileNames do not begin with a header.
    NoBeginning(Vec<String>),
    /// FileNames hold sessions of one host that do not stand in their order of time.
    OutOfOrder(Vec<String>),
    /// A file could not be read to its end.
    Unreadable { file: String, error: String },
    /// Records of types that this version does not know.
    UnknownRecords(u64),
    /// Records that could not be decoded.
    Undecodable(u64),
    /// Sockets for which a table of the tracer was full.
    Evicted(u64),
    /// Stays beyond the limit of this report.
    TooManySockets {
        left_out: u64,
        /// Sockets in CLOSE_WAIT that are followed at once.
        most: usize,
    },
    /// Sockets of processes beyond the limit of this report.
    TooManyProcesses(u64),
    /// Too many peers or processes: their counts are lower bounds.
    LowerBounds,
    /// FileNames are of sessions that did not record the sockets in CLOSE_WAIT.
    CloseWaitNotRecorded(Vec<String>),
    /// All recordings are snapshots.
    OnlyMoments,
    /// All recordings are of `leaks`: only sockets past its threshold.
    OnlyLeaks,
    /// Stuck sockets whose holder was not looked up.
    HolderNotRecorded(u64),
    /// Stuck sockets without a known holder.
    Unattributed(u64),
    /// How many of the stuck sockets have a known stack.
    StacksKnown {
        known: u64,
        stuck: u64,
        /// Sockets, stuck or not, whose opener was not kept because too many opened at once.
        skipped: u64,
    },
    /// Stays that began before the recording.
    BeganUnseen(u64),
    /// Several hosts, several clocks.
    SeveralClocks(usize),
    /// A container, pod or namespace that was asked for and that no owner had.
    NobodyCalled {
        kind: NameKind,
        name: String,
        /// Where the owners ran instead.
        seen: Vec<String>,
    },
}

/// What a name that was asked for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameKind {
    Container,
    Pod,
    Namespace,
}

impl Caveat {
    /// The name that scripts compare.
    pub(crate) fn id(&self) -> &'static str {
        match self {
            Self::LostInRing(_) => "lost_in_ring",
            Self::Skipped(_) => "skipped_by_kernel",
            Self::DroppedByWriter(_) => "dropped_by_writer",
            Self::Missing { .. } => "missing",
            Self::NotLookedAt { .. } => "not_looked_at",
            Self::EarlierFiles(_) | Self::FewerThanCounted { .. } => "earlier_files",
            Self::Truncated(_) => "truncated",
            Self::Cut(_) => "cut",
            Self::NoRecords(_) => "no_records",
            Self::NotEnded(_) => "not_ended",
            Self::LaterFiles(_) => "later_files",
            Self::NoBeginning(_) => "no_beginning",
            Self::OutOfOrder(_) => "out_of_order",
            Self::Unreadable { .. } => "unreadable",
            Self::UnknownRecords(_) => "unknown_records",
            Self::Undecodable(_) => "undecodable",
            Self::Evicted(_) => "evicted",
            Self::TooManySockets { .. } => "too_many_sockets",
            Self::TooManyProcesses(_) => "too_many_processes",
            Self::LowerBounds => "lower_bounds",
            Self::CloseWaitNotRecorded(_) => "close_wait_not_recorded",
            Self::OnlyMoments => "only_moments",
            Self::OnlyLeaks => "only_leaks",
            Self::HolderNotRecorded(_) => "holder_not_recorded",
            Self::Unattributed(_) => "unattributed",
            Self::StacksKnown { .. } => "stacks_known",
            Self::BeganUnseen(_) => "began_unseen",
            Self::SeveralClocks(_) => "several_clocks",
            Self::NobodyCalled { .. } => "nobody_called",
        }
    }

    /// Whether something was lost, as opposed to what the recording could never show.
    pub(crate) fn is_loss(&self) -> bool {
        !matches!(
            self,
            Self::CloseWaitNotRecorded(_)
                | Self::OnlyMoments
                | Self::OnlyLeaks
                | Self::HolderNotRecorded(_)
                | Self::Unattributed(_)
                | Self::StacksKnown { .. }
                | Self::BeganUnseen(_)
                | Self::SeveralClocks(_)
                | Self::NobodyCalled { .. }
        )
    }

    /// Whether there are records that could not be read.
    pub(crate) fn hides_records(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Cut(_) | Self::Unreadable { .. } | Self::UnknownRecords(_)
        )
    }

    /// Whether sockets are known to be missing in the counts.
    pub(crate) fn makes_lower_bounds(&self) -> bool {
        matches!(
            self,
            Self::DroppedByWriter(_)
                | Self::Missing { .. }
                | Self::EarlierFiles(_)
                | Self::FewerThanCounted { .. }
                | Self::TooManySockets { .. }
        )
    }
}

impl fmt::Display for Caveat {
    #[expect(clippy::too_many_lines, reason = "a sentence for each variant")]
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostInRing(count) => write!(
                formatter,
                "{} lost in the ring: counts are lower bounds, and a socket whose end was lost looks stuck; \
                 a larger --ring-size helps",
                were(*count, "record")
            ),
            Self::Skipped(count) => write!(
                formatter,
                "{} left out by the kernel, whose CPUs were interrupted at work on another: a few in a million on a busy \
                 host, which no option changes",
                were(*count, "transition")
            ),
            Self::DroppedByWriter(count) => write!(
                formatter,
                "{} dropped because the output could not be written fast enough: counts are lower bounds",
                were(*count, "record")
            ),
            Self::Missing { files, records, damaged } => {
                write!(formatter, "{} incomplete: ", FileNames(files, "is", "are"))?;
                match (records, damaged) {
                    (0, damaged) => write!(formatter, "{} damaged and passed over", were(*damaged, "part"))?,
                    (records, 0) => write!(formatter, "{} missing", are(*records, "record"))?,
                    (records, damaged) => {
                        write!(
                            formatter,
                            "{} missing in {}",
                            are(*records, "record"),
                            plural(*damaged, "damaged part")
                        )?;
                    }
                }
                write!(formatter, ", so counts are lower bounds")
            }
            Self::NotLookedAt { files, which } => write!(
                formatter,
                "{} of a look at less than the whole host, so what is not in it may be there all the same: {which}",
                FileNames(files, "is", "are")
            ),
            Self::EarlierFiles(records) => write!(
                formatter,
                "{} in earlier files of a session that was rotated, or damaged: name those files as well",
                are(*records, "record")
            ),
            Self::FewerThanCounted { missing, counted } => write!(
                formatter,
                "{missing} of {} that were counted are not here: if the session was rotated, name its earlier files as well",
                plural(*counted, "transition")
            ),
            Self::Truncated(files) => write!(
                formatter,
                "{} made shorter while it was read: what it held at the end before that may be missing",
                FileNames(files, "was", "were")
            ),
            Self::Cut(files) => write!(
                formatter,
                "{} in the middle of a record: what came after is not known",
                FileNames(files, "ends", "end")
            ),
            Self::NoRecords(files) => {
                write!(formatter, "{} no record that could be read", FileNames(files, "has", "have"))
            }
            Self::NotEnded(files) => write!(
                formatter,
                "{} no summary: the session was killed or goes on, and what it lost at its end is not known",
                FileNames(files, "has", "have")
            ),
            Self::LaterFiles(files) => {
                write!(formatter, "{} on in another file: name that as well", FileNames(files, "goes", "go"))
            }
            Self::NoBeginning(files) => {
                write!(
                    formatter,
                    "{} no header: which host and which session it was is not known",
                    FileNames(files, "has", "have")
                )
            }
            Self::OutOfOrder(files) => {
                write!(
                    formatter,
                    "{} sessions of one host that do not stand in their order of time, or overlap: what is said to be still \
                     stuck may be gone, and times may be wrong; name the file of each session by itself",
                    FileNames(files, "holds", "hold")
                )
            }
            Self::Unreadable { file, error } => {
                write!(formatter, "{} could not be read to its end: {}", Escaped(file), Escaped(error))
            }
            Self::UnknownRecords(count) => write!(
                formatter,
                "{} of a kind that this version does not know, and left out: a newer tcptrace reads more",
                are(*count, "record")
            ),
            Self::Undecodable(count) => {
                write!(formatter, "{} undecodable and left out", were(*count, "record"))
            }
            Self::Evicted(count) => write!(
                formatter,
                "{} found the tracer's tables full: they are not in the counts, or their times are missing; a larger --max-sockets helps",
                plural(*count, "socket")
            ),
            Self::TooManySockets { left_out, most } => write!(
                formatter,
                "{} in CLOSE_WAIT at the same time as {}, and left out: a larger --max-sockets counts them",
                were(*left_out, "socket"),
                plural(*most as u64, "other")
            ),
            Self::TooManyProcesses(count) => write!(
                formatter,
                "{} held by processes beyond the first {}, which are not told apart",
                were(*count, "socket"),
                super::entities::MOST_PROCESSES
            ),
            Self::LowerBounds => write!(
                formatter,
                "there were too many peers or processes to count each one: the counts of those shown are lower bounds"
            ),
            Self::CloseWaitNotRecorded(files) => write!(
                formatter,
                "{} nothing of what was stuck in CLOSE_WAIT that a report counts: `clear` records what it ended, `time-wait` \
                 and other states have none (`tcptrace leaks` records it)",
                FileNames(files, "holds", "hold")
            ),
            Self::OnlyMoments => write!(
                formatter,
                "a snapshot shows one moment: not what grows, how stays ended, or who closed first"
            ),
            Self::OnlyLeaks => write!(
                formatter,
                "`leaks` records what stays past its threshold: shorter stays and who closed first are not in it \
                 (`tcptrace trace` records them)"
            ),
            Self::HolderNotRecorded(count) => write!(
                formatter,
                "who holds {} was not recorded: `tcptrace leaks` and `trace --owners` look for it",
                plural(*count, "stuck socket")
            ),
            Self::Unattributed(count) => {
                write!(formatter, "nobody could be named for {}", plural(*count, "stuck socket"))
            }
            Self::StacksKnown { known, stuck, skipped } => {
                write!(
                    formatter,
                    "the line that opened it is known of {known} of {}",
                    plural(*stuck, "stuck socket")
                )?;
                match skipped {
                    0 => Ok(()),
                    1 => write!(
                        formatter,
                        ": openers are kept only up to a rate, and one socket was beyond it"
                    ),
                    _ => write!(
                        formatter,
                        ": openers are kept only up to a rate, and {skipped} sockets were beyond it"
                    ),
                }
            }
            Self::BeganUnseen(count) => {
                let (verb, pronoun) = if *count == 1 { ("stay", "it was") } else { ("stays", "they were") };
                write!(
                    formatter,
                    "{count} {verb} in CLOSE_WAIT began before tcptrace did: {pronoun} at least as long as told"
                )
            }
            Self::SeveralClocks(hosts) => write!(
                formatter,
                "{hosts} hosts are put side by side by their own wall clocks, which may differ"
            ),
            Self::NobodyCalled { kind, name, seen } => {
                let place = match kind {
                    NameKind::Container => "a container called",
                    NameKind::Pod => "a Kubernetes pod called",
                    NameKind::Namespace => "a pod of the Kubernetes namespace",
                };
                write!(formatter, "no stuck socket was held in {place} {}", Escaped(name))?;
                match seen.as_slice() {
                    [] => write!(
                        formatter,
                        ": no owner in the recordings is known to run in one (older recordings do not have such names)"
                    ),
                    seen => write!(formatter, ": those that were held in one, in {}", PlaceNames(seen)),
                }
            }
        }
    }
}

impl Serialize for Caveat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("id", self.id())?;
        map.serialize_entry("is_loss", &self.is_loss())?;
        map.serialize_entry("text", &self.to_string())?;
        map.end()
    }
}

/// File names and a verb that agrees with their number.
struct FileNames<'a>(&'a [String], &'static str, &'static str);

impl fmt::Display for FileNames<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 3;
        let Self(files, one, several) = self;
        for (nth, file) in files.iter().take(NAMED).enumerate() {
            let comma = if nth > 0 { ", " } else { "" };
            write!(formatter, "{comma}{}", Escaped(file))?;
        }
        if files.len() > NAMED {
            write!(formatter, " and {} more", files.len() - NAMED)?;
        }
        write!(formatter, " {}", if files.len() == 1 { one } else { several })
    }
}

/// Some of these places, and how many more there are.
struct PlaceNames<'a>(&'a [String]);

impl fmt::Display for PlaceNames<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 8;
        for (nth, place) in self.0.iter().take(NAMED).enumerate() {
            let separator = if nth > 0 { "; " } else { "" };
            write!(formatter, "{separator}{}", Escaped(place))?;
        }
        if self.0.len() > NAMED {
            write!(formatter, "; and {} more", self.0.len() - NAMED)?;
        }
        Ok(())
    }
}
