//! Finds the offsets of kernel fields in BTF, the kernel's description of its own types.
//!
//! Reads only as much of the format (Documentation/bpf/btf.rst) as that takes: a pass over the type section
//! and a walk through structures. Every read is bounds-checked. It never panics on malformed bytes, and
//! caches nothing but the position of each type.
//!
//! btf-rs 2.0 finds the same fields in 6 ms more where the kernel lets its BTF be mapped (Linux 6.16), and in
//! 200 ms and 32 MB more elsewhere.

use bytes::Buf as _;
use rustc_hash::FxHashMap;
use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Types from one whose start is kept to the next. A kernel has more than a hundred thousand types, of which the programs
/// need some dozens.
const STRIDE: usize = 32;

/// Limit for nested qualifiers and anonymous members; the kernel nests a few.
const MAX_DEPTH: u32 = 16;

/// The bytes are not BTF, or have another byte order than this machine.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("malformed BTF: {0}")]
pub(crate) struct MalformedBtf(&'static str);

/// The types of a kernel.
pub(crate) struct Btf<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// Start in `types` of every [`STRIDE`]th type, from type 1: type 0 (`void`) has none. It ends where all names were
    /// found.
    starts: Vec<u32>,
    /// What was found of the types that were asked for, each with its lowest id.
    found: Vec<(Wanted<'a>, u32)>,
}

/// A type that is looked for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    Structure(&'a str),
    Function(&'a str),
    Typedef(&'a str),
}

impl<'a> Wanted<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Structure(name) | Self::Function(name) | Self::Typedef(name) => name,
        }
    }

    fn kind(self) -> u32 {
        match self {
            Self::Structure(_) => KIND_STRUCT,
            Self::Function(_) => KIND_FUNC,
            Self::Typedef(_) => KIND_TYPEDEF,
        }
    }
}

/// Bytes of what each type begins with.
const HEADER_BYTES: usize = 12;

/// What each type begins with.
struct Header {
    name: u32,
    kind: u32,
    length: u32,
    has_bitfields: bool,
    /// The size of a structure, or the type a qualifier applies to.
    size_or_type: u32,
}

impl Header {
    /// How many bytes follow that belong to this type.
    #[inline(always)]
    fn bytes_behind(&self) -> usize {
        let length = self.length as usize;
        match self.kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * length,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * length,
            _ => 0,
        }
    }
}

/// Types that are looked for. Nearly all others are told by the first two bytes of their names.
struct Names<'a> {
    /// Bit *n*: a name begins with the two bytes that make the number *n*.
    beginnings: Vec<u64>,
    by_beginning: FxHashMap<[u8; 2], Vec<Wanted<'a>>>,
    /// How many of them were not found so far.
    missing: usize,
}

impl<'a> Names<'a> {
    fn of(types: impl IntoIterator<Item = Wanted<'a>>) -> Self {
        let beginnings = vec![0; (1 << 16) / u64::BITS as usize];
        let mut names = Self { beginnings, by_beginning: FxHashMap::default(), missing: 0 };
        for wanted in types {
            // A name of one letter is followed by NUL.
            let mut bytes = wanted.name().bytes();
            let beginning = [(); 2].map(|()| bytes.next().unwrap_or(0));
            let (word, bit) = place(beginning);
            if let Some(word) = names.beginnings.get_mut(word) {
                *word |= bit;
            }
            let alike = names.by_beginning.entry(beginning).or_default();
            if !alike.contains(&wanted) {
                alike.push(wanted);
                names.missing += 1;
            }
        }
        names
    }

    /// What a type of this kind is, whose name is the first in this text, if it is looked for. From now on it is not.
    #[inline(always)]
    fn take(&mut self, kind: u32, text: &[u8]) -> Option<Wanted<'a>> {
        let beginning = text.first_chunk()?;
        let (word, bit) = place(*beginning);
        if self.beginnings.get(word)? & bit == 0 {
            return None;
        }
        let alike = self.by_beginning.get_mut(beginning)?;
        let at = alike.iter().position(|wanted| wanted.kind() == kind && is_text(text, wanted.name()))?;
        self.missing -= 1;
        Some(alike.swap_remove(at))
    }
}

/// The word and the bit in it for two bytes.
#[inline(always)]
fn place(beginning: [u8; 2]) -> (usize, u64) {
    let number = usize::from(u16::from_ne_bytes(beginning));
    (number / u64::BITS as usize, 1 << (number % u64::BITS as usize))
}

