//! The filters that commands share, and the criteria they mean on this host. Applies none of them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use clap::Args;
use ipnet::IpNet;

use super::values;
use crate::{
    kernel,
    model::{
        criteria::{Criteria, Family, Side},
        owner_criteria::OwnerCriteria,
        state::StateSet,
    },
};

/// Which connections are wanted; applied in the kernel, except for the namespace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters on the connection (repeatable; any of a kind, all kinds together)")]
pub(crate) struct Filters {
    /// Port on either side
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    port: Vec<u16>,
    /// Local port
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    lport: Vec<u16>,
    /// Remote port; 0: of listeners, which have none
    #[arg(long, value_name = "PORT", value_parser = values::remote_port)]
    rport: Vec<u16>,
    /// Address of either side, or a range of them
    #[arg(long, value_name = "CIDR", value_parser = values::address_range)]
    addr: Vec<IpNet>,
    /// IPv4 only (an IPv4-mapped address counts as IPv4)
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    ipv6: bool,
    /// Network namespace: its inode number, its name in /run/netns, or a file like /proc/PID/ns/net
    #[arg(long, value_name = "NETNS")]
    netns: Vec<String>,
}

impl Filters {
    /// The criteria on states, connections and namespaces; namespaces are kept by name in `run_netns`.
    ///
    /// # Errors
    /// When there are more ports or addresses than the kernel side holds, or a namespace is not found.
    pub(crate) fn resolve(&self, states: StateSet, run_netns: &Path) -> Result<Criteria, String> {
        let Self { port, lport, rport, addr, ipv4, ipv6, netns } = self;
        let on = |side: Side| move |port: &u16| (*port, side);
        let either = port.iter().map(on(Side::Either));
        let ports = either.chain(lport.iter().map(on(Side::Local))).chain(rport.iter().map(on(Side::Remote)));
        let family = match (ipv4, ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        let mut criteria = Criteria {
            states,
            family,
            ports: ports.collect(),
            addresses: addr.clone(),
            ..Criteria::default()
        };
        kernel::check_rules(&criteria).map_err(|error| error.to_string())?;
        criteria.netns = netns.iter().map(|name| namespace(name, run_netns)).collect::<Result<_, _>>()?;
        Ok(criteria)
    }
}

/// The inode number of a namespace that was named in one of three ways.
fn namespace(name: &str, run_netns: &Path) -> Result<u32, String> {
    if let Ok(inode) = name.parse() {
        return Ok(inode);
    }
    let path = if name.contains('/') { Path::new(name).to_owned() } else { run_netns.join(name) };
    let inode = fs::metadata(&path).ok().and_then(|metadata| u32::try_from(metadata.ino()).ok());
    match inode {
        Some(inode) if is_namespace(&path) => Ok(inode),
        Some(_) => Err(format!("{} is no network namespace: {SEE}", path.display())),
        None => Err(format!("there is no network namespace {}: {SEE}", path.display())),
    }
}

/// What lists the namespaces that there are.
const SEE: &str = "see `ip netns` and `lsns -t net`";

/// `NSFS_MAGIC` of include/uapi/linux/magic.h.
const NSFS: rustix::fs::FsWord = 0x6e73_6673;

/// Whether a file is a network namespace. Of a bind mount the kind is not known.
fn is_namespace(path: &Path) -> bool {
    let is_of_nsfs = rustix::fs::statfs(path).is_ok_and(|of| of.f_type == NSFS);
    let is_other_kind = fs::read_link(path).is_ok_and(|link| {
        link.to_str().is_some_and(|kind| kind.contains(":[") && !kind.starts_with("net:["))
    });
    is_of_nsfs && !is_other_kind
}

/// Whose sockets are wanted; applied once the owners are known.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters on the owner (repeatable; any of a kind, all kinds together)")]
pub(crate) struct OwnerFilters {
    /// Process
    #[arg(long, value_name = "PID", value_parser = values::pid)]
    pid: Vec<u32>,
    /// Name of the process, as `ps -o comm` prints it
    #[arg(long, value_name = "NAME", value_parser = values::comm)]
    comm: Vec<String>,
    /// Systemd unit, with or without its ending
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,
    /// Container: its name, or the beginning of its id
    #[arg(long, value_name = "NAME|ID")]
    container: Vec<String>,
    /// Kubernetes pod: its name, or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pod: Vec<String>,
    /// Namespace in Kubernetes (network namespaces: --netns)
    #[arg(long, value_name = "NAME")]
    namespace: Vec<String>,
}

impl OwnerFilters {
    /// The criteria on owners.
    pub(crate) fn resolve(&self) -> OwnerCriteria {
        let Self { pid, comm, unit, container, pod, namespace } = self;
        OwnerCriteria {
            pids: pid.clone(),
            comms: comm.clone(),
            units: unit.clone(),
            containers: container.clone(),
            pods: pod.clone(),
            namespaces: namespace.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_network_namespace_is_refused() {
        let none = Path::new("/run/netns");
        let own = fs::metadata("/proc/self/ns/net").map(|metadata| metadata.ino());
        assert_eq!(
            namespace("/proc/self/ns/net", none).map(u64::from),
            own.map_err(|error| error.to_string())
        );
        assert_eq!(namespace("4026531840", none), Ok(4_026_531_840));
        for other in ["/proc/self/ns/pid", "/proc/self/status", "/"] {
            let refused = namespace(other, none).err().unwrap_or_default();
            assert!(refused.contains("is no network namespace"), "{other}: {refused}");
        }
        let missing = namespace("/nowhere/net", none).err().unwrap_or_default();
        assert!(missing.contains("there is no network namespace"), "{missing}");
    }
}
