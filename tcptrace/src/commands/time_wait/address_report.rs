//! Reports what has the ports that were asked for: joins it with its holders, its closers and its options. Pure.

use rustc_hash::FxHashMap;

use super::{
    address_uses::{AddressUses, Sample, UseGroup},
    closers::Closers,
    owner_counts,
    socket_options::SocketOptions,
};
use crate::model::{
    owner::{Evidence, Owner},
    owner_count::OwnerCount,
    record::address_use::{AddressRole, AddressUse},
};

/// What has the ports, by address; `None` if none was asked for.
pub(crate) fn address_uses(
    uses: &AddressUses,
    holders: Option<&FxHashMap<u32, Vec<Owner>>>,
    options: &FxHashMap<u32, SocketOptions>,
    closers: Option<&Closers>,
) -> Option<Vec<AddressUse>> {
    let report = |(local, role, group): (_, AddressRole, &UseGroup)| {
        let (held, mut held_by) = holders
            .map(|holders| owner_counts::held_by(&group.inodes, holders))
            .map_or((None, Vec::new()), |(held, by)| (Some(held), by));
        // Those of a listener hold that.
        for counted in &mut held_by {
            counted.owner.evidence = Evidence::FdTable;
        }
        let closed_first_by: Vec<OwnerCount> =
            closers.map(|closers| owner_counts::closed_by(&group.closers, closers)).unwrap_or_default();
        AddressUse {
            local,
            role,
            is_v6_only: group.is_v6_only.or_else(|| {
                let of_v6 = || all_have(&group.samples, options, |options| options.is_v6_only == Some(true));
                // One that lacks it suffices; that all have it is known only where all were asked.
                let were_all_asked = group.samples.len() as u64 == group.count();
                of_v6().filter(|all| local.ip().is_ipv6() && (!all || were_all_asked))
            }),
            by_state: group.by_state(),
            minisockets: group.minisockets,
            orphans: group.orphans,
            last_left_ns: group.last_left_ms.map(|left| u64::from(left) * 1_000_000),
            remote: group.remote,
            uid: group.uid,
            has_reuseaddr: all_have(&group.samples, options, |options| options.reuseaddr),
            has_reuseport: all_have(&group.samples, options, |options| options.reuseport),
            held,
            held_by,
            closed_first_by,
        }
    };
    (!uses.is_idle()).then(|| uses.groups().map(report).collect())
}

/// Whether all of the sockets that could be asked have an option; `None` if none could.
fn all_have(
    samples: &[Sample],
    options: &FxHashMap<u32, SocketOptions>,
    has: fn(&SocketOptions) -> bool,
) -> Option<bool> {
    let mut asked = samples.iter().filter_map(|sample| options.get(&sample.inode)).peekable();
    asked.peek()?;
    Some(asked.all(has))
}
