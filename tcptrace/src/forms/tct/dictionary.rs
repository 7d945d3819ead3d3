//! What a block defines once and then refers to by number: addresses, tasks, processes, stacks, and what
//! sockets have in common. Numbers each kind from 0, in the order of definition. Writes and reads.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, Hash},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use bytes::{BufMut as _, BytesMut};
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::{
    entries::{ADDRESS, INTERFACE, PLACE, PROCESS, STACK, TASK},
    sockets::Place,
    wire::{Input, Malformed, put_known, put_known_text, put_signed, put_text, put_varint},
};
use crate::model::{
    endpoints::Address,
    found_by::{CallersBy, FoundBy, NamedBy},
    interface::Interface,
    no_site::{NoSite, NoSiteBecause},
    pid::Pid,
    process::ProcessIdentity,
    stack::Stack,
    task::{Comm, Task},
};

/// Bits of the first byte of a [`Place`].
const IS_MPTCP: u8 = 1;
const HAS_COOKIE: u8 = 2;

/// The dictionary of a block that is being written, and the block itself: a definition stands before its first use.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// The block.
    pub bytes: BytesMut,
    /// An entry in the making.
    entry: BytesMut,
    /// The peer chooses its address: a map that withstands chosen keys.
    addresses: HashMap<Address, u32>,
    places: FxHashMap<Place, u32>,
    tasks: FxHashMap<Task, u32>,
    processes: HashMap<Arc<ProcessIdentity>, u32>,
    stacks: HashMap<Arc<Stack>, u32>,
}

/// The number of a key, and whether it is new.
fn number<K: Hash + Eq, S: BuildHasher>(numbers: &mut HashMap<K, u32, S>, key: K) -> (u32, bool) {
    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    match numbers.entry(key) {
        Entry::Occupied(known) => (*known.get(), false),
        Entry::Vacant(place) => (*place.insert(next), true),
    }
}

impl Dictionary {
    /// Forgets all definitions and begins another block; what was written so far is handed out.
    pub(crate) fn take(&mut self) -> BytesMut {
        let Self { bytes, entry: _, addresses, places, tasks, processes, stacks } = self;
        addresses.clear();
        places.clear();
        tasks.clear();
        processes.clear();
        stacks.clear();
        bytes.split()
    }

    /// Writes an entry that says its length.
    pub(crate) fn entry(&mut self, kind: u8, fill: impl FnOnce(&mut BytesMut)) {
        self.entry.clear();
        fill(&mut self.entry);
        self.bytes.put_u8(kind);
        put_varint(&mut self.bytes, self.entry.len() as u64);
        self.bytes.put_slice(&self.entry);
    }

    pub(crate) fn address(&mut self, address: Address) -> u32 {
        let (number, is_new) = number(&mut self.addresses, address);
        if is_new {
            self.entry(ADDRESS, |entry| match address.ip() {
                IpAddr::V4(address) => entry.put_slice(&address.octets()),
                IpAddr::V6(address) => entry.put_slice(&address.octets()),
            });
            if let Some(interface) = address.interface() {
                self.entry(INTERFACE, |entry| {
                    put_varint(entry, interface.index().into());
                    entry.put_slice(interface.name().unwrap_or_default().as_bytes());
                });
            }
        }
        number
    }

    pub(crate) fn place(&mut self, place: Place) -> u32 {
        let (number, is_new) = number(&mut self.places, place);
        if is_new {
            let Place { netns, cgroup_id, is_mptcp, has_cookie } = place;
            let flag = |is_set, flag| if is_set { flag } else { 0 };
            self.entry(PLACE, |entry| {
                entry.put_u8(flag(is_mptcp, IS_MPTCP) | flag(has_cookie, HAS_COOKIE));
                put_known(entry, netns.map(u64::from));
                put_known(entry, cgroup_id);
            });
        }
        number
    }

    pub(crate) fn task(&mut self, task: Task) -> u32 {
        let (number, is_new) = number(&mut self.tasks, task);
        if is_new {
            let Task { pid, tid, comm } = task;
            self.entry(TASK, |entry| {
                put_varint(entry, pid.to_wire().into());
                put_varint(entry, tid.to_wire().into());
                entry.put_slice(comm.as_bytes());
            });
        }
        number
    }

