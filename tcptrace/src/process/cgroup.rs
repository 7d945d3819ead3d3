//! Parses `/proc/PID/cgroup`: the path to show, the systemd unit, the container.
//!
//! Pure: no I/O, and any text gives a value. Format: cgroups(7).

/// What the cgroups of a process say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CgroupMembership {
    /// The path of the most informative hierarchy. Hosts with cgroup v1, alone or beside v2 (hybrid), have
    /// several, and any of them may be `/`.
    pub path: Option<String>,
    /// The innermost systemd service or scope, by the name that `systemctl status` takes, with its escapes
    /// (`\x2d`). Inside a user session it is a unit of the user's manager. A container's scope counts as the
    /// container instead.
    pub unit: Option<String>,
    /// The first 12 digits of the container's id, as `docker ps` prints them, or its name for runtimes with names (LXC,
    /// systemd-nspawn).
    pub container: Option<String>,
}

/// Length of a container id in hexadecimal digits, for every runtime with ids.
const ID_DIGITS: usize = 64;
/// The digits that `docker ps` shows.
const SHORT_ID_DIGITS: usize = 12;

/// Parses the text of `/proc/PID/cgroup`.
///
/// All three values come from one hierarchy: the first that names a container, else the first that names a
/// unit, else the first other than `/`. Mixing hierarchies would be wrong: on a hybrid host, Docker leaves
/// `0::` in its own service while the others show the container.
#[must_use]
pub(crate) fn parse(text: &str) -> CgroupMembership {
    let hierarchies = hierarchies(text);
    let first = |tells: fn(&str) -> bool| hierarchies.iter().copied().find(|path| tells(path));
    let path = first(|path| container(path).is_some())
        .or_else(|| first(|path| unit(path).is_some()))
        .or_else(|| first(|path| path != "/"))
        .or_else(|| hierarchies.first().copied());
    CgroupMembership {
        path: path.map(str::to_owned),
        unit: path.and_then(unit),
        container: path.and_then(container),
    }
}

/// The paths, systemd's own hierarchies first: cgroup v2 (`0::path`), then `name=systemd`. Lines are
/// `id:controllers:path`; the path may contain colons.
fn hierarchies(text: &str) -> Vec<&str> {
    let mut ranked: Vec<(u8, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            // The kernel appends this when the directory was removed under the process.
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            let rank = match (id, controllers) {
                ("0", "") => 0,
                (_, "name=systemd") => 1,
                _ => 2,
            };
            path.starts_with('/').then_some((rank, path))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, path)| path).collect()
}

fn unit(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|name| {
        // systemd prefixes `_` to names that clash with its own or the kernel's (cg_escape).
        let name = name.strip_prefix('_').unwrap_or(name);
        let stem = name.strip_suffix(".service").or_else(|| name.strip_suffix(".scope"))?;
        let is_unit = !stem.is_empty() && named_container(name).is_none() && !is_monitor(name);
        is_unit.then(|| name.to_owned())
    })
}

/// The innermost container of a path.
fn container(path: &str) -> Option<String> {
    let mut outwards = path.rsplit('/').peekable();
    while let Some(name) = outwards.next() {
        // LXC before 4.0 used /lxc/NAME.
        let below_lxc = outwards.peek() == Some(&"lxc") && !name.is_empty();
        if below_lxc {
            return Some(name.to_owned());
        }
        if let Some(found) = named_container(name) {
            return Some(found);
        }
        if let Some(machine) =
            name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
        {
            return non_empty(unescape(machine));
        }
    }
    None
}

/// The container that a path component stands for. The id is the whole component (`/docker/ID`,
/// `/kubepods/burstable/podUID/ID`, `/ecs/TASK/ID`) or follows the runtime's prefix (`docker-ID.scope`,
/// `libpod-ID.scope`, `libpod-payload-ID`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `kubepods-podUID.slice:cri-containerd:ID`).
fn named_container(name: &str) -> Option<String> {
    if is_monitor(name) {
        return None;
    }
    if let Some(machine) = name.strip_prefix("lxc.payload.") {
        return non_empty(machine.to_owned());
    }
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    if let Some(machine) = name.strip_suffix(".scope").and_then(|stem| stem.strip_prefix("machine-")) {
        // Registered with systemd-machined. Virtual machines of libvirt are not containers.
        return if machine.starts_with("qemu") { None } else { non_empty(unescape(machine)) };
    }
    let digits = stem.rsplit(['-', ':']).next()?;
    let is_id = digits.len() == ID_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_id.then(|| digits.chars().take(SHORT_ID_DIGITS).collect())
}

/// Whether the component belongs to a container's monitor, which runs outside it: conmon of Podman and CRI-O,
/// `lxc-start` of LXC.
fn is_monitor(name: &str) -> bool {
    ["libpod-conmon-", "crio-conmon-", "lxc.monitor."].iter().any(|prefix| name.starts_with(prefix))
}

fn non_empty(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
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
