//! Encodes and decodes leaks and their ends as entries of a block.

use bytes::{BufMut as _, BytesMut};

use super::{
    dictionary::{Definitions, Dictionary, no_site, put_no_site, time},
    entries::{LEAK, LEAK_END},
    wire::{Input, Malformed, put_known, put_signed, put_text, put_varint},
};
use crate::model::{
    ended::EndedHow,
    endpoints::{Endpoint, Endpoints},
    other_end::OtherEnd,
    owner::{CalledBy, Evidence, OpenedBy, Owner},
    reason::{Reason, ReasonId, ReasonNumbers},
    record::{Age, Leak, LeakEnd, Over, Timed},
    socket::Socket,
    state::State,
    task::{Call, OpenedHow},
    verdict::Verdict,
};

/// What stands for a word that is not known.
const NOT_KNOWN: u8 = 0;

/// A word that may not be known, by its number.
fn word<T>(number: u8, from_number: impl Fn(u8) -> Option<T>) -> Result<Option<T>, Malformed> {
    match number {
        NOT_KNOWN => Ok(None),
        number => from_number(number).map(Some).ok_or(Malformed("a word is not known")),
    }
}

const NO: u8 = 1;
const YES: u8 = 2;

/// Writes a leak.
pub(crate) fn put_leak(out: &mut Dictionary, leak: &Leak) {
    let Leak {
        time,
        socket,
        state,
        age,
        recv_q,
        send_q,
        verdict,
        owners,
        opened_by,
        eof_read_by,
        over,
        other_end,
        keep_alive,
        fds_used,
        fds_limit,
        unknown_because: _,
        because,
        no_site,
    } = leak;
    let socket = SocketPlaces::of(out, socket);
    let owners: Vec<OwnerPlaces<'_>> = owners.iter().map(|owner| OwnerPlaces::of(out, owner)).collect();
    let opened = opened_by.as_ref().map(|opened| {
        let Timed { time, what: OpenedBy { how, called } } = opened;
        (how.number(), CallPlaces::of(out, *time, called))
    });
    let read = eof_read_by.as_ref().map(|read| CallPlaces::of(out, read.time, &read.what));
    let other_end = other_end.as_ref().map(|other| {
        let owners: Vec<OwnerPlaces<'_>> =
            other.owners.iter().map(|owner| OwnerPlaces::of(out, owner)).collect();
        (other.state, other.is_closed, owners)
    });
    out.entry(LEAK, |entry| {
        put_signed(entry, time.as_nanosecond());
        socket.put(entry);
        entry.put_u8(state.number());
        put_age(entry, age.as_ref());
        put_known(entry, recv_q.map(u64::from));
        put_known(entry, send_q.map(u64::from));
        entry.put_u8(verdict.map_or(NOT_KNOWN, Verdict::number));
        put_varint(entry, owners.len() as u64);
        for owner in owners {
            owner.put(entry);
        }
        entry.put_u8(opened.as_ref().map_or(NOT_KNOWN, |(how, _)| *how));
        if let Some((_, call)) = opened {
            call.put(entry);
        }
        entry.put_u8(read.is_some().into());
        if let Some(call) = read {
            call.put(entry);
        }
        // The first version ended here, and its readers pass over the rest.
        entry.put_u8(over.is_some().into());
        if let Some(Over { how, ns }) = over {
            entry.put_u8(how.map_or(NOT_KNOWN, EndedHow::number));
            put_known(entry, *ns);
        }
        entry.put_u8(other_end.is_some().into());
        if let Some((state, is_closed, owners)) = other_end {
            entry.put_u8(state.number());
            put_answer(entry, is_closed);
            put_varint(entry, owners.len() as u64);
            for owner in owners {
                owner.put(entry);
            }
        }
        put_answer(entry, *keep_alive);
        put_known(entry, *fds_used);
        put_known(entry, *fds_limit);
        put_because(entry, because.as_deref());
        put_no_site(entry, no_site.as_ref());
    });
}