    pub(crate) fn process(&mut self, process: &Arc<ProcessIdentity>) -> u32 {
        let (number, is_new) = number(&mut self.processes, Arc::clone(process));
        if is_new {
            let ProcessIdentity {
                pid,
                comm,
                exe,
                cmdline,
                uid,
                started,
                start_ticks: _,
                cgroup,
                unit,
                container,
                container_name,
                pod,
                pod_namespace,
                is_32_bit,
            } = &**process;
            self.entry(PROCESS, |entry| {
                put_varint(entry, pid.to_wire().into());
                put_text(entry, comm);
                put_known_text(entry, exe.as_deref());
                put_varint(entry, cmdline.len() as u64);
                for argument in cmdline {
                    put_text(entry, argument);
                }
                put_known(entry, uid.map(u64::from));
                entry.put_u8(started.is_some().into());
                if let Some(started) = started {
                    put_signed(entry, started.as_nanosecond());
                }
                for place in [cgroup, unit, container] {
                    put_known_text(entry, place.as_deref());
                }
                // Readers of before pass over them. Where there are none, nothing is written.
                let names = [container_name, pod, pod_namespace];
                if names.iter().any(|name| name.is_some()) || is_32_bit.is_some() {
                    for name in names {
                        put_known_text(entry, name.as_deref());
                    }
                    put_known(entry, is_32_bit.map(u64::from));
                }
            });
        }
        number
    }

    pub(crate) fn stack(&mut self, stack: &Arc<Stack>) -> u32 {
        let (number, is_new) = number(&mut self.stacks, Arc::clone(stack));
        if is_new {
            let Stack { frames, site, is_cut, no_site, found_by } = &**stack;
            self.entry(STACK, |entry| {
                entry.put_u8((*is_cut).into());
                put_known_text(entry, site.as_deref());
                put_varint(entry, frames.len() as u64);
                for frame in frames {
                    put_text(entry, frame);
                }
                // Readers of before pass over both.
                put_no_site(entry, no_site.as_ref());
                if let Some(found_by) = found_by {
                    put_found_by(entry, found_by);
                }
            });
        }
        number
    }
}

/// The definitions of a block that is being read.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    addresses: Vec<Address>,
    places: Vec<Place>,
    tasks: Vec<Task>,
    processes: Vec<Arc<ProcessIdentity>>,
    stacks: Vec<Arc<Stack>>,
}

/// What a number refers to.
fn defined<T: Clone>(definitions: &[T], number: u32) -> Result<T, Malformed> {
    definitions.get(number as usize).cloned().ok_or(Malformed("it refers to what was not defined"))
}

impl Definitions {
    pub(crate) fn address(&self, number: u32) -> Result<Address, Malformed> {
        defined(&self.addresses, number)
    }

    pub(crate) fn place(&self, number: u32) -> Result<Place, Malformed> {
        defined(&self.places, number)
    }

    pub(crate) fn task(&self, number: u32) -> Result<Task, Malformed> {
        defined(&self.tasks, number)
    }

    pub(crate) fn process(&self, number: u32) -> Result<Arc<ProcessIdentity>, Malformed> {
        defined(&self.processes, number)
    }

    pub(crate) fn stack(&self, number: u32) -> Result<Arc<Stack>, Malformed> {
        defined(&self.stacks, number)
    }