/// Whether a text up to its NUL is this name.
fn is_text(text: &[u8], name: &str) -> bool {
    text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
}

impl<'a> Btf<'a> {
    /// Indexes the types in `data`, the whole of a kernel's BTF, until each that is `wanted` was found.
    ///
    /// # Errors
    /// When the bytes are truncated or not BTF.
    pub(crate) fn parse(
        data: &'a [u8],
        wanted: impl IntoIterator<Item = Wanted<'a>>,
    ) -> Result<Self, MalformedBtf> {
        let mut header = data;
        let short = |_| MalformedBtf("the header is cut short");
        if header.try_get_u16_ne().map_err(short)? != MAGIC {
            return Err(MalformedBtf("no BTF magic number"));
        }
        header.try_get_u16_ne().map_err(short)?; // version, flags
        let header_length = header.try_get_u32_ne().map_err(short)? as usize;
        let mut section = || -> Result<&'a [u8], MalformedBtf> {
            let start = header_length.saturating_add(header.try_get_u32_ne().map_err(short)? as usize);
            let length = header.try_get_u32_ne().map_err(short)? as usize;
            data.get(start..start.saturating_add(length))
                .ok_or(MalformedBtf("a section lies outside the data"))
        };
        let types = section()?;
        let strings = section()?;
        let mut names = Names::of(wanted);
        let mut btf = Self { strings, types, starts: Vec::new(), found: Vec::new() };
        let (mut start, mut id) = (0, 1);
        while start < types.len() && names.missing > 0 {
            let header = btf.header_at(start).ok_or(MalformedBtf("a type is cut short"))?;
            if (id as usize - 1).is_multiple_of(STRIDE) {
                let start =
                    u32::try_from(start).map_err(|_| MalformedBtf("the type section is too large"))?;
                btf.starts.push(start);
            }
            if matches!(header.kind, KIND_STRUCT | KIND_TYPEDEF | KIND_FUNC)
                && let Some(text) = strings.get(header.name as usize..)
                && let Some(wanted) = names.take(header.kind, text)
            {
                btf.found.push((wanted, id));
            }
            start += HEADER_BYTES + header.bytes_behind();
            id += 1;
        }
        if start > types.len() {
            return Err(MalformedBtf("a type is cut short"));
        }
        Ok(btf)
    }

    /// Reads the beginning of the type at an offset.
    #[inline(always)]
    fn header_at(&self, start: usize) -> Option<Header> {
        let words = self.types.get(start..)?.first_chunk::<HEADER_BYTES>()?;
        let mut words = &words[..];
        let (name, info, size_or_type) = (words.get_u32_ne(), words.get_u32_ne(), words.get_u32_ne());
        Some(Header {
            name,
            kind: info >> 24 & 0x1f,
            length: info & 0xffff,
            has_bitfields: info >> 31 == 1,
            size_or_type,
        })
    }

    fn start_of(&self, id: u32) -> Option<usize> {
        let index = (id as usize).checked_sub(1)?;
        let known = (index / STRIDE).min(self.starts.len().checked_sub(1)?);
        let mut start = *self.starts.get(known)? as usize;
        for _ in known * STRIDE..index {
            start += HEADER_BYTES + self.header_at(start)?.bytes_behind();
        }
        Some(start)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.strings.get(offset as usize..).is_some_and(|text| is_text(text, name))
    }

    /// The id of a type that was asked for. Of several the lowest.
    pub(crate) fn id(&self, wanted: Wanted<'_>) -> Option<u32> {
        self.found.iter().find(|(found, _)| *found == wanted).map(|(_, id)| *id)
    }

    /// Offset in bytes of `path` (member names; anonymous members are looked through) in the structure
    /// with this id. `None` when there is no such member, or when it is a bit-field that starts within a byte.
    fn offset_in(&self, id: u32, path: &[&str]) -> Option<u32> {
        let mut id = id;
        let mut bits = 0;
        for name in path {
            let (member_type, member_bits) = self.member(id, name, 0)?;
            id = member_type;
            bits += member_bits;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// The type and offset in bits of a member.
    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let start = self.start_of(id)?;
        let structure = self.header_at(start)?;
        match structure.kind {
            KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                return self.member(structure.size_or_type, name, depth + 1);
            }
            KIND_STRUCT | KIND_UNION => {}
            _ => return None,
        }
        let mut members = self.types.get(start + HEADER_BYTES..)?;
        for _ in 0..structure.length {
            let member_name = members.try_get_u32_ne().ok()?;
            let member_type = members.try_get_u32_ne().ok()?;
            let offset = members.try_get_u32_ne().ok()?;
            let bits = if structure.has_bitfields { offset & 0x00ff_ffff } else { offset };
            let is_anonymous = self.strings.get(member_name as usize) == Some(&0);
            if is_anonymous {
                if let Some((found, inner)) = self.member(member_type, name, depth + 1) {
                    return Some((found, bits + inner));
                }
            } else if self.is_named(member_name, name) {
                return Some((member_type, bits));
            }
        }
        None
    }

    /// The offset of a field in bytes, by the name of its structure and the path to it. `None` when there is no such
    /// structure or member, or when it is a bit-field that starts within a byte.
    pub(crate) fn offset(&self, structure: &str, path: &[&str]) -> Option<u32> {
        self.offset_in(self.id(Wanted::Structure(structure))?, path)
    }
}

