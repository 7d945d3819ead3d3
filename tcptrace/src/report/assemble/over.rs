//! The part of the report on descriptors of connections that are over. Pure.

use std::cmp::Reverse;

use super::ranking::process_name;
use crate::report::{
    entities::Entities,
    model::{
        over::{ConnectionsOver, OverShare, OverWay},
        ranking::Site,
    },
    over::{KeptOver, OverCounts},
};

pub(crate) fn over(counts: &OverCounts, entities: &Entities, top: usize) -> Option<ConnectionsOver> {
    if counts.sockets == 0 {
        return None;
    }
    let share = |(process, kept): (&Option<u32>, &KeptOver)| OverShare {
        process: process.and_then(|index| process_name(entities, index as usize)),
        descriptors: kept.sockets,
        ended: kept.ways.iter().map(|(how, count)| OverWay { how: *how, descriptors: *count }).collect(),
        site: kept
            .stacks
            .iter()
            .max_by_key(|(_, count)| **count)
            .and_then(|(index, _)| entities.stack_at(*index))
            .map_or(Site { site: None, no_site: None }, |stack| Site::of(stack)),
    };
    let mut processes: Vec<OverShare> = counts.by_process.iter().map(share).collect();
    processes.sort_by_key(|share| Reverse(share.descriptors));
    let other_processes = processes.len().saturating_sub(top) as u64;
    processes.truncate(top);
    Some(ConnectionsOver {
        descriptors: counts.sockets,
        is_lower_bound: counts.is_lower_bound,
        processes,
        other_processes,
    })
}