    pub(crate) fn define_address(&mut self, input: Input<'_>) -> Result<(), Malformed> {
        let Input(octets) = input;
        let address = match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
            (Ok(octets), _) => IpAddr::V4(Ipv4Addr::from(octets)),
            (_, Ok(octets)) => IpAddr::V6(Ipv6Addr::from(octets)),
            _ => return Err(Malformed("an address has neither 4 nor 16 bytes")),
        };
        self.addresses.push(address.into());
        Ok(())
    }

    /// What the address that was defined last is on.
    pub(crate) fn define_interface(&mut self, mut input: Input<'_>) -> Result<(), Malformed> {
        let index = input.small()?;
        let name = std::str::from_utf8(input.0).unwrap_or_default();
        if let Some(address) = self.addresses.last_mut() {
            *address = address.on(Some(Interface::from_parts(index, name)));
        }
        Ok(())
    }

    pub(crate) fn define_place(&mut self, mut input: Input<'_>) -> Result<(), Malformed> {
        let flags = input.byte()?;
        let netns = input.known_small()?;
        let cgroup_id = input.known()?;
        let (is_mptcp, has_cookie) = (flags & IS_MPTCP != 0, flags & HAS_COOKIE != 0);
        self.places.push(Place { netns, cgroup_id, is_mptcp, has_cookie });
        Ok(())
    }

    pub(crate) fn define_task(&mut self, mut input: Input<'_>) -> Result<(), Malformed> {
        let (pid, tid) = (Pid::from_wire(input.small()?), Pid::from_wire(input.small()?));
        let Input(name) = input;
        let mut comm = [0; 16];
        let place = comm.get_mut(..name.len()).ok_or(Malformed("the name of a task is too long"))?;
        place.copy_from_slice(name);
        self.tasks.push(Task { pid, tid, comm: Comm(comm) });
        Ok(())
    }

    pub(crate) fn define_process(&mut self, mut input: Input<'_>) -> Result<(), Malformed> {
        let (pid, comm, exe) = (Pid::from_wire(input.small()?), input.text()?, input.known_text()?);
        let cmdline = texts(&mut input)?;
        let uid = input.known_small()?;
        let started = match input.byte()? {
            0 => None,
            _ => Some(time(&mut input)?),
        };
        let (cgroup, unit, container) = (input.known_text()?, input.known_text()?, input.known_text()?);
        let (container_name, pod, pod_namespace) = match input {
            Input([]) => (None, None, None),
            _ => (input.known_text()?, input.known_text()?, input.known_text()?),
        };
        let is_32_bit = match input {
            Input([]) => None,
            _ => input.known()?.map(|is_32_bit| is_32_bit != 0),
        };
        let start_ticks = None;
        self.processes.push(Arc::new(ProcessIdentity {
            pid,
            comm,
            exe,
            cmdline,
            uid,
            started,
            start_ticks,
            cgroup,
            unit,
            container,
            container_name,
            pod,
            pod_namespace,
            is_32_bit,
        }));
        Ok(())
    }

    pub(crate) fn define_stack(&mut self, mut input: Input<'_>) -> Result<(), Malformed> {
        let (is_cut, site) = (input.byte()? != 0, input.known_text()?);
        let frames = texts(&mut input)?;
        let no_site = no_site(&mut input)?;
        let found_by = found_by(&mut input)?;
        self.stacks.push(Arc::new(Stack { frames, site, is_cut, no_site, found_by }));
        Ok(())
    }
}

/// Writes why there is no line; 0 where that was not recorded.
pub(crate) fn put_no_site(entry: &mut BytesMut, no_site: Option<&NoSite>) {
    match no_site {
        Some(NoSite { because, of }) => {
            entry.put_u8(because.number());
            put_known_text(entry, of.as_deref());
        }
        None => entry.put_u8(0),
    }
}

/// Reads why there is no line. A reason of a later version is none.
pub(crate) fn no_site(input: &mut Input<'_>) -> Result<Option<NoSite>, Malformed> {
    let because = if input.is_empty() { 0 } else { input.byte()? };
    if because == 0 {
        return Ok(None);
    }
    let of = input.known_text()?;
    Ok(NoSiteBecause::from_number(because).map(|because| NoSite { because, of }))
}

/// Writes how a line was found.
fn put_found_by(entry: &mut BytesMut, FoundBy { callers, name }: &FoundBy) {
    entry.put_u8(name.map_or(0, NamedBy::number));
    put_varint(entry, callers.len() as u64);
    for callers in callers {
        entry.put_u8(callers.number());
    }
}

/// Reads how a line was found; nothing where the entry ends. What a later version added is passed over.
fn found_by(input: &mut Input<'_>) -> Result<Option<FoundBy>, Malformed> {
    if input.is_empty() {
        return Ok(None);
    }
    let name = NamedBy::from_number(input.byte()?);
    let callers: Vec<u8> = (0..input.count()?).map(|_| input.byte()).collect::<Result<_, _>>()?;
    Ok(Some(FoundBy { callers: callers.into_iter().filter_map(CallersBy::from_number).collect(), name }))
}

fn texts(input: &mut Input<'_>) -> Result<Vec<String>, Malformed> {
    (0..input.count()?).map(|_| input.text()).collect()
}

/// A time in nanoseconds since 1970.
pub(crate) fn time(input: &mut Input<'_>) -> Result<Timestamp, Malformed> {
    Timestamp::from_nanosecond(input.signed()?).map_err(|_| Malformed("a time is out of range"))
}
