//! Decodes blocks of records. Total: any bytes give records or an error, in time and memory bounded by their
//! number.

use bytes::Bytes;

use super::{
    dictionary::Definitions,
    entries::{
        ADDRESS, CLOCK, FIRST_RECORD, INTERFACE, LEAK, LEAK_END, PLACE, PROCESS, STACK, STATE, TASK, TEXT,
        TOTALS,
    },
    leaks,
    transitions::TransitionReader,
    wire::{Input, Malformed},
};
use crate::model::record::{Record, Totals};

/// What a block of records says.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Record(Record),
    /// A record of a type or with a content that this version does not know.
    Unknown,
    /// The session's counters when the block was finished.
    Totals(Totals),
}

/// Decodes the payload of a block of records.
#[derive(Debug)]
pub struct BlockDecoder {
    payload: Bytes,
    /// How much of it was read, in bytes.
    at: usize,
    definitions: Definitions,
    transitions: TransitionReader,
}

impl BlockDecoder {
    /// Begins with a payload, which was checked.
    pub fn new(payload: Bytes) -> Self {
        Self { payload, at: 0, definitions: Definitions::default(), transitions: TransitionReader::default() }
    }

    /// The next item; `None` at the end of the block.
    ///
    /// # Errors
    /// When the rest of the block cannot be read. To be dropped then.
    #[expect(
        clippy::should_implement_trait,
        reason = "nothing can follow an error, which is not what iterators do"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, Malformed> {
        let Self { payload, at, definitions, transitions } = self;
        let mut input = Input(payload.get(*at..).unwrap_or_default());
        let item = loop {
            if input.is_empty() {
                break None;
            }
            let kind = input.byte()?;
            if kind & STATE != 0 {
                let transition = transitions.read(kind, &mut input, definitions)?;
                break Some(Item::Record(Record::Transition(transition)));
            }
            let length = input.varint()?;
            let content = Input(input.bytes(length)?);
            if let Some(item) = other(kind, content, definitions, transitions)? {
                break Some(item);
            }
        };
        *at = payload.len() - input.0.len();
        Ok(item)
    }
}

/// Reads an entry that is no transition; what it says, unless it is a definition. The definitions that follow
/// are numbered on from those before: one that cannot be read ends the block. A record that cannot be read
/// hurts no other.
fn other(
    kind: u8,
    mut content: Input<'_>,
    definitions: &mut Definitions,
    transitions: &mut TransitionReader,
) -> Result<Option<Item>, Malformed> {
    let record = |record: Option<Record>| Ok(Some(record.map_or(Item::Unknown, Item::Record)));
    match kind {
        CLOCK => transitions.set_clock(content)?,
        ADDRESS => definitions.define_address(content)?,
        INTERFACE => definitions.define_interface(content)?,
        PLACE => definitions.define_place(content)?,
        TASK => definitions.define_task(content)?,
        PROCESS => definitions.define_process(content)?,
        STACK => definitions.define_stack(content)?,
        TOTALS => return Ok(Some(Item::Totals(totals(content)?))),
        LEAK => {
            let leak = leaks::leak(&mut content, definitions).ok();
            return record(leak.map(|leak| Record::Leak(Box::new(leak))));
        }
        LEAK_END => {
            let end = leaks::leak_end(&mut content, definitions).ok();
            return record(end.map(|end| Record::LeakEnd(Box::new(end))));
        }
        TEXT => return record(Record::from_json(content.0).ok()),
        _ if kind >= FIRST_RECORD => return Ok(Some(Item::Unknown)),
        _ => {}
    }
    Ok(None)
}

/// Counters, in the order of the format; a writer of another version may have written fewer or more.
fn totals(mut content: Input<'_>) -> Result<Totals, Malformed> {
    let mut counter = || if content.is_empty() { Ok(0) } else { content.varint() };
    Ok(Totals {
        records: counter()?,
        lost: counter()?,
        undecodable: counter()?,
        evicted: counter()?,
        unattributed: counter()?,
        openers_skipped: counter()?,
        dropped: counter()?,
        stacks_dropped: counter()?,
        lost_skipped: counter()?,
    })
}
