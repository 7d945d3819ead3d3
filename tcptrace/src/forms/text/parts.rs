//! Parts of lines that several records have in common: times, ages, owners, lines of code.

use std::{
    fmt,
    io::{self, Write},
};

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::{
    diagnosis::advice::advice,
    forms::palette::Palette,
    model::{
        coverage::NotLookedAt,
        escape::{Escaped, EscapedName},
        owner::{Evidence, Owner},
        reason::{Reason, ReasonId},
        record::Age,
        stack::Stack,
        units::Elapsed,
        verdict::{UnknownBecause, Verdict},
    },
};

/// How much is said of a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// All that is known.
    Full,
    /// Without the reasons and the command line, which the leak before has too.
    Brief,
}

/// Time of day where the operator is.
pub(super) fn time_of_day(time: Timestamp) -> Zoned {
    time.to_zoned(TimeZone::system())
}

/// `12.3 s`, or `at least 12.3 s`.
pub(super) fn age(age: &Age) -> String {
    match (age.is_exact, age.at_most_ns) {
        (true, _) => Elapsed(age.ns).to_string(),
        (false, Some(most)) if most > age.ns => {
            let (least, most) = (Elapsed(age.ns).to_string(), Elapsed(most).to_string());
            if least == most { format!("about {least}") } else { format!("at least {least}, at most {most}") }
        }
        (false, _) => format!("at least {}", Elapsed(age.ns)),
    }
}

/// What the verdict and the most telling reason mean together. Of reasons that were not recorded, the verdict tells alone.
pub(super) fn meaning(
    verdict: Option<Verdict>,
    reason: Option<ReasonId>,
    unknown: Option<UnknownBecause>,
) -> String {
    match (verdict, unknown) {
        (Some(Verdict::NeverAccepted), Some(because @ UnknownBecause::ListenerNotFound)) => {
            because.meaning().to_owned()
        }
        (Some(verdict), _) => advice(verdict, reason).to_owned(),
        (None, Some(because)) => format!("cannot be told: {}", because.meaning()),
        (None, None) => "cannot be told".to_owned(),
    }
}

/// The reasons of one socket, or of the first of several, in a sentence; the most telling ones.
pub(super) fn reasons_in_words(because: &[Reason]) -> String {
    const NAMED: usize = 2;
    let texts: Vec<&str> = because.iter().take(NAMED).map(|reason| reason.text.as_str()).collect();
    Escaped(&texts.join("; ")).to_string()
}

/// `flood-4 (pid 4525)`, or with how many others.
pub(super) fn holders(owner: Option<&Owner>, count: usize) -> String {
    let Some(Owner { process, .. }) = owner else { return "nobody that is known".to_owned() };
    let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    format!("{} (pid {}){others}", EscapedName(&process.comm), process.pid)
}

/// `eof_read`, or with the most telling reason `eof_read/client_left`.
pub(super) fn cause(verdict: Option<Verdict>, reason: Option<ReasonId>) -> String {
    let verdict = verdict.map_or("?", Verdict::name);
    reason.map_or_else(|| verdict.to_owned(), |reason| format!("{verdict}/{reason}"))
}

/// The line of code to look at, and whether more is hidden; else why there is none.
pub(super) struct Line<'a> {
    /// What was done there: "opened".
    pub verb: &'static str,
    pub stack: &'a Stack,
}

impl<'a> Line<'a> {
    pub(super) fn opened(stack: &'a Stack) -> Self {
        Self { verb: "opened", stack }
    }
}

/// `opened at main.serve (main.go:12)`, or `opened by libcurl.so.4, whose caller is not known: …`.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, stack } = self;
        match (stack.line(), &stack.no_site) {
            (None, Some(no_site)) => f.write_str(&no_site.in_words(verb)),
            (line, _) => {
                let cut = if stack.is_cut { " [stack cut short]" } else { "" };
                let found = if stack.may_skip_callers() { " [by frame pointers]" } else { "" };
                write!(f, "{verb} at {}{found}{cut}", Escaped(line.unwrap_or("?")))
            }
        }
    }
}

/// The first line of an answer, where something could not be looked at.
pub(super) fn write_not_looked_at(
    out: &mut dyn Write,
    not_looked_at: &NotLookedAt,
    palette: &Palette,
) -> io::Result<()> {
    if not_looked_at.is_nothing() {
        return Ok(());
    }
    let alert = palette.alert;
    let text = not_looked_at.to_string();
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    writeln!(out, "{alert}{}{rest}{alert:#}. -v names each.", first.to_uppercase())
}

pub(super) fn write_owners(
    out: &mut dyn Write,
    owners: &[Owner],
    unknown_because: Option<UnknownBecause>,
    detail: Detail,
    palette: &Palette,
) -> io::Result<()> {
    /// More holders than this are counted, not listed.
    const LISTED: usize = 3;
    let name = palette.name;
    if owners.is_empty() {
        return match unknown_because {
            Some(because) => write!(out, "holder not known: {}", because.meaning()),
            None => write!(out, "nobody has a descriptor for it"),
        };
    }
    for (index, owner) in owners.iter().take(LISTED).enumerate() {
        if index > 0 {
            write!(out, ", ")?;
        }
        write!(out, "{name}{} (pid {}){name:#}", EscapedName(&owner.process.comm), owner.process.pid)?;
        if let Some(command) = owner.process.command().filter(|_| detail == Detail::Full) {
            write!(out, " [{}]", Escaped(&command))?;
        }
        match owner.evidence {
            Evidence::FdTable => write!(out, " {}", Descriptors(&owner.fds))?,
            Evidence::Listener => write!(out, " listens with {}", Descriptors(&owner.fds))?,
            Evidence::Opened => write!(out, " opened it and may no longer hold it")?,
            Evidence::InCall => write!(out, " sleeps in a call on it, with its descriptor closed")?,
            Evidence::IoUring => match owner.fds.as_slice() {
                [] => write!(out, " has it in an io_uring request")?,
                fds => write!(out, " has it in io_uring, ring {}", Descriptors(fds))?,
            },
            Evidence::Mapped => write!(out, " has it mapped, with its descriptor closed")?,
            Evidence::None => {}
        }
        if let Some(place) = owner.process.place() {
            write!(out, " in {}", Escaped(&place))?;
        }
    }
    if owners.len() > LISTED {
        write!(out, " and {} more", owners.len() - LISTED)?;
    }
    Ok(())
}

/// `fd 17` or `fds 17, 18, 19 …`.
struct Descriptors<'a>(&'a [u32]);

impl fmt::Display for Descriptors<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LISTED: usize = 4;
        let shown: Vec<String> = self.0.iter().take(LISTED).map(u32::to_string).collect();
        let label = if self.0.len() == 1 { "fd" } else { "fds" };
        let rest = if self.0.len() > LISTED { " …" } else { "" };
        write!(formatter, "{label} {}{rest}", shown.join(", "))
    }
}
