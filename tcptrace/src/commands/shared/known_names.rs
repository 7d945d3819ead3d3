//! Checks that the containers, pods and namespaces that were asked for are there: what nobody has would read as "no
//! socket". Says what there is instead.

use std::{cmp::Reverse, fs, path::Path};

use crate::{
    host::world::World,
    model::{
        escape::Escaped,
        owner_criteria::{OwnerCriteria, is_in_container, is_in_namespace, is_in_pod},
        process::ProcessIdentity,
    },
    process::container::running::{RunningContainers, running_containers},
};

/// Names listed of those that are there.
const LISTED: usize = 8;

/// What is said where there are containers and not one has a name.
const UNNAMED: &str = ", and no name of any container could be read: they lie on disk below /proc/1/root";

/// A kind of name that can be asked for.
struct Kind {
    /// `no container is called`.
    lacking: &'static str,
    /// What is there instead, when there is nothing.
    nothing: &'static str,
    remedy: &'static str,
    has: fn(&str, &ProcessIdentity) -> bool,
    title: fn(&ProcessIdentity) -> Option<String>,
}

const CONTAINER: Kind = Kind {
    lacking: "no container that runs on this host is called",
    nothing: "no process here is in a container",
    remedy: "`docker ps`, `podman ps` or `crictl ps` lists them; their ids do as well",
    has: is_in_container,
    title: container_title,
};

const POD: Kind = Kind {
    lacking: "no Kubernetes pod that runs on this host is called",
    nothing: "no process here is known to be in a pod",
    remedy: "`crictl pods` lists those of this node; pods of other nodes are seen from there only",
    has: is_in_pod,
    title: ProcessIdentity::pod_path,
};

const NAMESPACE: Kind = Kind {
    lacking: "no Kubernetes pod that runs on this host is in the namespace",
    nothing: "no process here is known to be in a pod",
    remedy: "`crictl pods` lists those of this node; network namespaces are asked for by --netns",
    has: is_in_namespace,
    title: |process| process.pod_namespace.clone(),
};

/// Within a pod, the name in the pod and the pod's.
fn container_title(process: &ProcessIdentity) -> Option<String> {
    match (process.container_title(), process.pod_path()) {
        (Some(container), Some(pod)) => Some(format!("{container} of pod {pod}")),
        (container, _) => container,
    }
}

/// Checks the names in these criteria against what runs on the host now.
///
/// # Errors
/// When nobody has one of them. Where not every process could be asked, that is only warned of.
pub(crate) fn check(criteria: &OwnerCriteria, world: &World) -> Result<(), String> {
    warn_of_pids(criteria, world);
    let Some(missing) = missing(criteria, || running_containers(world)) else { return Ok(()) };
    if missing.is_certain {
        return Err(missing.text);
    }
    log::warn!("{}; not every process could be asked", missing.text);
    Ok(())
}

/// Warns of names that nobody has yet.
pub(crate) fn warn_of_missing(criteria: &OwnerCriteria, world: &World) {
    warn_of_pids(criteria, world);
    if let Some(missing) = missing(criteria, || running_containers(world)) {
        log::warn!("{}; what comes later is still seen", missing.text);
    }
}

/// Warns of pids that no process has: there may be one in another pid namespace.
fn warn_of_pids(criteria: &OwnerCriteria, world: &World) {
    for pid in &criteria.pids {
        let directory = world.proc.join(pid.to_string());
        if !directory.exists() {
            log::warn!("no process has the pid {pid} in {}, whose numbers count here", world.proc.display());
        } else if let Some(process) = process_of_thread(&directory, *pid) {
            log::warn!(
                "{pid} is a thread of process {process}: sockets belong to processes (--pid {process})"
            );
        }
    }
}

/// The process of a thread, whose directory in /proc is there, but not listed.
fn process_of_thread(directory: &Path, tid: u32) -> Option<u32> {
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
    (process != tid).then_some(process)
}

struct Missing {
    text: String,
    is_certain: bool,
}

fn missing(criteria: &OwnerCriteria, running: impl FnOnce() -> RunningContainers) -> Option<Missing> {
    let OwnerCriteria { pids: _, comms: _, units: _, containers, pods, namespaces } = criteria;
    let asked = [(CONTAINER, containers), (POD, pods), (NAMESPACE, namespaces)];
    if asked.iter().all(|(_, names)| names.is_empty()) {
        return None;
    }
    let RunningContainers { found, is_complete } = running();
    asked.into_iter().find_map(|(kind, names)| {
        let name = names.iter().find(|name| !found.iter().any(|process| (kind.has)(name, process)))?;
        Some(Missing { text: kind.sentence(name, &found), is_certain: is_complete })
    })
}

