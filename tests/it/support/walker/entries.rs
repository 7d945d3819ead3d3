//! The entries of one block of records: counted by type, each with its time, and all that they refer to is there.

use std::collections::BTreeMap;

use serde_json::Value;

/// Definitions of a block, in the order of their numbers.
#[derive(Default)]
struct Definitions {
    addresses: u64,
    /// Of each place, whether its sockets have cookies.
    places: Vec<bool>,
    tasks: u64,
    processes: u64,
    stacks: u64,
}

/// What the entries of a block say together.
#[derive(Default)]
pub(crate) struct Entries {
    pub records: BTreeMap<String, u64>,
    pub earliest: i64,
    pub latest: i64,
    /// The counters, where they are the last entry.
    pub totals: Option<[u64; 9]>,
    defined: Definitions,
    /// CLOCK_MONOTONIC of the transition before, and what makes it wall-clock time.
    monotonic: i128,
    offset: i128,
    sockets: u64,
    /// For each state, the place of the last transition into it that added a socket.
    first_places: [Option<usize>; 16],
}

/// Bytes that are taken from the front; a test fails where there are too few.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: u64) -> &'a [u8] {
        let count = usize::try_from(count).expect("a length");
        let (taken, left) = self.0.split_at_checked(count).expect("an entry that is whole");
        self.0 = left;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    /// LEB128; what may be unknown or negative takes up to 126 bits.
    fn wide(&mut self) -> u128 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
            assert!(shift < 126, "a number is too long");
        }
    }

    fn number(&mut self) -> u64 {
        self.wide().try_into().expect("64 bits")
    }

    fn signed(&mut self) -> i128 {
        let value = self.wide();
        let magnitude = (value >> 1).cast_signed();
        if value & 1 == 1 { -magnitude } else { magnitude }
    }

    /// The number of a definition, of which there are so many.
    fn reference(&mut self, defined: u64) -> u64 {
        let number = self.number();
        assert!(number < defined, "definition {number} of {defined}");
        number
    }
}

impl Entries {
    pub(crate) fn of(payload: &[u8]) -> Self {
        let mut entries = Self { earliest: i64::MAX, latest: i64::MIN, ..Self::default() };
        let mut bytes = Bytes(payload);
        while !bytes.0.is_empty() {
            entries.totals = None;
            let first = bytes.byte();
            if first & 0x0f > 0 {
                entries.transition(first, &mut bytes);
            } else {
                let length = bytes.number();
                entries.other(first, Bytes(bytes.take(length)));
            }
        }
        entries
    }

    pub(crate) fn count(&self) -> u64 {
        self.records.values().sum()
    }

    fn record(&mut self, kind: &str, time: i128) {
        *self.records.entry(kind.to_owned()).or_default() += 1;
        let time = i64::try_from(time).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX });
        (self.earliest, self.latest) = (self.earliest.min(time), self.latest.max(time));
    }

    /// An entry whose length stands in front of it. Later versions may add bytes at its end.
    fn other(&mut self, first: u8, mut bytes: Bytes<'_>) {
        match first {
            0x10 => self.offset += bytes.signed(),
            0x20 => self.totals = Some([(); 9].map(|()| if bytes.0.is_empty() { 0 } else { bytes.number() })),
            0x30 => {
                assert!([4, 16].contains(&bytes.0.len()), "an address of {} bytes", bytes.0.len());
                self.defined.addresses += 1;
            }
            0x80 => {
                assert!(self.defined.addresses > 0, "an interface of no address");
                let _index = bytes.number();
            }
            0x40 => self.defined.places.push(bytes.byte() & 2 > 0),
            0x50 => self.defined.tasks += 1,
            0x60 => self.defined.processes += 1,
            0x70 => self.defined.stacks += 1,
            0xc0 => {
                let time = bytes.signed();
                self.socket(&mut bytes);
                self.record("leak", time);
            }
            0xd0 => {
                let time = bytes.signed();
                self.socket(&mut bytes);
                self.record("leak_end", time);
            }
            0xe0 => {
                let record: Value = serde_json::from_slice(bytes.0).expect("a record in JSON");
                let time = record["time"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
                let time = time.unwrap_or_else(|| panic!("no time in {record}"));
                let kind = record["type"].as_str().unwrap_or_else(|| panic!("no type in {record}"));
                self.record(kind, time.as_nanosecond());
            }
            _ => panic!("an entry that version 1 does not have: {first:#x}"),
        }
    }

    /// The socket of a leak and of its end.
    fn socket(&self, bytes: &mut Bytes<'_>) {
        let (_cookie, _namespace) = (bytes.wide(), bytes.wide());
        for _ in ["local", "remote"] {
            bytes.reference(self.defined.addresses);
            bytes.take(2);
        }
    }

    fn transition(&mut self, first: u8, bytes: &mut Bytes<'_>) {
        let state = first & 0x0f;
        assert!((1..=12).contains(&state), "state {state}");
        let [is_new, is_other_task, is_unforeseen, is_earlier] =
            [0x10, 0x20, 0x40, 0x80].map(|bit| first & bit > 0);
        let unforeseen = if is_unforeseen { bytes.byte() } else { 0 };
        let has = |bit: u8| unforeseen & bit > 0;
        let distance = i128::from(bytes.number());
        self.monotonic += if is_earlier { -distance } else { distance };
        if !is_new {
            bytes.reference(self.sockets);
        }
        if is_other_task {
            bytes.reference(self.defined.tasks);
        }
        if has(0x01) {
            bytes.byte();
        }
        if has(0x02) {
            bytes.number();
        }
        let mut place = self.first_places[usize::from(state)];
        if has(0x04) {
            place = Some(usize::try_from(bytes.reference(self.defined.places.len() as u64)).unwrap());
        }
        if is_new {
            if self.defined.places[place.expect("a place")] {
                bytes.signed();
            }
            self.first_places[usize::from(state)] = place;
            self.sockets = self.sockets % 65_536 + 1;
        }
        for (address, port) in [(0x10, 0x20), (0x40, 0x80)] {
            if has(address) {
                bytes.reference(self.defined.addresses);
            }
            if has(port) {
                bytes.take(2);
            }
        }
        self.record("transition", self.monotonic + self.offset);
    }
}