/// A small BTF: a typedef with this id, or none, behind nameless pointers to void.
pub(crate) fn with_typedef(name: &str, id: Option<u32>) -> Vec<u8> {
    const FILE_HEADER_BYTES: u32 = 24;
    const VOID_POINTER: [u32; 3] = [0, 2 << 24, 0];
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let bytes_of = |words: [u32; 3]| words.map(u32::to_ne_bytes).concat();
    let strings = [&[0], name.as_bytes(), &[0]].concat();
    let mut types = Vec::new();
    if let Some(id) = id {
        types = bytes_of(VOID_POINTER).repeat((id as usize).saturating_sub(1));
        types.extend(bytes_of([1, KIND_TYPEDEF << 24, 0]));
    }
    let lengths = [FILE_HEADER_BYTES, 0, length(&types), length(&types), length(&strings)];
    let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES as usize + types.len() + strings.len());
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend([1, 0]);
    bytes.extend(lengths.iter().flat_map(|word| word.to_ne_bytes()));
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::world::KERNELS_BTF;

    #[test]
    fn finds_fields_of_the_running_kernel() {
        let data = std::fs::read(KERNELS_BTF).unwrap();
        let btf =
            Btf::parse(&data, ["sock", "inet_sock", "no_such_structure"].map(Wanted::Structure)).unwrap();
        let offset = |structure: &str, path: &[&str]| btf.offset(structure, path);
        // The first member of sock_common is a union of both IPv4 addresses: daddr comes first.
        assert_eq!(offset("sock", &["__sk_common", "skc_daddr"]), Some(0));
        assert_eq!(offset("sock", &["__sk_common", "skc_rcv_saddr"]), Some(4));
        assert!(offset("inet_sock", &["inet_sport"]) > offset("sock", &["__sk_common", "skc_cookie"]));
        assert_eq!(offset("sock", &["no_such_member"]), None);
        assert_eq!(offset("no_such_structure", &["anything"]), None);
    }

    #[test]
    fn a_type_behind_the_last_that_was_asked_for_is_found_all_the_same() {
        let data = std::fs::read(KERNELS_BTF).unwrap();
        let whole = Btf::parse(&data, ["sock", "no_such_structure"].map(Wanted::Structure)).unwrap();
        let found = Btf::parse(&data, [Wanted::Structure("sock")]).unwrap();
        assert!(found.starts.len() < whole.starts.len());
        let last = u32::try_from(whole.starts.len() * STRIDE - STRIDE + 1).unwrap();
        assert_eq!(found.start_of(last), whole.start_of(last));
    }

    #[test]
    fn refuses_what_is_cut_short() {
        let data = std::fs::read(KERNELS_BTF).unwrap();
        assert!(Btf::parse(&data[..data.len() / 2], [Wanted::Structure("sock")]).is_err());
        assert!(Btf::parse(&[], []).is_err());
    }

    proptest! {
        #[test]
        fn survives_any_bytes(mut data in proptest::collection::vec(any::<u8>(), 0..400)) {
            if data.len() >= 8 {
                data[..2].copy_from_slice(&MAGIC.to_ne_bytes());
                data[4..8].copy_from_slice(&24u32.to_ne_bytes());
            }
            if let Ok(btf) = Btf::parse(&data, [Wanted::Structure("a")]) {
                let _ = btf.offset("a", &["b", "c"]);
            }
        }
    }
}
