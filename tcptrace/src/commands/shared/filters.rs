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
    fs::metadata(&path).ok().and_then(|metadata| u32::try_from(metadata.ino()).ok()).ok_or_else(|| {
        format!("there is no network namespace {}: see `ip netns` and `lsns -t net`", path.display())
    })
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
