//! Finds the offsets of kernel fields in BTF, the kernel's description of its own types.
//!
//! Reads only as much of the format (Documentation/bpf/btf.rst) as that takes: a pass over the type section
//! and a walk through structures. Every read is bounds-checked. It never panics on malformed bytes, and
//! caches nothing but the position of each type.
//!
//! btf-rs 2.0 finds the same fields in 6 ms more where the kernel lets its BTF be mapped (Linux 6.16), and in
//! 200 ms and 32 MB more elsewhere.

use bytes::Buf as _;
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
    /// Start of each type in `types`. Type 0 (`void`) has none, so index 0 is type 1.
    starts: Vec<u32>,
}

struct Type<'a> {
    name: u32,
    kind: u32,
    length: u32,
    has_bitfields: bool,
    /// The size of a structure, or the type a qualifier applies to.
    size_or_type: u32,
    rest: &'a [u8],
}

impl<'a> Btf<'a> {
    /// Indexes the types in `data`, the whole of a kernel's BTF.
    ///
    /// # Errors
    /// When the bytes are truncated or not BTF.
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, MalformedBtf> {
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
        let mut btf = Self { strings, types, starts: Vec::new() };
        let mut start = 0;
        while start < types.len() {
            let rest = btf.type_at(start).ok_or(MalformedBtf("a type is cut short"))?.rest;
            btf.starts.push(u32::try_from(start).map_err(|_| MalformedBtf("the type section is too large"))?);
            start = types.len() - rest.len();
        }
        Ok(btf)
    }

    /// Reads the type at an offset; its `rest` begins behind the members.
    fn type_at(&self, start: usize) -> Option<Type<'a>> {
        let mut bytes = self.types.get(start..)?;
        let name = bytes.try_get_u32_ne().ok()?;
        let info = bytes.try_get_u32_ne().ok()?;
        let size_or_type = bytes.try_get_u32_ne().ok()?;
        let length = info & 0xffff;
        let kind = info >> 24 & 0x1f;
        let extra = match kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * length as usize,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * length as usize,
            _ => 0,
        };
        let rest = bytes.get(extra..)?;
        Some(Type { name, kind, length, has_bitfields: info >> 31 == 1, size_or_type, rest })
    }

    fn start_of(&self, id: u32) -> Option<usize> {
        self.starts.get((id as usize).checked_sub(1)?).map(|start| *start as usize)
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Ids of the structures with these names. A structure that is not there has none.
    fn structures<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<(&'n str, Option<u32>)> {
        let mut found: Vec<(&str, Option<u32>)> = Vec::new();
        for name in names {
            if !found.iter().any(|(other, _)| *other == name) {
                found.push((name, None));
            }
        }
        for (index, start) in self.starts.iter().enumerate() {
            let Some(candidate) = self.type_at(*start as usize) else { continue };
            if candidate.kind != KIND_STRUCT || candidate.name == 0 {
                continue;
            }
            for (name, id) in &mut found {
                if id.is_none() && self.is_named(candidate.name, name) {
                    *id = u32::try_from(index + 1).ok();
                }
            }
        }
        found
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
        let structure = self.type_at(start)?;
        match structure.kind {
            KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                return self.member(structure.size_or_type, name, depth + 1);
            }
            KIND_STRUCT | KIND_UNION => {}
            _ => return None,
        }
        let mut members = self.types.get(start + 12..)?;
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

    /// A small BTF with the types called `names`, under the same ids as in this one. Every other type is a
    /// nameless pointer to void. aya looks up a program's hook by its name in a BTF, and parses all of that
    /// BTF first: the kernel's takes some 20 ms and 20 MB, the stand-in a tenth.
    pub(crate) fn stand_in(&self, names: &[&str]) -> Vec<u8> {
        const HEADER_BYTES: u32 = 24;
        const VOID_POINTER: [u32; 3] = [0, 2 << 24, 0];
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut strings = vec![0u8];
        let mut types: Vec<u8> = Vec::new();
        let mut filled = 0;
        for (index, start) in self.starts.iter().enumerate() {
            let Some(candidate) = self.type_at(*start as usize) else { continue };
            let Some(name) = names.iter().find(|name| self.is_named(candidate.name, name)) else { continue };
            if !matches!(candidate.kind, KIND_TYPEDEF | KIND_FUNC) {
                continue;
            }
            while filled < index {
                types.extend(VOID_POINTER.iter().flat_map(|word| word.to_ne_bytes()));
                filled += 1;
            }
            let name_offset = length(&strings);
            strings.extend(name.as_bytes());
            strings.push(0);
            let words = [name_offset, candidate.kind << 24, candidate.size_or_type];
            types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
            filled += 1;
        }
        let lengths = [HEADER_BYTES, 0, length(&types), length(&types), length(&strings)];
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize + types.len() + strings.len());
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        bytes.extend(lengths.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    /// A look-up of fields in these structures, by the structure's name and the path to the field. Passes
    /// over the types once.
    pub(crate) fn offsets<'n>(
        &self,
        structures: impl IntoIterator<Item = &'n str>,
    ) -> impl Fn(&str, &[&str]) -> Option<u32> {
        let ids = self.structures(structures);
        move |structure, path| {
            let (_, id) = ids.iter().find(|(name, _)| *name == structure)?;
            self.offset_in((*id)?, path)
        }
    }
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
        let btf = Btf::parse(&data).unwrap();
        let offset = btf.offsets(["sock", "inet_sock", "no_such_structure"]);
        // The first member of sock_common is a union of both IPv4 addresses: daddr comes first.
        assert_eq!(offset("sock", &["__sk_common", "skc_daddr"]), Some(0));
        assert_eq!(offset("sock", &["__sk_common", "skc_rcv_saddr"]), Some(4));
        assert!(offset("inet_sock", &["inet_sport"]) > offset("sock", &["__sk_common", "skc_cookie"]));
        assert_eq!(offset("sock", &["no_such_member"]), None);
        assert_eq!(offset("no_such_structure", &["anything"]), None);
    }

    #[test]
    fn the_stand_in_gives_the_same_ids() {
        use aya_obj::btf::BtfKind;

        let data = std::fs::read(KERNELS_BTF).unwrap();
        let names = ["btf_trace_inet_sock_set_state", "bpf_iter_task_file"];
        let stand_in = Btf::parse(&data).unwrap().stand_in(&names);
        let whole = aya::Btf::parse(&data, aya::Endianness::default()).unwrap();
        let small = aya::Btf::parse(&stand_in, aya::Endianness::default()).unwrap();
        for (name, kind) in names.into_iter().zip([BtfKind::Typedef, BtfKind::Func]) {
            assert_eq!(
                small.id_by_type_name_kind(name, kind).unwrap(),
                whole.id_by_type_name_kind(name, kind).unwrap(),
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_what_is_cut_short() {
        let data = std::fs::read(KERNELS_BTF).unwrap();
        assert!(Btf::parse(&data[..data.len() / 2]).is_err());
        assert!(Btf::parse(&[]).is_err());
    }

    proptest! {
        #[test]
        fn survives_any_bytes(mut data in proptest::collection::vec(any::<u8>(), 0..400)) {
            if data.len() >= 8 {
                data[..2].copy_from_slice(&MAGIC.to_ne_bytes());
                data[4..8].copy_from_slice(&24u32.to_ne_bytes());
            }
            if let Ok(btf) = Btf::parse(&data) {
                let _ = btf.offsets(["a"])("a", &["b", "c"]);
            }
        }
    }
}
