//! Judges the records about a leak whose truth is known: right or wrong, nothing in between.

use std::fmt::Write as _;

use serde_json::Value;

use super::truth::Truth;

/// Pids of holders and their descriptors, sorted.
type Holders = Vec<(i64, Vec<i64>)>;

/// Judges all `leak` records about one socket.
///
/// # Errors
/// What is wrong.
pub(crate) fn judge(truth: &Truth, leaks: &[&Value]) -> Result<(), String> {
    judge_reported(truth, truth.is_to_be_reported(), leaks)
}

/// As [`judge`], for a list of everything in CLOSE_WAIT, where a legitimate half-close is listed too.
///
/// # Errors
/// What is wrong.
pub(crate) fn judge_listed(truth: &Truth, leaks: &[&Value]) -> Result<(), String> {
    judge_reported(truth, truth.verdict.is_some(), leaks)
}

fn judge_reported(truth: &Truth, is_to_be_reported: bool, leaks: &[&Value]) -> Result<(), String> {
    if !is_to_be_reported {
        return match leaks {
            [] => Ok(()),
            _ => Err(format!("is reported but is no leak: {}", leaks[0])),
        };
    }
    let [leak] = leaks else {
        return Err(format!("is reported {} times{}", leaks.len(), shown(leaks)));
    };
    let mut wrong = Vec::new();
    let mut differ = |what: &str, actual: String, expected: String| {
        if actual != expected {
            wrong.push(format!("{what}: expected {expected}, is {actual}"));
        }
    };
    let (held, others) = named(leak);
    differ("holders", format!("{held:?}"), format!("{:?}", holders(truth)));
    let expected = truth.verdict.as_deref().unwrap_or_default();
    // On an MPTCP connection the kernel does not count an unread end of file, so nobody can know whether it was read:
    // the only right answer is "not known".
    let is_mptcp = truth.case.starts_with("mptcp");
    let verdict = if is_mptcp { "null".to_owned() } else { format!("{expected:?}") };
    differ("verdict", leak["verdict"].to_string(), verdict);
    let is_over = expected == "connection_over";
    differ("state", leak["state"].to_string(), format!("{:?}", if is_over { "CLOSE" } else { "CLOSE_WAIT" }));
    if is_over {
        let how = truth.ended.as_ref().map_or("null".to_owned(), |how| format!("{how:?}"));
        differ("over.how", leak["over"]["how"].to_string(), how);
        differ("close_wait_ns", leak["close_wait_ns"].to_string(), "null".to_owned());
        differ("other_end", leak["other_end"].to_string(), "null".to_owned());
    } else if truth.peer_is_elsewhere {
        differ("other_end", leak["other_end"].to_string(), "null".to_owned());
    } else if !is_mptcp {
        differ("over", leak["over"].to_string(), "null".to_owned());
        // Of very many, the tool does not look up all.
        if truth.case != "many" || !leak["other_end"].is_null() {
            let closed = (!truth.peer_waits).to_string();
            differ("other_end.closed", leak["other_end"]["closed"].to_string(), closed);
        }
        let waiting: Vec<i32> = truth.peer_waits.then_some(truth.peer_pid).into_iter().collect();
        let peers = leak["other_end"]["owners"].as_array().into_iter().flatten();
        let peers: Vec<i64> = peers.filter_map(|owner| owner["pid"].as_i64()).collect();
        differ("pids of other_end.owners", format!("{peers:?}"), format!("{waiting:?}"));
    }
    if let Some(cookie) = truth.cookie {
        differ("cookie", leak["cookie"].to_string(), cookie.to_string());
    }
    for field in ["netns", "family"] {
        let expected = if field == "netns" { truth.netns } else { u64::from(truth.family) };
        differ(field, leak[field].to_string(), expected.to_string());
    }
    // Where nobody holds the socket, the tool may name its opener, which may hold it no longer.
    let opener = truth.opener.as_ref().map(|opener| i64::from(opener.pid));
    let user = truth.used_by.as_ref().map(|used_by| i64::from(used_by.pid));
    let is_surplus = |pid: &i64| !held.is_empty() || (Some(*pid) != opener && Some(*pid) != user);
    let surplus: Vec<i64> = others.into_iter().filter(is_surplus).collect();
    differ("named without holding it", format!("{surplus:?}"), "[]".to_owned());
    let evidence = if expected == "never_accepted" { "listener" } else { "fd_table" };
    for owner in leak["owners"].as_array().into_iter().flatten().filter(|_| !held.is_empty()) {
        differ("evidence", owner["evidence"].to_string(), format!("{evidence:?}"));
    }
    if let Some(used_by) = &truth.used_by {
        let owners = leak["owners"].as_array().into_iter().flatten();
        let named: Vec<(i64, &str)> = owners
            .map(|owner| {
                (owner["pid"].as_i64().unwrap_or(-1), owner["evidence"].as_str().unwrap_or_default())
            })
            .collect();
        let expected = [(i64::from(used_by.pid), used_by.evidence.as_str())];
        differ("used by", format!("{named:?}"), format!("{expected:?}"));
    }
    if let Some(cgroup) = &truth.cgroup {
        differ("cgroup", leak["owners"][0]["cgroup"].to_string(), format!("{cgroup:?}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}{}", wrong.join("; "), shown(leaks))) }
}

fn shown(leaks: &[&Value]) -> String {
    let mut text = String::new();
    for leak in leaks {
        write!(text, "\n      {leak}").unwrap();
    }
    text
}

fn holders(truth: &Truth) -> Holders {
    let mut holders: Holders = truth
        .holders
        .iter()
        .map(|holder| {
            let mut fds: Vec<i64> = holder.fds.iter().copied().map(i64::from).collect();
            fds.sort_unstable();
            (i64::from(holder.pid), fds)
        })
        .collect();
    holders.sort();
    holders
}

/// The owners that a record says have a descriptor, and those it names beside them.
fn named(leak: &Value) -> (Holders, Vec<i64>) {
    let (mut held, mut others) = (Holders::new(), Vec::new());
    for owner in leak["owners"].as_array().into_iter().flatten() {
        let pid = owner["pid"].as_i64().unwrap_or(-1);
        let mut fds: Vec<i64> =
            owner["fds"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
        fds.sort_unstable();
        if owner["evidence"] == "fd_table" || owner["evidence"] == "listener" {
            held.push((pid, fds));
        } else {
            others.push(pid);
        }
    }
    held.sort();
    (held, others)
}
