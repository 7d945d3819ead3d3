//! Finds the processes that left a connection to a program they started: who connected, or who listens where it was accepted,
//! among the ancestors of its holder.

use std::{path::Path, sync::Arc};

use rustc_hash::FxHashMap;

use super::{descriptors::DescriptorScan, inspector::Inspector};
use crate::{
    diagnosis::reasons::inherited::comes_from,
    model::{
        finding::Finding, owner::Evidence, pid::Pid, process::ProcessIdentity, state::State, task::OpenedHow,
    },
    process::task_files::lineage,
};

/// Pairs of a holder and an address that are looked at in one look.
const MOST_ASKED: usize = 4_096;

/// A helper is started by way of a shell or two.
const MOST_ANCESTORS: usize = 4;

/// The process that each holder has its sockets of a finding from, by the index of the finding and its pid.
pub(super) fn find(
    inspector: &mut Inspector,
    findings: &[Finding],
    scan: &DescriptorScan,
) -> FxHashMap<(usize, Pid), Arc<ProcessIdentity>> {
    let mut servers: FxHashMap<_, Option<Arc<ProcessIdentity>>> = FxHashMap::default();
    let mut found = FxHashMap::default();
    for (at, finding) in findings.iter().enumerate().filter(|(_, finding)| finding.state == State::CloseWait)
    {
        let connected = finding.opened_by.as_ref().filter(|opened| opened.how == OpenedHow::Connect);
        let client = connected.and_then(|opened| inspector.processes.caller(&opened.called.call));
        if let Some(client) = client {
            let is_heir = |process: &ProcessIdentity| {
                process.pid != client.pid
                    && comes_from(process, &client, &ancestors(&inspector.dumper.world().proc, process))
            };
            let heirs = finding.owners.iter().filter(|owner| is_heir(&owner.process));
            found.extend(heirs.map(|owner| ((at, owner.process.pid), Arc::clone(&client))));
            continue;
        }
        for owner in finding.owners.iter().filter(|owner| owner.evidence == Evidence::FdTable) {
            let process = &owner.process;
            let place = (finding.socket.netns, finding.socket.endpoints.local, process.pid);
            if servers.len() >= MOST_ASKED && !servers.contains_key(&place) {
                continue;
            }
            let server = servers.entry(place).or_insert_with(|| {
                let listeners = scan.listeners_at(&finding.socket);
                if listeners.is_empty() || listeners.contains_key(&process.pid) {
                    return None;
                }
                let ancestors = ancestors(&inspector.dumper.world().proc, process);
                let listening = inspector.processes.owners(&listeners, Evidence::Listener, None);
                let server = listening.iter().find(|one| comes_from(process, &one.process, &ancestors))?;
                Some(Arc::clone(&server.process))
            });
            found.extend(server.as_ref().map(|server| ((at, process.pid), Arc::clone(server))));
        }
    }
    found
}

/// The pids of a process's parent, its parent's, and so on.
fn ancestors(proc_root: &Path, process: &ProcessIdentity) -> Vec<u32> {
    let mut ancestors = Vec::new();
    let mut parent = lineage(proc_root, process).map(|lineage| lineage.parent);
    while let Some(pid) = parent.filter(|pid| *pid > 1 && ancestors.len() < MOST_ANCESTORS) {
        ancestors.push(pid);
        let next = ProcessIdentity::from_name(Pid::new(pid), "");
        parent = lineage(proc_root, &next).map(|lineage| lineage.parent);
    }
    ancestors
}
