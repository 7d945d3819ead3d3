//! Recognises the container that a path of cgroups stands for, and what else the path says about it.
//!
//! Pure: no I/O, and any text gives a value. A directory that merely looks similar is no container: each shape needs
//! what its runtime puts beside it.

/// Length of an id of Docker, Podman, CRI-O and containerd's CRI in hexadecimal digits.
const DIGEST_DIGITS: usize = 64;
/// The digits that `docker ps` shows.
const SHORT_ID_DIGITS: usize = 12;
/// Characters of a name in containerd at most (`identifiers.Validate`).
const MAX_IDENTIFIER: usize = 76;

/// How the units of systemd-nspawn begin.
const NSPAWN: &str = "systemd-nspawn@";

/// A container as its runtime names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ContainerId {
    /// 64 hexadecimal digits.
    Digest(String),
    /// An id of another shape: of ECS on Fargate, Garden, or BuildKit.
    Handle(String),
    /// The name that people use: of LXC, systemd-nspawn, and of containerd's `ctr`.
    Name(String),
}

impl ContainerId {
    /// As records show it: the first twelve digits of a digest, as `docker ps` prints them, and all else in full. The
    /// ids of ECS begin with the task's, which its containers have in common.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Digest(digits) => digits.chars().take(SHORT_ID_DIGITS).collect(),
            Self::Handle(id) | Self::Name(id) => id.clone(),
        }
    }
}

/// A container and what its path says of where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ContainerCgroup {
    pub id: ContainerId,
    /// The uid of its Kubernetes pod, with dashes.
    pub pod_uid: Option<String>,
    /// The user in whose session it runs, for runtimes without root.
    pub user: Option<u32>,
}

/// A path that containerd gives to a container when nobody chose another: `/NAMESPACE/ID` (`populateDefaultUnixSpec`).
/// Other programs make such paths too, so it is a container only where containerd says so on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TaskPath {
    pub namespace: String,
    pub id: String,
}

/// The innermost container of a path.
pub(crate) fn container(path: &str) -> Option<ContainerCgroup> {
    let parts = parts(path);
    (0..parts.len()).rev().find_map(|at| {
        let (above, name) = (parts.get(..at)?, *parts.get(at)?);
        let id = container_id(name, above)?;
        Some(ContainerCgroup { id, pod_uid: pod_uid(above, name), user: user(above) })
    })
}

/// The first two parts of a path, if containerd may have made it.
pub(crate) fn task_path(path: &str) -> Option<TaskPath> {
    let parts = parts(path);
    let [namespace, id, ..] = parts[..] else { return None };
    let is_of_systemd =
        |name: &str| [".slice", ".scope", ".service"].iter().any(|ending| name.ends_with(ending));
    let is_possible = |name: &str| is_identifier(name) && !is_of_systemd(name);
    (is_possible(namespace) && is_possible(id))
        .then(|| TaskPath { namespace: namespace.to_owned(), id: id.to_owned() })
}

/// Whether the component is what a runtime makes of a container, or belongs to a container's monitor, which runs outside
/// of it. None of them is a unit of its own, but the service of systemd-nspawn is one, and the scope of a monitor.
pub(crate) fn is_of_runtime(name: &str) -> bool {
    (is_monitor(name) && name.strip_suffix(".scope").is_none())
        || (!name.starts_with(NSPAWN) && container_id(name, &[]).is_some())
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

fn container_id(name: &str, above: &[&str]) -> Option<ContainerId> {
    if is_monitor(name) {
        return None;
    }
    by_name(name, above.last().copied())
        .or_else(|| digest(name).map(ContainerId::Digest))
        .or_else(|| handle(name, above).map(ContainerId::Handle))
}

/// LXC: `/lxc/NAME` until 3.0, `/lxc.payload/NAME` until 3.2, `/lxc.payload.NAME` since. systemd-nspawn: its unit, or
/// the scope of a machine registered with systemd-machined; virtual machines of libvirt are not containers.
fn by_name(name: &str, parent: Option<&str>) -> Option<ContainerId> {
    let machine = if let Some("lxc" | "lxc.payload") = parent {
        name.to_owned()
    } else if let Some(machine) = name.strip_prefix("lxc.payload.") {
        machine.to_owned()
    } else if let Some(machine) = between(name, "machine-", ".scope") {
        if machine.starts_with("qemu") {
            return None;
        }
        unescape(machine)
    } else {
        unescape(between(name, NSPAWN, ".service")?)
    };
    Some(machine).filter(|machine| !machine.is_empty()).map(ContainerId::Name)
}

fn between<'a>(name: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.strip_suffix(suffix)
}

