//! Groups the sockets of a snapshot by what they have in common. Pure.

use std::collections::HashMap;

use crate::model::{
    endpoints::Endpoint,
    process::ProcessIdentity,
    record::{Group, Leak},
};

/// What to group sockets by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GroupBy {
    /// The processes that answer for them
    Process,
    /// The programs, by name, however many processes run them
    Comm,
    /// The systemd units that they run in
    Unit,
    /// The containers that they run in
    Container,
    /// The Kubernetes pods that they run in
    Pod,
    /// The peer: its address, with the port where many sockets go to the same one
    Peer,
    /// The verdict
    Verdict,
    /// The most telling reason
    Reason,
}

impl GroupBy {
    /// Groups the sockets and keeps their order; the largest group comes first.
    pub(crate) fn divide(by: Option<Self>, leaks: Vec<Leak>) -> Vec<Group> {
        let Some(by) = by else {
            return if leaks.is_empty() { Vec::new() } else { vec![Group { title: None, leaks }] };
        };
        let mut to_peer: HashMap<Endpoint, u32> = HashMap::new();
        for leak in &leaks {
            *to_peer.entry(leak.socket.endpoints.remote).or_default() += 1;
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut by_title: HashMap<String, usize> = HashMap::new();
        for leak in leaks {
            let remote = leak.socket.endpoints.remote;
            let title = match by {
                Self::Process => processes(&leak),
                Self::Comm => places(&leak, |process| named(process).to_owned()),
                Self::Unit => places(&leak, unit),
                Self::Container => places(&leak, container),
                Self::Pod => places(&leak, pod),
                // A port with a single socket is a client's ephemeral port.
                Self::Peer if to_peer.get(&remote).is_some_and(|count| *count > 1) => remote.to_string(),
                Self::Peer => remote.address().to_string(),
                Self::Verdict => {
                    leak.verdict.map_or_else(|| "no verdict".to_owned(), |verdict| verdict.to_string())
                }
                Self::Reason => leak
                    .first_reason()
                    .map_or_else(|| "no reason found".to_owned(), |reason| reason.id.to_string()),
            };
            let at = *by_title.entry(title).or_insert_with_key(|title| {
                groups.push(Group { title: Some(title.clone()), leaks: Vec::new() });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(at) {
                group.leaks.push(leak);
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.leaks.len()));
        groups
    }
}

fn processes(leak: &Leak) -> String {
    let names: Vec<String> = leak
        .owners
        .iter()
        .map(|owner| {
            let process = &owner.process;
            match process.place() {
                Some(place) => format!("{} (pid {}) in {place}", named(process), process.pid),
                None => format!("{} (pid {})", named(process), process.pid),
            }
        })
        .collect();
    match leak.unknown_because {
        _ if !names.is_empty() => names.join(", "),
        Some(_) => "holder not known".to_owned(),
        None => "nobody".to_owned(),
    }
}

/// The name of a process, which may have none.
fn named(process: &ProcessIdentity) -> &str {
    if process.comm.is_empty() { "''" } else { &process.comm }
}

/// Where the owners run, each place once.
fn places(leak: &Leak, place: fn(&ProcessIdentity) -> String) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in leak.owners.iter().map(|owner| place(&owner.process)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn unit(process: &ProcessIdentity) -> String {
    process.unit.clone().unwrap_or_else(|| "in no unit".to_owned())
}

/// The container with its pod: containers of many pods have the same name.
fn container(process: &ProcessIdentity) -> String {
    let is_in_one = process.container.is_some() || process.pod.is_some();
    process.place().filter(|_| is_in_one).unwrap_or_else(|| "in no container".to_owned())
}

fn pod(process: &ProcessIdentity) -> String {
    process.pod_path().unwrap_or_else(|| "in no pod".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        endpoints::Endpoints, examples, owner::Owner, pid::Pid, process::ProcessIdentity, socket::Socket,
        verdict::Verdict,
    };

    fn leak(cookie: u64, remote: ([u8; 4], u16), pids: &[u32], verdict: Verdict) -> Leak {
        let owner = |pid: &u32| Owner {
            process: Arc::new(ProcessIdentity { pid: Pid::new(*pid), ..examples::process() }),
            ..examples::owner()
        };
        let endpoints = Endpoints { local: ([10, 0, 0, 1], 80).into(), remote: remote.into() };
        Leak {
            socket: Socket { cookie: Some(cookie), netns: None, endpoints },
            age: None,
            verdict: Some(verdict),
            owners: pids.iter().map(owner).collect(),
            ..examples::leak()
        }
    }

    /// The title of each group, and the cookies in it.
    fn divided(by: Option<GroupBy>) -> Vec<(Option<String>, Vec<Option<u64>>)> {
        let leaks = vec![
            leak(1, ([192, 0, 2, 1], 5432), &[7], Verdict::EofRead),
            leak(2, ([192, 0, 2, 1], 40_001), &[7, 8], Verdict::DataUnread),
            leak(3, ([192, 0, 2, 1], 5432), &[7], Verdict::DataUnread),
            leak(4, ([192, 0, 2, 1], 40_002), &[], Verdict::NoHolder),
        ];
        let cookies = |group: Group| {
            (group.title, group.leaks.iter().map(|leak| leak.socket.cookie).collect::<Vec<_>>())
        };
        GroupBy::divide(by, leaks).into_iter().map(cookies).collect()
    }

    #[test]
    fn sockets_of_the_same_processes_stand_together_in_their_order() {
        let expected =
            [("shop (pid 7)", vec![1, 3]), ("shop (pid 7), shop (pid 8)", vec![2]), ("nobody", vec![4])];
        let expected = expected.map(|(title, cookies)| {
            (Some(title.to_owned()), cookies.into_iter().map(Some).collect::<Vec<_>>())
        });
        assert_eq!(divided(Some(GroupBy::Process)), expected);
    }

    #[test]
    fn a_peers_port_counts_where_many_sockets_go_to_it() {
        let titles =
            |by| divided(by).into_iter().map(|(title, _)| title.unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(titles(Some(GroupBy::Peer)), ["192.0.2.1:5432", "192.0.2.1"]);
        assert_eq!(titles(Some(GroupBy::Verdict)), ["data_unread", "eof_read", "no_holder"]);
    }

    #[test]
    fn the_processes_of_one_program_and_of_no_unit_are_one_group() {
        let sizes = |by| -> Vec<(String, usize)> {
            let groups = divided(Some(by)).into_iter();
            groups.map(|(title, cookies)| (title.unwrap_or_default(), cookies.len())).collect()
        };
        assert_eq!(sizes(GroupBy::Comm), [("shop".to_owned(), 3), ("nobody".to_owned(), 1)]);
        assert_eq!(sizes(GroupBy::Unit), [("in no unit".to_owned(), 3), ("nobody".to_owned(), 1)]);
    }

    #[test]
    fn a_process_without_a_name_has_a_title() {
        let mut nameless = leak(1, ([192, 0, 2, 1], 5432), &[7], Verdict::EofRead);
        for owner in &mut nameless.owners {
            owner.process = Arc::new(ProcessIdentity::from_name(Pid::new(7), ""));
        }
        let title = |by| {
            let groups = GroupBy::divide(Some(by), vec![nameless.clone()]);
            groups.into_iter().next().and_then(|group| group.title)
        };
        assert_eq!(title(GroupBy::Comm).as_deref(), Some("''"));
        assert_eq!(title(GroupBy::Process).as_deref(), Some("'' (pid 7)"));
    }

    #[test]
    fn without_a_wish_there_is_one_group_and_for_nothing_there_is_none() {
        assert_eq!(divided(None), [(None, vec![Some(1), Some(2), Some(3), Some(4)])]);
        assert!(GroupBy::divide(None, Vec::new()).is_empty());
    }
}
