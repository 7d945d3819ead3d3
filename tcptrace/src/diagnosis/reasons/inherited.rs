//! Whether a process has a connection only because the one that accepted it, or connected, has started it. Pure.

use super::{
    Named,
    facts::{HolderFacts, ReasonFacts},
    reason,
};
use crate::model::{
    connection_side::ConnectionSide,
    owner::Evidence,
    process::ProcessIdentity,
    reason::{Reason, ReasonId, ReasonNumbers},
    verdict::Verdict,
};

/// Whoever is to serve a connection gets it as one of these: standard input, output and error.
const STANDARD: u32 = 2;

/// Whether the holder of a connection, which has not connected and does not listen there, has it from an ancestor that has or
/// does, and runs another program. The service manager hands on what it accepts.
pub(crate) fn comes_from(holder: &ProcessIdentity, opener: &ProcessIdentity, ancestors: &[u32]) -> bool {
    let is_ancestor = opener.pid.visible().is_some_and(|pid| pid != 1 && ancestors.contains(&pid));
    let programs = holder.program().zip(opener.program());
    is_ancestor && programs.is_some_and(|(one, other)| one != other)
}

/// Where none of those who have it has accepted it, or connected.
pub(super) fn inherited(facts: &ReasonFacts<'_>) -> Option<Reason> {
    let is_left = matches!(facts.verdict, Some(Verdict::EofRead | Verdict::EofUnread | Verdict::DataUnread));
    let is_inherited = |holder: &HolderFacts<'_>| {
        holder.evidence == Evidence::FdTable
            && holder.inherited_from.is_some()
            && holder.fds.iter().all(|fd| *fd > STANDARD)
            && !is_used(holder)
    };
    if !is_left || !facts.holders.iter().all(is_inherited) {
        return None;
    }
    let holder = facts.holders.first()?;
    let fd = holder.fds.first()?;
    let (has_not, has) = match facts.side? {
        ConnectionSide::Accepted => ("accept it", "listens there"),
        ConnectionSide::Connected => ("connect", "connected"),
    };
    let text = format!(
        "{} did not {has_not}: it has the descriptor (fd {fd}) from {}, which started it, {has}, and has closed its own",
        Named(holder.process),
        Named(holder.inherited_from?),
    );
    let numbers =
        ReasonNumbers { pid: holder.process.pid.visible(), fd: Some(*fd), ..ReasonNumbers::default() };
    Some(reason(ReasonId::Inherited, text, numbers))
}

/// Whether a thread waits for something to come on it or to go: then it serves the connection, however it got it.
fn is_used(holder: &HolderFacts<'_>) -> bool {
    let calls =
        holder.doing.iter().flat_map(|doing| &doing.threads).filter_map(|thread| thread.call.as_ref());
    calls.flat_map(|call| call.reads_from.iter().chain(&call.writes_to)).any(|fd| holder.fds.contains(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pid::Pid;

    fn process(pid: u32, program: &str) -> ProcessIdentity {
        let exe = Some(format!("/usr/bin/{program}"));
        ProcessIdentity { exe, ..ProcessIdentity::from_name(Pid::new(pid), program) }
    }

    #[test]
    fn only_what_an_ancestor_of_another_program_accepts_is_inherited_from_it() {
        let (server, helper) = (process(81, "server"), process(90, "sleep"));
        assert!(comes_from(&helper, &server, &[85, 81, 1]), "by way of a shell");
        assert!(!comes_from(&helper, &server, &[85, 1]), "another service");
        assert!(!comes_from(&process(90, "server"), &server, &[81]), "a child for the connection");
        assert!(!comes_from(&helper, &process(1, "systemd"), &[1]), "it was handed on");
        let unknown = ProcessIdentity { exe: None, ..process(90, "sleep") };
        assert!(!comes_from(&unknown, &server, &[81]));
    }
}
