//! Encodes and decodes transitions as entries of a block. Repeats nothing that the block has said about the
//! socket.

use std::collections::HashMap;

use bytes::BufMut as _;
use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::{
    dictionary::{Definitions, Dictionary},
    entries::{
        CLOCK, DWELL, EARLIER, LOCAL_ADDRESS, LOCAL_PORT, MIRRORED, NEW_SOCKET, OLD_STATE, OTHER_PLACE,
        OTHER_TASK, REMOTE_ADDRESS, REMOTE_PORT, STATE, UNFORESEEN,
    },
    sockets::{Foreseen, Place, Remembered, Sockets, differences},
    wire::{Input, Malformed, put_signed, put_varint},
};
use crate::model::{
    endpoints::Endpoints,
    record::Timed,
    socket::{KernelSocket, Socket, SocketKey},
    state::State,
    task::Task,
    transition::Transition,
};

/// Writes the transitions of a block.
#[derive(Debug, Default)]
pub(crate) struct TransitionWriter {
    sockets: Sockets,
    by_cookie: FxHashMap<u64, usize>,
    /// Sockets without a cookie. The peer chooses its address and port: a map that withstands chosen keys.
    by_endpoints: HashMap<(Option<u32>, Endpoints), usize>,
    /// The place of the transition before, and its number.
    place: Option<(Place, u32)>,
    /// The task of the transition before.
    task: Option<Task>,
    ktime_ns: u64,
    /// Wall-clock time at the zero of CLOCK_MONOTONIC, in nanoseconds since 1970.
    offset_ns: i128,
}

impl TransitionWriter {
    /// Writes a transition that happened at `time_ns` (nanoseconds since 1970).
    pub(crate) fn put(&mut self, out: &mut Dictionary, time_ns: i128, transition: &Transition) {
        self.put_clock(out, time_ns - i128::from(transition.ktime_ns));
        let known = self.known(transition);
        match known {
            Some(number) if self.goes_on(number, transition) => self.put_short(out, number, transition),
            _ => self.put_in_full(out, known, transition),
        }
        if transition.new_state == State::Close {
            // Most closed sockets do not come back, and a small map is fast. One that connects again counts as new.
            match transition.socket {
                Socket { cookie: Some(cookie), .. } => self.by_cookie.remove(&cookie),
                Socket { cookie: None, netns, endpoints } => self.by_endpoints.remove(&(netns, endpoints)),
            };
        }
    }

    /// The number of a socket that the block knows. Without a dwell time a transition counts as that of a new socket.
    fn known(&self, transition: &Transition) -> Option<usize> {
        transition.entered_ns?;
        match transition.socket {
            Socket { cookie: Some(cookie), .. } => self.by_cookie.get(&cookie).copied(),
            Socket { cookie: None, netns, endpoints } => self.by_endpoints.get(&(netns, endpoints)).copied(),
        }
    }

    /// Notes a transition if all of it is as foreseen: most are.
    fn goes_on(&mut self, number: usize, transition: &Transition) -> bool {
        let Some((place, place_number)) = self.place else { return false };
        place == Place::of(transition)
            && self.task == Some(transition.oncpu)
            && self.sockets.go_on(number, transition, place_number)
    }

    /// Writes one that was as foreseen.
    fn put_short(&mut self, out: &mut Dictionary, number: usize, transition: &Transition) {
        let mut entry = TransitionEntry::default();
        let mut room = entry.room();
        let is_earlier = transition.ktime_ns < self.ktime_ns;
        room.put_u8(transition.new_state as u8 | if is_earlier { EARLIER } else { 0 });
        put_varint(&mut room, transition.ktime_ns.abs_diff(self.ktime_ns));
        put_varint(&mut room, self.sockets.back(number));
        let left = room.len();
        out.bytes.put_slice(entry.filled(left));
        self.ktime_ns = transition.ktime_ns;
    }