impl Kind {
    fn sentence(&self, name: &str, found: &[ProcessIdentity]) -> String {
        let mut titles: Vec<String> = found.iter().filter_map(self.title).collect();
        titles.sort_unstable();
        titles.dedup();
        titles.sort_by_key(|title| Reverse(likeness(title, name)));
        let listed: Vec<String> =
            titles.iter().take(LISTED).map(|title| Escaped(title).to_string()).collect();
        let more = match titles.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let is_named = |process: &ProcessIdentity| process.container_name.is_some() || process.pod.is_some();
        let unnamed = if found.is_empty() || found.iter().any(is_named) { "" } else { UNNAMED };
        let there = if listed.is_empty() {
            format!("{}{unnamed}", self.nothing)
        } else {
            format!("there are {}{more}{unnamed}", listed.join(", "))
        };
        format!("{} \"{}\": {there} ({})", self.lacking, Escaped(name), self.remedy)
    }
}

/// How much of its beginning a title, or what is behind its namespace, has in common with a name.
fn likeness(title: &str, name: &str) -> usize {
    let of = |part: &str| part.chars().zip(name.chars()).take_while(|(one, other)| one == other).count();
    title.split_once('/').map_or(0, |(_, behind)| of(behind)).max(of(title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pid::Pid;

    #[test]
    fn a_thread_is_known_with_its_process() {
        let proc = Path::new("/proc");
        let own = std::process::id();
        assert_eq!(process_of_thread(&proc.join(own.to_string()), own), None);
        // A test runs on a thread of its own.
        let tid = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let process = process_of_thread(&proc.join(tid.to_string()), tid);
        assert_eq!(process, (tid != own).then_some(own));
    }

    fn container(id: &str, name: Option<&str>, pod: Option<(&str, &str)>) -> ProcessIdentity {
        let text = |text: &str| Some(text.to_owned());
        ProcessIdentity {
            container: text(id),
            container_name: name.and_then(text),
            pod: pod.and_then(|(_, pod)| text(pod)),
            pod_namespace: pod.and_then(|(namespace, _)| text(namespace)),
            ..ProcessIdentity::from_name(Pid::new(7), "")
        }
    }

    fn found() -> Vec<ProcessIdentity> {
        vec![
            container("0123456789ab", Some("web"), None),
            container("ba9876543210", None, None),
            container("aaaaaaaaaaaa", Some("app"), Some(("shop", "api-1"))),
            container("bbbbbbbbbbbb", Some("app"), Some(("shop", "api-2"))),
        ]
    }

    fn sentence(criteria: &OwnerCriteria) -> Option<String> {
        missing(criteria, || RunningContainers { found: found(), is_complete: true })
            .map(|missing| missing.text)
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_that_somebody_has_are_no_error_and_nobody_is_asked_for_nothing() {
        let mut is_asked = false;
        let ask = || {
            is_asked = true;
            RunningContainers::default()
        };
        assert!(missing(&OwnerCriteria::default(), ask).is_none());
        assert!(!is_asked);
        let criteria = OwnerCriteria {
            containers: names(&["web", "ba98", "app"]),
            pods: names(&["api-1", "shop/api-2"]),
            namespaces: names(&["shop"]),
            ..OwnerCriteria::default()
        };
        assert_eq!(sentence(&criteria), None);
    }

    #[test]
    fn a_name_that_nobody_has_is_told_with_those_that_are_there() {
        let containers =
            OwnerCriteria { containers: names(&["web", "wbe\u{1b}"]), ..OwnerCriteria::default() };
        let text = sentence(&containers).unwrap_or_default();
        assert!(text.starts_with("no container that runs on this host is called \"wbe"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(
            text.contains(
                "there are web (0123456789ab), app (aaaaaaaaaaaa) of pod shop/api-1, \
                 app (bbbbbbbbbbbb) of pod shop/api-2, ba9876543210 ("
            ),
            "{text}"
        );
        let pods = OwnerCriteria { pods: names(&["other/api-1"]), ..OwnerCriteria::default() };
        assert!(sentence(&pods).unwrap_or_default().contains("there are shop/api-1, shop/api-2 ("));
        let unnamed =
            RunningContainers { found: vec![container("ba9876543210", None, None)], is_complete: true };
        let text = missing(&pods, || unnamed).map(|missing| missing.text).unwrap_or_default();
        assert!(text.contains("no name of any container could be read"), "{text}");
        let namespaces = OwnerCriteria { namespaces: names(&["sho"]), ..OwnerCriteria::default() };
        assert!(sentence(&namespaces).unwrap_or_default().contains("\"sho\": there are shop ("));
    }
}