/// The whole component (`/docker/ID`, `/kubepods/burstable/podUID/ID`, `/ecs/TASK/ID`, any parent that an operator
/// chose) or behind the runtime's prefix (`docker-ID.scope`, `libpod-ID.scope`, `libpod-payload-ID`,
/// `cri-containerd-ID.scope`, `crio-ID.scope`, `nerdctl-ID.scope`, `kubepods-podUID.slice:cri-containerd:ID`). Scopes of
/// desktops (`app-…`) and of systemd-run (`run-…`) may end in any digits, and a service ends in `.service`.
fn digest(name: &str) -> Option<String> {
    let scope = name.strip_suffix(".scope");
    if scope.is_some_and(|name| ["app-", "run-"].iter().any(|prefix| name.starts_with(prefix))) {
        return None;
    }
    let stem = scope.unwrap_or(name);
    let digits = stem.rsplit(['-', ':']).next()?;
    is_hex(digits, DIGEST_DIGITS).then(|| digits.to_owned())
}

/// Ids of other shapes, each below what its runtime has for a parent:
///
/// - ECS on Fargate: `/ecs/TASK/TASK-NUMBER`, also without the task, or with the cluster before it;
///   `ecstasks.slice/ecstasks-TASK.slice/` with cgroup v2.
/// - Garden: `/garden/HANDLE`, `/garden/good/HANDLE` and `/garden/bad/HANDLE` where it throttles CPUs, `/garden-TAG/…`,
///   each also below `system.slice/garden.service`, where privileged containers are without a `garden` of their own.
/// - BuildKit: `/buildkit/ID`, `/docker/buildkit/ID`, and `docker-ID.scope` or `buildkit-ID.scope` with systemd.
fn handle(name: &str, above: &[&str]) -> Option<String> {
    let is_of_ecs = || above.iter().any(|part| *part == "ecs" || part.starts_with("ecstasks"));
    if is_fargate_id(name) && is_of_ecs() {
        return Some(name.to_owned());
    }
    let parent = match above {
        [.., parent, "good" | "bad"] | [.., parent] => Some(*parent),
        [] => None,
    };
    let is_garden =
        |parent: &str| parent == "garden" || parent == "garden.service" || parent.starts_with("garden-");
    if is_garden_handle(name) && parent.is_some_and(is_garden) {
        return Some(name.to_owned());
    }
    let build = if above.last() == Some(&"buildkit") {
        Some(name)
    } else {
        between(name, "docker-", ".scope").or_else(|| between(name, "buildkit-", ".scope"))
    };
    build.filter(|id| is_build_id(id)).map(str::to_owned)
}

/// 32 hexadecimal digits of the task, a dash, and a number.
fn is_fargate_id(name: &str) -> bool {
    let Some((task, number)) = name.split_once('-') else { return false };
    is_hex(task, 32) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// A UUID; one whose last group is cut to four digits, as Cloud Foundry names the instances of applications; or the
/// eleven digits to the base of 32 that Garden makes up for itself.
fn is_garden_handle(name: &str) -> bool {
    let groups: Vec<&str> = name.split('-').collect();
    let has_lengths = |lengths: [usize; 5]| {
        groups.len() == lengths.len()
            && groups.iter().zip(lengths).all(|(group, length)| is_hex(group, length))
    };
    let is_own = || {
        name.len() == 11 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'v').contains(&byte))
    };
    has_lengths([8, 4, 4, 4, 12]) || has_lengths([8, 4, 4, 4, 4]) || is_own()
}

/// 25 digits to the base of 36 (`identity.NewID`).
fn is_build_id(name: &str) -> bool {
    name.len() == 25 && name.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// Lowercase hexadecimal digits, so many.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A name that containerd takes for a namespace and a container.
fn is_identifier(name: &str) -> bool {
    name.len() <= MAX_IDENTIFIER
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether the component belongs to a container's monitor: conmon of Podman and CRI-O, `lxc-start` of LXC.
fn is_monitor(name: &str) -> bool {
    ["libpod-conmon-", "crio-conmon-", "lxc.monitor."].iter().any(|prefix| name.starts_with(prefix))
}

/// The uid of the pod, from the kubelet's directory for it: `kubepods/burstable/podUID`,
/// `kubepods-burstable-podUID.slice` with systemd, which takes no dashes, or both the pod and the container in one
/// component.
fn pod_uid(above: &[&str], name: &str) -> Option<String> {
    if !above.iter().any(|part| part.contains("kubepods")) && !name.contains("kubepods") {
        return None;
    }
    let own = name.split_once(':').map(|(pod, _)| pod);
    own.into_iter().chain(above.iter().rev().copied()).find_map(|part| {
        let stem = part.strip_suffix(".slice").unwrap_or(part);
        let uid = stem.strip_prefix("pod").or_else(|| stem.rsplit_once("-pod").map(|(_, uid)| uid))?;
        (uid.len() >= 8 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-' || byte == b'_'))
            .then(|| uid.replace('_', "-"))
    })
}

fn user(above: &[&str]) -> Option<u32> {
    above.iter().rev().find_map(|part| between(part, "user-", ".slice")?.parse().ok())
}

/// Undoes systemd's `\xHH` (systemd.unit(5), "String escaping").
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [b'x', high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = behind;
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of a hexadecimal digit.
fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        _ => (character | 0x20).saturating_sub(b'a') + 10,
    }
}

#[cfg(test)]
mod tests;