/// Writes yes, no, or that it is not known.
fn put_answer(entry: &mut BytesMut, answer: Option<bool>) {
    entry.put_u8(answer.map_or(NOT_KNOWN, |answer| if answer { YES } else { NO }));
}

fn answer(input: &mut Input<'_>) -> Result<Option<bool>, Malformed> {
    word(input.byte()?, |number| match number {
        NO => Some(false),
        YES => Some(true),
        _ => None,
    })
}

/// Writes the end of a leak.
pub(crate) fn put_leak_end(out: &mut Dictionary, end: &LeakEnd) {
    let LeakEnd { time, socket, age, how, closed_by } = end;
    let socket = SocketPlaces::of(out, socket);
    let closer = closed_by.as_ref().map(|owner| OwnerPlaces::of(out, owner));
    out.entry(LEAK_END, |entry| {
        put_signed(entry, time.as_nanosecond());
        socket.put(entry);
        put_age(entry, Some(age));
        entry.put_u8(how.map_or(NOT_KNOWN, EndedHow::number));
        entry.put_u8(closer.is_some().into());
        if let Some(owner) = closer {
            owner.put(entry);
        }
    });
}

/// A socket, with its addresses defined.
struct SocketPlaces {
    cookie: Option<u64>,
    netns: Option<u32>,
    ends: [(u32, u16); 2],
}

impl SocketPlaces {
    fn of(out: &mut Dictionary, socket: &Socket) -> Self {
        let Socket { cookie, netns, endpoints: Endpoints { local, remote } } = *socket;
        let ends = [local, remote].map(|end| (out.address(end.address()), end.port()));
        Self { cookie, netns, ends }
    }

    fn put(&self, entry: &mut BytesMut) {
        put_known(entry, self.cookie);
        put_known(entry, self.netns.map(u64::from));
        for (address, port) in self.ends {
            put_varint(entry, address.into());
            entry.put_u16_le(port);
        }
    }
}

/// An owner, with the process defined.
struct OwnerPlaces<'a> {
    process: u32,
    owner: &'a Owner,
}

impl<'a> OwnerPlaces<'a> {
    fn of(out: &mut Dictionary, owner: &'a Owner) -> Self {
        Self { process: out.process(&owner.process), owner }
    }

    fn put(&self, entry: &mut BytesMut) {
        let Owner { process: _, fds, inherited, evidence } = self.owner;
        put_varint(entry, self.process.into());
        entry.put_u8(evidence.number());
        put_answer(entry, *inherited);
        put_varint(entry, fds.len() as u64);
        for fd in fds {
            put_varint(entry, u64::from(*fd));
        }
    }
}

/// A call, with the task and the stack defined.
struct CallPlaces {
    time_ns: i128,
    task: u32,
    stack: Option<u32>,
}

impl CallPlaces {
    fn of(out: &mut Dictionary, time: jiff::Timestamp, called: &CalledBy) -> Self {
        let CalledBy { call: Call { task, ktime_ns: _, stack: _ }, stack } = called;
        let stack = stack.as_ref().map(|stack| out.stack(stack));
        Self { time_ns: time.as_nanosecond(), task: out.task(*task), stack }
    }

    fn put(&self, entry: &mut BytesMut) {
        put_signed(entry, self.time_ns);
        put_varint(entry, self.task.into());
        put_known(entry, self.stack.map(u64::from));
    }
}

/// How an age is known, in one byte.
const NO_AGE: u8 = 0;
const EXACT: u8 = 1;
const AT_LEAST: u8 = 2;

fn put_age(entry: &mut BytesMut, age: Option<&Age>) {
    match age {
        None => entry.put_u8(NO_AGE),
        Some(Age { ns, is_exact: true, at_most_ns: _ }) => {
            entry.put_u8(EXACT);
            put_varint(entry, *ns);
        }
        Some(Age { ns, is_exact: false, at_most_ns }) => {
            entry.put_u8(AT_LEAST);
            put_varint(entry, *ns);
            put_known(entry, *at_most_ns);
        }
    }
}

