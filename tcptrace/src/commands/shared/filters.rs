//! The filters that commands share, and what they mean on this host.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use clap::Args;
use tcptrace_ebpf::config::{PortRule, SIDE_LOCAL, SIDE_REMOTE};

use super::values;
use crate::model::{
    connection_filter::{AddressRange, KernelFilter, MAX_RULES},
    owner_filter::OwnerFilter,
    state::StateSet,
};

/// Which connections are wanted; applied in the kernel, except for the namespace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters on the connection (repeatable; any of a kind, all kinds together)")]
pub(crate) struct Filters {
    /// Port on either side
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    /// Local port
    #[arg(long, value_name = "PORT")]
    lport: Vec<u16>,
    /// Remote port
    #[arg(long, value_name = "PORT")]
    rport: Vec<u16>,
    /// Address of either side, or a range of them
    #[arg(long, value_name = "CIDR", value_parser = values::address_range)]
    addr: Vec<AddressRange>,
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
    /// The filter for the kernel, and the inode numbers of the namespaces that are wanted.
    pub(crate) fn resolve(&self, states: StateSet) -> Result<(KernelFilter, Vec<u32>), String> {
        let Self { port, lport, rport, addr, ipv4, ipv6, netns } = self;
        let rules =
            |ports: &[u16], sides| ports.iter().map(move |port| PortRule { port: *port, sides }).collect();
        let ports: Vec<PortRule> =
            [rules(port, SIDE_LOCAL | SIDE_REMOTE), rules(lport, SIDE_LOCAL), rules(rport, SIDE_REMOTE)]
                .into_iter()
                .flat_map(|rules: Vec<PortRule>| rules)
                .collect();
        for (what, count) in [("ports", ports.len()), ("addresses", addr.len())] {
            if count > MAX_RULES {
                return Err(format!("at most {MAX_RULES} {what} can be asked for at once, not {count}"));
            }
        }
        let family = match (ipv4, ipv6) {
            (true, _) => 4,
            (_, true) => 6,
            _ => 0,
        };
        let netns = netns.iter().map(|name| namespace(name)).collect::<Result<_, _>>()?;
        Ok((KernelFilter { states, family, ports, addresses: addr.clone() }, netns))
    }
}

/// The inode number of a namespace that was named in one of three ways.
fn namespace(name: &str) -> Result<u32, String> {
    if let Ok(inode) = name.parse() {
        return Ok(inode);
    }
    let path =
        if name.contains('/') { Path::new(name).to_owned() } else { Path::new("/run/netns").join(name) };
    fs::metadata(&path).ok().and_then(|metadata| u32::try_from(metadata.ino()).ok()).ok_or_else(|| {
        format!("there is no network namespace {}: see `ip netns` and `lsns -t net`", path.display())
    })
}

/// Whose sockets are wanted; applied once the owners are known.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters on the owner (repeatable; any of a kind, all kinds together)")]
pub(crate) struct OwnerFilters {
    /// Process
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Name of the process, as `ps -o comm` prints it
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Systemd unit, with or without its ending
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,
    /// Container: its name, or the beginning of its id
    #[arg(long, value_name = "CONTAINER")]
    container: Vec<String>,
}

impl OwnerFilters {
    /// The filter.
    pub(crate) fn resolve(&self) -> OwnerFilter {
        let Self { pid, comm, unit, container } = self;
        OwnerFilter {
            pids: pid.clone(),
            comms: comm.clone(),
            units: unit.clone(),
            containers: container.clone(),
        }
    }
}
