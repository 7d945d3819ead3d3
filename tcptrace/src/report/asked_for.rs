//! What a session asked for, by its command line, if it lists the sockets in CLOSE_WAIT that are there. Pure.

use std::{iter::Peekable, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::session_kind::{SessionKind, follows_close_wait};
use crate::model::{
    criteria::{Criteria, Family, Side},
    state::{State, StateSet},
};

/// What `leaks` and `trace` take for stuck unless told otherwise.
const THRESHOLD: Duration = Duration::from_secs(10);

/// What a session asked for that lists the sockets in CLOSE_WAIT which are there; `None` for others, and where the command
/// line does not tell. Recordings have that as one text, without the quotation marks.
pub(crate) fn asked_for(kind: SessionKind, command: &[String]) -> Option<Criteria> {
    let words: Vec<&str> = command.iter().flat_map(|part| part.split_whitespace()).skip(1).collect();
    let older_than = match kind {
        SessionKind::Now => Duration::ZERO,
        SessionKind::Leaks => THRESHOLD,
        SessionKind::Trace if follows_close_wait(&words) => THRESHOLD,
        SessionKind::Trace | SessionKind::TimeWait | SessionKind::Clear | SessionKind::Other => return None,
    };
    let mut asked = Criteria { older_than, ..Criteria::default() };
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(option), _) => take_long(&mut asked, option, &mut words)?,
            (None, Some(letters)) => take_short(&mut asked, letters),
            (None, None) => {}
        }
    }
    let has_close_wait = asked.states == StateSet::default() || asked.states.contains(State::CloseWait);
    has_close_wait.then_some(asked)
}

/// Takes an option with the value that is in it or behind it; `None` where that makes no sense.
fn take_long<'a>(
    asked: &mut Criteria,
    option: &'a str,
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
) -> Option<()> {
    let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    let mut value = || value.or_else(|| words.next());
    match name {
        "port" => asked.ports.push((value()?.parse().ok()?, Side::Either)),
        "lport" => asked.ports.push((value()?.parse().ok()?, Side::Local)),
        "rport" => asked.ports.push((value()?.parse().ok()?, Side::Remote)),
        "addr" => {
            let range = value()?;
            let address = || range.parse::<IpAddr>().ok().map(IpNet::from);
            asked.addresses.push(range.parse().ok().or_else(address)?);
        }
        "netns" => asked.netns.push(value()?.parse().ok()?),
        "pid" => asked.owners.pids.push(value()?.parse().ok()?),
        "comm" => asked.owners.comms.push(value()?.to_owned()),
        "unit" => asked.owners.units.push(value()?.to_owned()),
        "container" => asked.owners.containers.push(value()?.to_owned()),
        "pod" => asked.owners.pods.push(value()?.to_owned()),
        "namespace" => asked.owners.namespaces.push(value()?.to_owned()),
        "state" => asked.states = asked.states.union([value()?.parse().ok()?].into_iter().collect()),
        "older-than" => {
            asked.older_than = humantime::parse_duration(value()?).ok()?;
            // `1h 30m` is two words here.
            while let Some(more) = words.peek().and_then(|word| humantime::parse_duration(word).ok()) {
                asked.older_than += more;
                words.next();
            }
        }
        _ => {}
    }
    Some(())
}

/// Takes letters that stand behind one dash.
fn take_short(asked: &mut Criteria, letters: &str) {
    // The rest is the name of a file.
    for letter in letters.chars().take_while(|letter| *letter != 'o') {
        match letter {
            '4' => asked.family = Some(Family::V4),
            '6' => asked.family = Some(Family::V6),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: SessionKind, command: &str) -> Option<Criteria> {
        asked_for(kind, &[command.to_owned()])
    }

    #[test]
    fn only_sessions_that_list_the_sockets_in_close_wait_would_show_one() {
        use SessionKind::{Clear, Leaks, Now, TimeWait, Trace};
        let lists = |kind, command| asked(kind, command).is_some();
        assert!(lists(Leaks, "tcptrace leaks -o a.tct -q"));
        assert!(lists(Now, "tcptrace now --state LISTEN --state=CLOSE_WAIT"));
        assert!(!lists(Now, "tcptrace now --state LISTEN"));
        assert!(lists(Trace, "tcptrace trace --owners"));
        assert!(lists(Trace, "tcptrace trace -o x.tct"));
        assert!(!lists(Trace, "tcptrace trace -o x.jsonl"), "who stays makes no transition");
        assert!(!lists(Trace, "tcptrace trace --state ESTABLISHED -o x.tct"));
        assert!(!lists(TimeWait, "tcptrace time-wait"));
        assert!(!lists(Clear, "tcptrace clear --yes"));
        // A name says which namespace it is on the host alone.
        assert!(!lists(Now, "tcptrace now --netns blue"));
    }

    #[test]
    fn the_command_line_says_what_was_asked_for() {
        let now = |options: &str| asked(SessionKind::Now, &format!("tcptrace now {options}"));
        let ports = vec![(80, Side::Either), (81, Side::Local), (9, Side::Remote)];
        assert_eq!(now("--port 80 --lport=81 --rport 9").map(|asked| asked.ports), Some(ports));
        let addresses = ["10.0.0.0/8", "::1/128"].iter().filter_map(|range| range.parse().ok()).collect();
        assert_eq!(now("--addr 10.0.0.0/8 --addr ::1").map(|asked| asked.addresses), Some(addresses));
        assert_eq!(now("--netns 5").map(|asked| asked.netns), Some(vec![5]));
        assert_eq!(now("-q4").and_then(|asked| asked.family), Some(Family::V4));
        assert_eq!(now("-o4.tct").and_then(|asked| asked.family), None);
        let owners = now("--pid 7 --comm shop --unit a --container b --pod c --namespace d");
        let owners = owners.map(|asked| asked.owners).unwrap_or_default();
        assert_eq!((owners.pids, owners.comms), (vec![7], vec!["shop".to_owned()]));
        assert_eq!(
            [owners.units, owners.containers, owners.pods, owners.namespaces],
            [["a"], ["b"], ["c"], ["d"]]
        );
        let older = |options: &str| now(options).map(|asked| asked.older_than.as_secs());
        assert_eq!(older("--older-than 1h 30m -q"), Some(5_400));
        assert_eq!([older("--older-than=10m"), older("")], [Some(600), Some(0)]);
        assert_eq!(asked(SessionKind::Leaks, "tcptrace").map(|asked| asked.older_than), Some(THRESHOLD));
    }
}