/// Reads a leak.
pub(crate) fn leak(input: &mut Input<'_>, definitions: &Definitions) -> Result<Leak, Malformed> {
    Ok(Leak {
        time: time(input)?,
        socket: socket(input, definitions)?,
        state: State::from_number(input.byte()?).ok_or(Malformed("a state is not known"))?,
        age: age(input)?,
        recv_q: input.known_small()?,
        send_q: input.known_small()?,
        verdict: word(input.byte()?, Verdict::from_number)?,
        owners: owners(input, definitions)?,
        opened_by: match word(input.byte()?, OpenedHow::from_number)? {
            Some(how) => {
                let Timed { time, what: called } = call(input, definitions)?;
                Some(Timed { time, what: OpenedBy { how, called } })
            }
            None => None,
        },
        eof_read_by: match input.byte()? {
            0 => None,
            _ => Some(call(input, definitions)?),
        },
        // Recordings of the first version end the entry here.
        over: match byte_if_any(input)? {
            0 => None,
            _ => Some(Over { how: word(input.byte()?, EndedHow::from_number)?, ns: input.known()? }),
        },
        other_end: match byte_if_any(input)? {
            0 => None,
            _ => Some(OtherEnd {
                state: State::from_number(input.byte()?).ok_or(Malformed("a state is not known"))?,
                is_closed: answer(input)?,
                owners: owners(input, definitions)?,
                is_shut_for_reading: false,
            }),
        },
        keep_alive: if input.is_empty() { None } else { answer(input)? },
        fds_used: if input.is_empty() { None } else { input.known()? },
        fds_limit: if input.is_empty() { None } else { input.known()? },
        unknown_because: None,
        because: because(input)?,
        no_site: no_site(input)?,
    })
}

/// Writes reasons: the number of each, its sentence, and which numbers and words it has, a bit each, before these.
fn put_because(entry: &mut BytesMut, because: Option<&[Reason]>) {
    put_known(entry, because.map(|reasons| reasons.len() as u64));
    for Reason { id, text, numbers } in because.unwrap_or_default() {
        entry.put_u8(id.number());
        put_text(entry, text);
        let ReasonNumbers {
            pid,
            tid,
            fd,
            address,
            bytes,
            for_ns,
            used,
            limit,
            cpu_ns,
            within_ns,
            reads_per_second,
            threads,
            call,
            protocol,
            unit,
            tracer,
            newer,
            far_pid,
            far_comm,
        } = numbers;
        let wide = |number: Option<u32>| number.map(u64::from);
        let counts = [
            wide(*pid),
            wide(*tid),
            wide(*fd),
            *bytes,
            *for_ns,
            *used,
            *limit,
            *cpu_ns,
            *within_ns,
            *reads_per_second,
            *threads,
            wide(*tracer),
            wide(*newer),
            wide(*far_pid),
        ];
        let texts = [address, call, protocol, unit, far_comm];
        let are_there = counts.iter().map(Option::is_some).chain(texts.iter().map(|text| text.is_some()));
        put_varint(entry, are_there.enumerate().map(|(bit, is_there)| u64::from(is_there) << bit).sum());
        for count in counts.into_iter().flatten() {
            put_varint(entry, count);
        }
        for text in texts.into_iter().flatten() {
            put_text(entry, text);
        }
    }
}

fn because(input: &mut Input<'_>) -> Result<Option<Vec<Reason>>, Malformed> {
    if input.is_empty() {
        return Ok(None);
    }
    let Some(count) = input.known()? else { return Ok(None) };
    // Each takes three bytes at least: no more than there are bytes.
    let count = usize::try_from(count).ok().filter(|count| *count <= input.0.len());
    let count = count.ok_or(Malformed("a count is larger than what is there"))?;
    (0..count).map(|_| reason(input)).collect::<Result<_, _>>().map(Some)
}

