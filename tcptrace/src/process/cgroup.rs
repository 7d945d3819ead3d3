//! Reads the text of `/proc/PID/cgroup`: the path to show, the systemd unit, the container.
//!
//! Pure: no I/O, and any text gives a value. Text format: cgroups(7).

/// What the cgroup of a process says about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CgroupMembership {
    /// The path of the hierarchy that tells most. A host with cgroup v1, or with v1 and v2 side by side
    /// (hybrid), has several, and any of them may be `/`.
    pub path: Option<String>,
    /// The innermost systemd service or scope under its own name, which is the one `systemctl status` takes: escapes
    /// (`\x2d`) are part of it. Inside a user session it is a unit of that user's manager. A
    /// container's scope is told as the container instead.
    pub unit: Option<String>,
    /// The first 12 digits of the container's id, as `docker ps` prints them, or the container's name
    /// where the runtime has names (LXC, systemd-nspawn).
    pub container: Option<String>,
}

/// Length of a container id in hexadecimal digits, in every runtime that uses ids.
const ID_DIGITS: usize = 64;
/// As many digits as `docker ps` shows.
const SHORT_ID_DIGITS: usize = 12;

/// Understands the text of `/proc/PID/cgroup`.
///
/// All three answers come from one hierarchy: the first that names a container, else the first that
/// names a unit, else the first that is not `/`. Mixed answers would be wrong: Docker on a hybrid host
/// leaves `0::` in its own service while the other hierarchies show the container.
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

/// The paths, those that systemd keeps first: cgroup v2 (`0::path`), then `name=systemd`. Lines are
/// `id:controllers:path`; the path may itself contain colons.
fn hierarchies(text: &str) -> Vec<&str> {
    let mut ranked: Vec<(u8, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            // The kernel adds this when the directory was removed under the process.
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
        // systemd puts a `_` before names that the kernel or it uses otherwise (cg_escape).
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
        // LXC before 4.0 made /lxc/NAME.
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

/// The container that one directory of the path stands for. The id is the whole name
/// (`/docker/ID`, `/kubepods/burstable/podUID/ID`, `/ecs/TASK/ID`), or ends it after the runtime's prefix
/// (`docker-ID.scope`, `libpod-ID.scope`, `libpod-payload-ID`, `cri-containerd-ID.scope`,
/// `crio-ID.scope`, `kubepods-podUID.slice:cri-containerd:ID`).
fn named_container(name: &str) -> Option<String> {
    if is_monitor(name) {
        return None;
    }
    if let Some(machine) = name.strip_prefix("lxc.payload.") {
        return non_empty(machine.to_owned());
    }
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    if let Some(machine) = name.strip_suffix(".scope").and_then(|stem| stem.strip_prefix("machine-")) {
        // Registered with systemd-machined; libvirt's virtual machines are no containers.
        return if machine.starts_with("qemu") { None } else { non_empty(unescape(machine)) };
    }
    let digits = stem.rsplit(['-', ':']).next()?;
    let is_id = digits.len() == ID_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_id.then(|| digits.chars().take(SHORT_ID_DIGITS).collect())
}

/// Whether the directory is that of a container's monitor, which runs outside of it: conmon of Podman
/// and CRI-O, `lxc-start` of LXC.
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
#[path = "cgroup_tests.rs"]
mod tests;
