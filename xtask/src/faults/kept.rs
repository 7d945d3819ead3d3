//! The transitions in a file of any form, so that forms can be compared. Only recordings are read by the tool itself.

use super::ground::Ground;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

/// Endings of all forms, plain and compressed.
pub(crate) const FORMS: [&str; 8] =
    ["txt", "jsonl", "csv", "tct", "txt.zst", "jsonl.zst", "csv.zst", "tct.zst"];

/// What identifies a transition, as all forms have it: both ends and both states, in few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64);

/// A transition in a file.
#[derive(Clone, Copy)]
pub(crate) struct Transition {
    pub identity: Identity,
    /// Since the host was started, in nanoseconds; text has none.
    pub ktime_ns: Option<u64>,
    /// The port of this end is not chosen yet, or there is no peer: others look the same.
    pub is_ambiguous: bool,
}

/// What a file holds.
pub(crate) struct Content {
    pub transitions: Vec<Transition>,
    /// Whether a record says that the session has ended.
    pub has_summary: bool,
}

impl Transition {
    fn new(local: (&str, &str), remote: (&str, &str), states: (&str, &str), ktime_ns: Option<u64>) -> Self {
        let mut hasher = DefaultHasher::new();
        (local, remote, states).hash(&mut hasher);
        let is_ambiguous = local.1 == "0" || remote.1 == "0";
        Self { identity: Identity(hasher.finish()), ktime_ns, is_ambiguous }
    }
}

/// Reads a file. Only its last line may be cut, and a whole line that cannot be read is an error.
pub(crate) fn read(ground: &Ground, path: &Path) -> Result<Content> {
    let name = path.display().to_string();
    let plain = name.strip_suffix(".zst").unwrap_or(&name);
    let form = plain.rsplit('.').next().unwrap_or_default();
    let mut lines = lines(ground, path, form == "tct", plain != name)?;
    let (mut transitions, mut has_summary) = (Vec::new(), false);
    let mut at = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A compressed file that is cut ends with an error of the decoder.
        let is_cut =
            lines.read_until(b'\n', &mut line).is_err() || line.pop_if(|byte| *byte == b'\n').is_none();
        if is_cut {
            break;
        }
        at += 1;
        let text = std::str::from_utf8(&line).with_context(|| format!("{name}:{at}: no UTF-8"))?;
        let line = match form {
            "csv" => of_csv(text),
            "txt" => of_text(text),
            _ => of_json(text),
        };
        match line.with_context(|| format!("{name}:{at}: not a record: {text}"))? {
            Line::Transition(transition) => transitions.push(transition),
            Line::Summary => has_summary = true,
            Line::Other => {}
        }
    }
    Ok(Content { transitions, has_summary })
}

/// The lines of a file; of a recording, those of its replay.
fn lines(ground: &Ground, path: &Path, is_recording: bool, is_compressed: bool) -> Result<Box<dyn BufRead>> {
    if is_recording {
        let mut replay = ground.tool(["trace", "--replay"]);
        let output = replay.arg(path).args(["--format", "jsonl"]).stderr(Stdio::piped()).output()?;
        let messages = String::from_utf8_lossy(&output.stderr);
        let is_sound = matches!(output.status.code(), Some(0 | 4)) && !messages.contains("damaged");
        ensure!(is_sound, "{}: its replay ended with {}: {messages}", path.display(), output.status);
        return Ok(Box::new(std::io::Cursor::new(output.stdout)));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let reader: Box<dyn Read> =
        if is_compressed { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
    Ok(Box::new(BufReader::with_capacity(1 << 20, reader)))
}

/// A whole line of a file.
enum Line {
    Transition(Transition),
    Summary,
    Other,
}

fn of_json(line: &str) -> Option<Line> {
    let record: Value = serde_json::from_str(line).ok()?;
    match record["type"].as_str()? {
        "transition" => {}
        "summary" => return Some(Line::Summary),
        _ => return Some(Line::Other),
    }
    let number = |name: &str| record[name].as_u64().map(|number| number.to_string());
    let (lport, rport) = (number("lport")?, number("rport")?);
    let local = (record["laddr"].as_str()?, lport.as_str());
    let remote = (record["raddr"].as_str()?, rport.as_str());
    let states = (record["old_state"].as_str()?, record["new_state"].as_str()?);
    Some(Line::Transition(Transition::new(local, remote, states, record["ktime_ns"].as_u64())))
}

/// Loads need no quotes in a table.
fn of_csv(line: &str) -> Option<Line> {
    let cells: Vec<&str> = line.split(',').collect();
    let [kind, _, ktime_ns, _, _, _, laddr, lport, raddr, rport, old, new, ..] = cells[..] else {
        return None;
    };
    // The first line names the columns.
    if kind != "transition" {
        return Some(Line::Other);
    }
    let ktime_ns = Some(ktime_ns.parse().ok()?);
    Some(Line::Transition(Transition::new((laddr, lport), (raddr, rport), (old, new), ktime_ns)))
}

/// `15:53:49.864144     SYN_SENT -> ESTABLISHED  127.0.0.1:50254 <-> 127.0.0.1:26401  after 61 µs …`
fn of_text(line: &str) -> Option<Line> {
    if !line.contains(" -> ") {
        return Some(Line::Other);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, old, "->", new, local, "<->", remote, ..] = words[..] else { return None };
    let (local, remote) = (local.rsplit_once(':')?, remote.rsplit_once(':')?);
    Some(Line::Transition(Transition::new(local, remote, (old, new), None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_the_same_in_every_form() {
        let text = "15:53:49.864144     SYN_SENT -> ESTABLISHED  127.0.0.1:50254 <-> 127.0.0.2:26401  after 61 µs  on";
        let table = "transition,2026-11-24T15:53:49.563449146Z,17,8140042,4026531833,4,127.0.0.1,50254,127.0.0.2,\
                     26401,SYN_SENT,ESTABLISHED,,23903";
        let json = r#"{"type":"transition","ktime_ns":17,"laddr":"127.0.0.1","lport":50254,"raddr":"127.0.0.2","rport":26401,"old_state":"SYN_SENT","new_state":"ESTABLISHED"}"#;
        let found = [of_text(text), of_csv(table), of_json(json)].map(|line| match line {
            Some(Line::Transition(found)) => Some((found.identity, found.is_ambiguous)),
            _ => None,
        });
        assert!(found[0].is_some_and(|(_, is_ambiguous)| !is_ambiguous));
        assert_eq!(found, [found[0]; 3]);
    }
}