fn reason(input: &mut Input<'_>) -> Result<Reason, Malformed> {
    let id = ReasonId::from_number(input.byte()?).ok_or(Malformed("a reason is not known"))?;
    let text = input.text()?;
    let mut are_there = input.varint()?;
    let mut is_there = || {
        let is_there = are_there & 1 != 0;
        are_there >>= 1;
        is_there
    };
    let mut counts = [None; 14];
    for count in &mut counts {
        *count = if is_there() { Some(input.varint()?) } else { None };
    }
    let mut texts = [const { None }; 5];
    for text in &mut texts {
        *text = if is_there() { Some(input.text()?) } else { None };
    }
    let [
        pid,
        tid,
        fd,
        bytes,
        for_ns,
        used,
        limit,
        cpu_ns,
        within_ns,
        reads_per_second,
        threads,
        tracer,
        newer,
        far_pid,
    ] = counts;
    let [address, call, protocol, unit, far_comm] = texts;
    let small = |number: Option<u64>| {
        number.map(u32::try_from).transpose().map_err(|_| Malformed("a number is too large"))
    };
    let numbers = ReasonNumbers {
        pid: small(pid)?,
        tid: small(tid)?,
        fd: small(fd)?,
        address,
        bytes,
        for_ns,
        used,
        limit,
        cpu_ns,
        within_ns,
        reads_per_second,
        threads,
        call,
        protocol,
        unit,
        tracer: small(tracer)?,
        newer: small(newer)?,
        far_pid: small(far_pid)?,
        far_comm,
    };
    Ok(Reason { id, text, numbers })
}

/// The next byte; 0 at the end of an entry that an older version wrote.
fn byte_if_any(input: &mut Input<'_>) -> Result<u8, Malformed> {
    if input.is_empty() { Ok(0) } else { input.byte() }
}

fn owners(input: &mut Input<'_>, definitions: &Definitions) -> Result<Vec<Owner>, Malformed> {
    (0..input.count()?).map(|_| owner(input, definitions)).collect()
}

/// Reads the end of a leak.
pub(crate) fn leak_end(input: &mut Input<'_>, definitions: &Definitions) -> Result<LeakEnd, Malformed> {
    Ok(LeakEnd {
        time: time(input)?,
        socket: socket(input, definitions)?,
        age: age(input)?.ok_or(Malformed("the end of a leak has no age"))?,
        how: word(input.byte()?, EndedHow::from_number)?,
        closed_by: match input.byte()? {
            0 => None,
            _ => Some(owner(input, definitions)?),
        },
    })
}

fn socket(input: &mut Input<'_>, definitions: &Definitions) -> Result<Socket, Malformed> {
    let (cookie, netns) = (input.known()?, input.known_small()?);
    let mut end = || {
        let address = definitions.address(input.small()?)?;
        Ok(Endpoint::new(address, u16::from_le_bytes(input.array()?)))
    };
    Ok(Socket { cookie, netns, endpoints: Endpoints { local: end()?, remote: end()? } })
}

fn owner(input: &mut Input<'_>, definitions: &Definitions) -> Result<Owner, Malformed> {
    let process = definitions.process(input.small()?)?;
    let evidence =
        word(input.byte()?, Evidence::from_number)?.ok_or(Malformed("an owner has no evidence"))?;
    let inherited = answer(input)?;
    let fds = (0..input.count()?).map(|_| input.small()).collect::<Result<_, _>>()?;
    Ok(Owner { process, fds, inherited, evidence })
}

fn call(input: &mut Input<'_>, definitions: &Definitions) -> Result<Timed<CalledBy>, Malformed> {
    let time = time(input)?;
    let task = definitions.task(input.small()?)?;
    let stack = input.known_small()?.map(|number| definitions.stack(number)).transpose()?;
    Ok(Timed { time, what: CalledBy { call: Call { task, ktime_ns: 0, stack: None }, stack } })
}

fn age(input: &mut Input<'_>) -> Result<Option<Age>, Malformed> {
    match input.byte()? {
        NO_AGE => Ok(None),
        EXACT => Ok(Some(Age { ns: input.varint()?, is_exact: true, at_most_ns: None })),
        AT_LEAST => Ok(Some(Age { ns: input.varint()?, is_exact: false, at_most_ns: input.known()? })),
        _ => Err(Malformed("an age is of a kind that is not known")),
    }
}