    /// Writes one of which something was not as foreseen.
    #[inline(never)]
    fn put_in_full(&mut self, out: &mut Dictionary, known: Option<usize>, transition: &Transition) {
        let Transition {
            key: _,
            socket: Socket { cookie, netns, endpoints },
            is_mptcp: _,
            ktime_ns,
            old_state,
            new_state,
            entered_ns: _,
            oncpu,
            kernel_socket: _,
            cause: _,
            cgroup_id: _,
        } = *transition;
        let dwell_ns = transition.dwell_ns();
        let foreseen = known.and_then(|number| self.sockets.foresee(number));
        let (is_new, foreseen) = match foreseen {
            Some(foreseen) => (false, foreseen),
            None => (true, self.sockets.foresee_new(new_state)),
        };

        let mut kind = new_state as u8 | if is_new { NEW_SOCKET } else { 0 };
        if ktime_ns < self.ktime_ns {
            kind |= EARLIER;
        }
        let other_task = (self.task != Some(oncpu)).then(|| out.task(oncpu));
        if other_task.is_some() {
            kind |= OTHER_TASK;
            self.task = Some(oncpu);
        }
        let place = self.place(out, Place::of(transition));
        let mut unforeseen = self.unforeseen_ends(&foreseen.endpoints, &endpoints);
        let local = (unforeseen & LOCAL_ADDRESS != 0).then(|| out.address(endpoints.local.address()));
        let remote = (unforeseen & REMOTE_ADDRESS != 0).then(|| out.address(endpoints.remote.address()));
        if old_state != foreseen.old_state {
            unforeseen |= OLD_STATE;
        }
        if dwell_ns != foreseen.dwell_ns(ktime_ns) {
            unforeseen |= DWELL;
        }
        if place != foreseen.place {
            unforeseen |= OTHER_PLACE;
        }
        if unforeseen != 0 {
            kind |= UNFORESEEN;
        }

        // All that had to be defined is defined: the entry itself.
        let mut entry = TransitionEntry::default();
        let mut room = entry.room();
        room.put_u8(kind);
        if unforeseen != 0 {
            room.put_u8(unforeseen);
        }
        put_varint(&mut room, ktime_ns.abs_diff(self.ktime_ns));
        if let (Some(number), false) = (known, is_new) {
            put_varint(&mut room, self.sockets.back(number));
        }
        if let Some(task) = other_task {
            put_varint(&mut room, task.into());
        }
        if unforeseen & OLD_STATE != 0 {
            room.put_u8(old_state as u8);
        }
        if unforeseen & DWELL != 0 {
            put_varint(&mut room, dwell_ns.unwrap_or(0));
        }
        if unforeseen & OTHER_PLACE != 0 {
            put_varint(&mut room, place.into());
        }
        if let (Some(cookie), true) = (cookie, is_new) {
            put_signed(&mut room, i128::from(cookie) - i128::from(self.sockets.last_cookie()));
        }
        if let Some(address) = local {
            put_varint(&mut room, address.into());
        }
        if unforeseen & LOCAL_PORT != 0 {
            room.put_u16_le(endpoints.local.port());
        }
        if let Some(address) = remote {
            put_varint(&mut room, address.into());
        }
        if unforeseen & REMOTE_PORT != 0 {
            room.put_u16_le(endpoints.remote.port());
        }
        let left = room.len();
        out.bytes.put_slice(entry.filled(left));

        self.ktime_ns = ktime_ns;
        let remembered =
            Remembered { cookie: cookie.unwrap_or(0), place, endpoints, state: new_state, ktime_ns };
        match known {
            Some(number) if !is_new => self.sockets.update(number, remembered),
            _ => self.remember(old_state, remembered, cookie, netns),
        }
    }

    /// Forgets everything, for the next block.
    pub(crate) fn forget(&mut self) {
        let Self { sockets, by_cookie, by_endpoints, place, task, ktime_ns, offset_ns } = self;
        sockets.forget();
        by_cookie.clear();
        by_endpoints.clear();
        (*place, *task, *ktime_ns, *offset_ns) = (None, None, 0, 0);
    }

