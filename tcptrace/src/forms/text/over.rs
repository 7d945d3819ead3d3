//! Descriptors whose connection is over, for people: a line for each process that keeps some.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use super::{
    columns::Column::{Name, Number},
    columns::Columns,
    meanings::{self, StuckSocket},
    parts::Line,
};
use crate::{
    forms::{palette::Palette, view::Extent},
    model::{
        ended::EndedHow,
        escape::EscapedName,
        record::{Leak, Over},
        stack::Stack,
        units::{Elapsed, plural},
        verdict::Verdict,
    },
};

/// What one process keeps.
#[derive(Default)]
struct Kept {
    name: String,
    sockets: u64,
    ways: BTreeMap<Option<EndedHow>, u64>,
    oldest_ns: Option<u64>,
    opened_at: Option<Arc<Stack>>,
}

/// Writes nothing where there are none.
pub(super) fn write(out: &mut dyn Write, over: &[Leak], extent: Extent, palette: &Palette) -> io::Result<()> {
    if over.is_empty() {
        return Ok(());
    }
    let count = plural(over.len() as u64, "descriptor");
    writeln!(out, "\n{count} of connections that are over, in no list of sockets:\n")?;
    let kept = by_process(over);
    let mut table = Columns::new([
        Number("SOCKETS"),
        Name("PROCESS"),
        Name("ENDED"),
        Number("OLDEST"),
        Name("OPENED AT"),
    ]);
    for kept in kept.iter().take(extent.rows) {
        table.push([
            kept.sockets.to_string(),
            kept.name.clone(),
            ways(&kept.ways),
            kept.oldest_ns.map_or_else(|| "?".to_owned(), |ns| Elapsed(ns).to_string()),
            kept.opened_at.as_deref().map_or_else(|| "-".to_owned(), opened_at),
        ]);
    }
    table.show(3, kept.iter().any(|kept| kept.oldest_ns.is_some()));
    table.show(4, kept.iter().any(|kept| kept.opened_at.is_some()));
    table.write(out)?;
    let faint = palette.faint;
    if let rest @ 1.. = kept.len().saturating_sub(extent.rows) {
        let rest = plural(rest as u64, "process");
        writeln!(out, "  {faint}… and {rest} more (--rows 0 shows all){faint:#}")?;
    }
    let kept = over.iter().map(|leak| StuckSocket {
        verdict: Some(Verdict::ConnectionOver),
        because: leak.because.as_deref().unwrap_or_default(),
        unknown_because: None,
    });
    meanings::write(out, kept, "descriptor", palette)
}

/// The line, in a column that is headed "opened at".
fn opened_at(stack: &Stack) -> String {
    let line = Line::opened(stack).to_string();
    line.strip_prefix("opened at ").map(str::to_owned).unwrap_or(line)
}

/// Those who keep the most first.
fn by_process(over: &[Leak]) -> Vec<Kept> {
    let mut kept: BTreeMap<Vec<_>, Kept> = BTreeMap::new();
    for leak in over {
        let holders = leak.owners.iter().map(|owner| owner.process.pid).collect();
        let kept = kept.entry(holders).or_default();
        if kept.sockets == 0 {
            kept.name = processes(leak);
        }
        kept.sockets += 1;
        let Over { how, ns } = leak.over.unwrap_or(Over { how: None, ns: None });
        *kept.ways.entry(how).or_default() += 1;
        kept.oldest_ns = kept.oldest_ns.max(ns);
        let opened_at = leak.opening_stack().filter(|stack| stack.is_news());
        kept.opened_at = kept.opened_at.take().or(opened_at);
    }
    let mut kept: Vec<Kept> = kept.into_values().collect();
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.sockets));
    kept
}

fn processes(leak: &Leak) -> String {
    let names = leak.owners.iter().map(|owner| {
        let process = &owner.process;
        format!("{} ({})", EscapedName(&process.comm), process.pid)
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { "nobody any more".to_owned() } else { names.join(", ") }
}

/// `50 reset by the peer, 2 timed out`.
fn ways(ways: &BTreeMap<Option<EndedHow>, u64>) -> String {
    let way = |(how, count): (&Option<EndedHow>, &u64)| match how {
        Some(how) => format!("{count} {}", how.in_words()),
        None => format!("{count} before anybody looked"),
    };
    ways.iter().map(way).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        examples,
        pid::Pid,
        process::ProcessIdentity,
        reason::{Reason, ReasonId, ReasonNumbers},
        state::State,
    };

    fn over(pid: u32, how: Option<EndedHow>, ns: Option<u64>) -> Leak {
        let mut leak = Leak {
            state: State::Close,
            verdict: Some(Verdict::ConnectionOver),
            over: Some(Over { how, ns }),
            because: None,
            owners: vec![examples::owner()],
            ..examples::leak()
        };
        for owner in &mut leak.owners {
            owner.process = Arc::new(ProcessIdentity::from_name(Pid::new(pid), "x\x1b[2J"));
        }
        leak
    }

    #[test]
    fn each_process_is_told_once_with_how_its_connections_ended() {
        let leaks = [
            over(7, Some(EndedHow::Reset), Some(3_000_000_000)),
            over(8, None, None),
            over(7, Some(EndedHow::TimedOut), None),
            over(7, Some(EndedHow::Reset), Some(125_000_000_000)),
        ];
        let mut text = Vec::new();
        let extent = Extent { rows: 40, width: None, height: None };
        assert!(write(&mut text, &leaks, extent, &Palette::default()).is_ok());
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("4 descriptors of connections that are over"), "{text}");
        let row = "      3  x\\u{1b}[2J (7)  2 reset by the peer, 1 timed out  2m 05s";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("      1  x\\u{1b}[2J (8)  1 before anybody looked                ?"),
            "{text}"
        );
        assert!(text.contains("connection_over (4 descriptors): "), "{text}");
    }

    #[test]
    fn what_keeps_a_process_from_closing_is_told() {
        let reason = Reason {
            id: ReasonId::HolderStopped,
            text: "shop (7) is stopped by a signal".to_owned(),
            numbers: ReasonNumbers::default(),
        };
        let stopped = Leak { because: Some(vec![reason]), ..over(7, None, None) };
        let mut text = Vec::new();
        let extent = Extent { rows: 40, width: None, height: None };
        assert!(write(&mut text, &[stopped], extent, &Palette::default()).is_ok());
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            text.contains("connection_over/holder_stopped (1 descriptor): nothing is read or closed"),
            "{text}"
        );
        assert!(text.contains("    shop (7) is stopped by a signal"), "{text}");
    }
}
