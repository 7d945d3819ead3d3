//! The methods that an address of compiled code is in: the inlined ones, innermost first, then the compiled one. By the
//! debug information that HotSpot keeps to make a frame of the interpreter of it
//! (src/hotspot/share/code/{nmethod.cpp,scopeDesc.cpp,debugInfo.cpp}).

use super::{
    code_cache::Blob,
    compressed::Coding,
    layout::{CompiledLayout, MethodLayout, Parts},
};
use crate::stacks::{memory::Look, point::ScriptLine};

/// Most methods that are inlined at one place.
const MAX_DEPTH: usize = 64;

/// Most bytes of a part of a compiled method, and most places with debug information.
const MAX_PART: u64 = 16 << 20;
const MAX_PLACES: u64 = 1 << 20;

/// A range of memory.
#[derive(Clone, Copy)]
struct Part {
    start: u64,
    end: u64,
}

impl Part {
    fn new(start: u64, end: u64) -> Option<Self> {
        end.checked_sub(start).filter(|length| *length <= MAX_PART).map(|_| Self { start, end })
    }

    fn at(self, offset: u64) -> Option<u64> {
        self.start.checked_add(offset).filter(|address| *address < self.end)
    }
}

/// Where the parts of one compiled method are.
struct Places {
    scopes: Part,
    pcs: Part,
    metadata: u64,
}

impl Parts {
    fn places(self, look: &Look<'_>, nmethod: u64) -> Option<Places> {
        let from = |base: u64, field: super::description::Field| base.checked_add(field.of(look, nmethod)?);
        match self {
            Self::Together { scopes_data, metadata, scopes_pcs, dependencies } => {
                let pcs = Part::new(from(nmethod, scopes_pcs)?, from(nmethod, dependencies)?)?;
                let scopes = Part::new(scopes_data.of(look, nmethod)?, pcs.start)?;
                Some(Places { scopes, pcs, metadata: from(nmethod, metadata)? })
            }
            Self::ImmutableApart { immutable, immutable_size, data, metadata, pcs, scopes } => {
                let base = immutable.of(look, nmethod)?;
                let scopes = Part::new(from(base, scopes)?, from(base, immutable_size)?)?;
                let pcs = Part::new(from(base, pcs)?, scopes.start)?;
                Some(Places { scopes, pcs, metadata: from(from(nmethod, data)?, metadata)? })
            }
            Self::BothApart { immutable, immutable_size, mutable, relocation_size, pcs, scopes } => {
                let base = immutable.of(look, nmethod)?;
                let scopes = Part::new(from(base, scopes)?, from(base, immutable_size)?)?;
                let pcs = Part::new(from(base, pcs)?, scopes.start)?;
                Some(Places { scopes, pcs, metadata: from(mutable.of(look, nmethod)?, relocation_size)? })
            }
        }
    }
}

impl CompiledLayout {
    /// The lines at a return address, innermost first; `None` where it is not known what was compiled: to go on would skip
    /// callers unseen.
    pub(super) fn lines(
        &self,
        look: &Look<'_>,
        methods: &MethodLayout,
        coding: Coding,
        blob: &Blob,
        address: u64,
    ) -> Option<Vec<ScriptLine>> {
        let own = self.method.of(look, blob.address)?;
        let method = methods.method(look, own)?;
        // A wrapper of a native method is made of no bytecode.
        if method.has_no_code() {
            return Some(vec![method.at(look, coding, None)]);
        }
        let scopes = self.scopes(look, coding, blob, address, own)?;
        let line = |(address, bci): &(u64, u32)| {
            methods.method(look, *address).map(|method| method.at(look, coding, Some(*bci)))
        };
        scopes.iter().map(line).collect()
    }

    /// The original return address, where this one makes a frame of the interpreter: its place in the frame, from the stack
    /// pointer, in bytes.
    pub(super) fn put_aside(&self, look: &Look<'_>, blob: &Blob, address: u64) -> Option<u64> {
        let deoptimized = self.deoptimized?;
        if deoptimized.handler.of(look, blob.address)? != address {
            return None;
        }
        deoptimized.original.of(look, blob.address)
    }

    /// Methods and indices of bytes of their code; the outermost has to be `own`.
    fn scopes(
        &self,
        look: &Look<'_>,
        coding: Coding,
        blob: &Blob,
        address: u64,
        own: u64,
    ) -> Option<Vec<(u64, u32)>> {
        let places = self.parts.places(look, blob.address)?;
        let mut at = self.scope_at(look, places.pcs, address.checked_sub(blob.code_begin)?)?;
        let mut scopes = Vec::new();
        loop {
            let mut from = places.scopes.at(at)?;
            let mut number = || {
                coding.read(|| {
                    let byte = look.u8(Some(from).filter(|from| *from < places.scopes.end)?)?;
                    from = from.checked_add(1)?;
                    Some(byte)
                })
            };
            let (sender, method, bci) = (number()?, number()?, number()?);
            // Counted from 1; and from -1, which is the entry.
            let entry = u64::from(method.checked_sub(1)?).checked_mul(8)?;
            scopes.push((look.u64(places.metadata.checked_add(entry)?)?, bci.saturating_sub(1)));
            if sender == 0 {
                break;
            }
            // Callers are written before what is inlined in them.
            let sender = u64::from(sender);
            if sender >= at || scopes.len() >= MAX_DEPTH {
                return None;
            }
            at = sender;
        }
        scopes.last().is_some_and(|(outermost, _)| *outermost == own).then_some(scopes)
    }

    /// Where the scopes of an instruction are written. Places are sorted (`nmethod::copy_scopes_pcs`).
    fn scope_at(&self, look: &Look<'_>, pcs: Part, offset: u64) -> Option<u64> {
        let count = pcs.end.checked_sub(pcs.start)?.checked_div(self.pc_desc_size)?;
        let (mut low, mut high) = (0, count.min(MAX_PLACES));
        while low < high {
            let middle = low + (high - low) / 2;
            let place = pcs.start.checked_add(middle.checked_mul(self.pc_desc_size)?)?;
            // Both ends have a place that is none: -1, and the highest number (`PcDesc::lower_offset_limit`).
            let there = i64::from(u32::try_from(self.pc_offset.of(look, place)?).ok()?.cast_signed());
            match there.cmp(&i64::try_from(offset).ok()?) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return self.scope_offset.of(look, place).filter(|offset| *offset > 0);
                }
            }
        }
        None
    }
}