    fn put_clock(&mut self, out: &mut Dictionary, offset_ns: i128) {
        if offset_ns != self.offset_ns {
            let ahead = offset_ns - self.offset_ns;
            out.entry(CLOCK, |entry| put_signed(entry, ahead));
            self.offset_ns = offset_ns;
        }
    }

    fn place(&mut self, out: &mut Dictionary, place: Place) -> u32 {
        match self.place {
            Some((last, number)) if last == place => number,
            _ => {
                let number = out.place(place);
                self.place = Some((place, number));
                number
            }
        }
    }

    /// What is not as foreseen of both ends, from the side from which less is.
    fn unforeseen_ends(&self, foreseen: &Endpoints, ends: &Endpoints) -> u8 {
        let parts = differences(foreseen, ends);
        if parts == 0 {
            return 0;
        }
        let mirrored = differences(&self.sockets.mirrored(), ends);
        if mirrored.count_ones() < parts.count_ones() { mirrored | MIRRORED } else { parts }
    }

    fn remember(&mut self, old_state: State, socket: Remembered, cookie: Option<u64>, netns: Option<u32>) {
        let Remembered { endpoints, .. } = socket;
        let number = self.sockets.remember(old_state, socket);
        if number == 0 {
            // All before are forgotten.
            self.by_cookie.clear();
            self.by_endpoints.clear();
        }
        match cookie {
            Some(cookie) => self.by_cookie.insert(cookie, number),
            None => self.by_endpoints.insert((netns, endpoints), number),
        };
    }
}

/// The longest entry: three single bytes, three numbers of at most 64 bits, four of 32, a difference of
/// cookies, and two ports.
const LONGEST: usize = 3 + 3 * 10 + 4 * 5 + 10 + 2 * 2;

/// An entry in the making, which is added to the block in one piece.
struct TransitionEntry([u8; LONGEST]);

impl Default for TransitionEntry {
    fn default() -> Self {
        Self([0; LONGEST])
    }
}

impl TransitionEntry {
    fn room(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// All but the last `left` bytes.
    fn filled(&self, left: usize) -> &[u8] {
        self.0.get(..LONGEST.saturating_sub(left)).unwrap_or_default()
    }
}

/// Reads the transitions of a block.
#[derive(Debug, Default)]
pub(crate) struct TransitionReader {
    sockets: Sockets,
    task: Option<Task>,
    ktime_ns: u64,
    clock: Clock,
}

impl TransitionReader {
    /// Reads an entry that sets the clock.
    pub(crate) fn set_clock(&mut self, mut input: Input<'_>) -> Result<(), Malformed> {
        let offset_ns = self.clock.offset_ns.checked_add(input.signed()?);
        self.clock.offset_ns = offset_ns.ok_or(Malformed("a time is out of range"))?;
        Ok(())
    }

    /// Reads a transition, of which the first byte was read.
    pub(crate) fn read(
        &mut self,
        kind: u8,
        input: &mut Input<'_>,
        definitions: &Definitions,
    ) -> Result<Timed<Transition>, Malformed> {
        let new_state = state(kind & STATE)?;
        let unforeseen = if kind & UNFORESEEN != 0 { input.byte()? } else { 0 };
        let distance = input.varint()?;
        let ktime_ns = if kind & EARLIER != 0 {
            self.ktime_ns.checked_sub(distance)
        } else {
            self.ktime_ns.checked_add(distance)
        };
        let ktime_ns = ktime_ns.ok_or(Malformed("a time is out of range"))?;
        let known = if kind & NEW_SOCKET == 0 { Some(self.sockets.number(input.varint()?)?) } else { None };
        let foreseen = known
            .and_then(|number| self.sockets.foresee(number))
            .unwrap_or_else(|| self.sockets.foresee_new(new_state));
        if kind & OTHER_TASK != 0 {
            self.task = Some(definitions.task(input.small()?)?);
        }
        let oncpu = self.task.ok_or(Malformed("a transition has no task"))?;
        let old_state = if unforeseen & OLD_STATE != 0 { state(input.byte()?)? } else { foreseen.old_state };
        let dwell_ns =
            if unforeseen & DWELL != 0 { Some(input.varint()?) } else { foreseen.dwell_ns(ktime_ns) };
        let entered_ns = dwell_ns
            .map(|dwell| ktime_ns.checked_sub(dwell).ok_or(Malformed("a time is out of range")))
            .transpose()?;
        let place = if unforeseen & OTHER_PLACE != 0 { input.small()? } else { foreseen.place };
        let Place { netns, cgroup_id, is_mptcp, has_cookie } = definitions.place(place)?;
        let cookie = match (foreseen.cookie, has_cookie) {
            (_, false) => None,
            (Some(cookie), true) => Some(cookie),
            (None, true) => {
                let cookie = i128::from(self.sockets.last_cookie()).checked_add(input.signed()?);
                let cookie = cookie.and_then(|cookie| u64::try_from(cookie).ok());
                Some(cookie.ok_or(Malformed("a cookie is out of range"))?)
            }
        };
        let endpoints = self.ends(&foreseen, unforeseen, input, definitions)?;

        self.ktime_ns = ktime_ns;
        let remembered =
            Remembered { cookie: cookie.unwrap_or(0), place, endpoints, state: new_state, ktime_ns };
        match known {
            Some(number) => self.sockets.update(number, remembered),
            None => {
                self.sockets.remember(old_state, remembered);
            }
        }
        let what = Transition {
            key: SocketKey(cookie.unwrap_or(0)),
            socket: Socket { cookie, netns, endpoints },
            is_mptcp,
            ktime_ns,
            old_state,
            new_state,
            entered_ns,
            oncpu,
            kernel_socket: KernelSocket(0),
            cause: None,
            cgroup_id,
        };
        Ok(Timed { time: self.clock.at(ktime_ns)?, what })
    }

    fn ends(
        &self,
        foreseen: &Foreseen,
        unforeseen: u8,
        input: &mut Input<'_>,
        definitions: &Definitions,
    ) -> Result<Endpoints, Malformed> {
        let mut ends = if unforeseen & MIRRORED != 0 { self.sockets.mirrored() } else { foreseen.endpoints };
        if unforeseen & LOCAL_ADDRESS != 0 {
            ends.local.set_address(definitions.address(input.small()?)?);
        }
        if unforeseen & LOCAL_PORT != 0 {
            ends.local.set_port(u16::from_le_bytes(input.array()?));
        }
        if unforeseen & REMOTE_ADDRESS != 0 {
            ends.remote.set_address(definitions.address(input.small()?)?);
        }
        if unforeseen & REMOTE_PORT != 0 {
            ends.remote.set_port(u16::from_le_bytes(input.array()?));
        }
        Ok(ends)
    }
}

fn state(number: u8) -> Result<State, Malformed> {
    State::from_number(number).ok_or(Malformed("a state is not known"))
}

/// Wall-clock time of CLOCK_MONOTONIC.
#[derive(Debug, Default)]
struct Clock {
    offset_ns: i128,
    /// The second that the last time lay in, since 1970.
    second: i64,
}

impl Clock {
    fn at(&mut self, ktime_ns: u64) -> Result<Timestamp, Malformed> {
        const SECOND: i128 = 1_000_000_000;
        let out_of_range = Malformed("a time is out of range");
        let since_1970 = self.offset_ns.checked_add(i128::from(ktime_ns)).ok_or(out_of_range)?;
        // Dividing costs more than all the rest, and most are of the same second.
        let mut fraction = since_1970 - i128::from(self.second) * SECOND;
        if !(0..SECOND).contains(&fraction) {
            self.second = i64::try_from(since_1970.div_euclid(SECOND)).map_err(|_| out_of_range)?;
            fraction = since_1970.rem_euclid(SECOND);
        }
        let fraction = i32::try_from(fraction).map_err(|_| out_of_range)?;
        Timestamp::new(self.second, fraction).map_err(|_| out_of_range)
    }
}
