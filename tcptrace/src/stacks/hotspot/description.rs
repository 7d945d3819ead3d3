//! HotSpot's description of itself: tables of fields, types and constants that libjvm.so exports, with symbols that say
//! how an entry is laid out (src/hotspot/share/runtime/vmStructs.hpp). Keeps what is asked for; knows no meaning.

use rustc_hash::FxHashMap;

use crate::stacks::memory::Look;

/// Most entries of a table; JDK 11 to 25 have 1,400 to 2,100 in all.
const MAX_ENTRIES: u64 = 8192;

/// Longest name, in bytes. Those that are looked for have less than 40.
const MAX_NAME: usize = 128;

/// Most bytes of an entry; it has six words.
const MAX_STRIDE: u64 = 256;

/// Names of the symbols that lead to the description.
pub(in crate::stacks) const SYMBOLS: [&str; 20] = [
    "gHotSpotVMStructs",
    "gHotSpotVMStructEntryTypeNameOffset",
    "gHotSpotVMStructEntryFieldNameOffset",
    "gHotSpotVMStructEntryTypeStringOffset",
    "gHotSpotVMStructEntryIsStaticOffset",
    "gHotSpotVMStructEntryOffsetOffset",
    "gHotSpotVMStructEntryAddressOffset",
    "gHotSpotVMStructEntryArrayStride",
    "gHotSpotVMTypes",
    "gHotSpotVMTypeEntryTypeNameOffset",
    "gHotSpotVMTypeEntrySizeOffset",
    "gHotSpotVMTypeEntryArrayStride",
    "gHotSpotVMIntConstants",
    "gHotSpotVMIntConstantEntryNameOffset",
    "gHotSpotVMIntConstantEntryValueOffset",
    "gHotSpotVMIntConstantEntryArrayStride",
    "gHotSpotVMLongConstants",
    "gHotSpotVMLongConstantEntryNameOffset",
    "gHotSpotVMLongConstantEntryValueOffset",
    "gHotSpotVMLongConstantEntryArrayStride",
];

/// A field of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// From the beginning of the object, in bytes.
    pub(super) offset: u64,
    /// In bytes.
    width: u8,
}

impl Field {
    /// The unsigned number, or the pointer, in the object at this address.
    pub(super) fn of(self, look: &Look<'_>, object: u64) -> Option<u64> {
        let address = object.checked_add(self.offset)?;
        match self.width {
            1 => look.u8(address).map(u64::from),
            2 => look.u16(address).map(u64::from),
            4 => look.u32(address).map(u64::from),
            _ => look.u64(address),
        }
    }
}

/// What is described of the types that were asked for.
#[derive(Debug, Default)]
pub(super) struct Description {
    fields: FxHashMap<(String, String), Field>,
    /// Addresses of static fields.
    statics: FxHashMap<(String, String), u64>,
    /// Of types, in bytes.
    sizes: FxHashMap<String, u64>,
    constants: FxHashMap<String, i64>,
}

/// Where the symbols are in the memory of the process.
pub(in crate::stacks) type Symbols = FxHashMap<&'static str, u64>;

/// One of the tables.
struct Table {
    start: u64,
    stride: u64,
}

impl Table {
    /// The addresses of its entries up to the one that has no name, with their names.
    fn entries<'a>(&self, look: &'a Look<'_>, name: u64) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let (start, stride) = (self.start, self.stride);
        (0..MAX_ENTRIES).map_while(move |index| {
            let entry = start.checked_add(index.checked_mul(stride)?)?;
            let name = look.u64(entry.checked_add(name)?)?;
            (name != 0).then_some((entry, name))
        })
    }
}

impl Description {
    /// Reads what is described of these types, and these constants.
    pub(super) fn read(
        look: &Look<'_>,
        symbols: &Symbols,
        types: &[&str],
        constants: &[&str],
    ) -> Option<Self> {
        let mut description = Self::default();
        // Equal names are mostly one text in the file: most are read once.
        let mut wanted: FxHashMap<u64, Option<String>> = FxHashMap::default();
        let value = |symbol: &str| look.u64(*symbols.get(symbol)?);
        let table = |kind: &str| {
            let start = value(&format!("gHotSpotVM{kind}s"))?;
            let stride = value(&format!("gHotSpotVM{kind}EntryArrayStride"))?;
            (8..=MAX_STRIDE).contains(&stride).then_some(Table { start, stride })
        };
        let offset = |name: &str| value(name).filter(|offset| *offset < MAX_STRIDE);
        let [type_name, field_name, type_string, is_static, field_offset, address] =
            ["TypeName", "FieldName", "TypeString", "IsStatic", "Offset", "Address"]
                .map(|part| offset(&format!("gHotSpotVMStructEntry{part}Offset")));
        let (type_name, field_name, type_string) = (type_name?, field_name?, type_string?);
        let (is_static, field_offset, address) = (is_static?, field_offset?, address?);
        let mut name = |at: u64, among: &[&str]| {
            let known = wanted
                .entry(at)
                .or_insert_with(|| look.text(at, MAX_NAME).filter(|name| among.contains(&name.as_str())));
            known.clone()
        };
        for (entry, of) in table("Struct")?.entries(look, type_name) {
            let Some(of) = name(of, types) else { continue };
            let field = look.text(look.u64(entry.checked_add(field_name)?)?, MAX_NAME)?;
            if look.u32(entry.checked_add(is_static)?)? != 0 {
                description.statics.insert((of, field), look.u64(entry.checked_add(address)?)?);
            } else {
                let written = look.u64(entry.checked_add(type_string)?)?;
                let written = if written == 0 { None } else { look.text(written, MAX_NAME) };
                let offset = look.u64(entry.checked_add(field_offset)?)?;
                let width = written.as_deref().and_then(width).unwrap_or(0);
                description.fields.insert((of, field), Field { offset, width });
            }
        }
        let (types_name, types_size) =
            (offset("gHotSpotVMTypeEntryTypeNameOffset")?, offset("gHotSpotVMTypeEntrySizeOffset")?);
        for (entry, of) in table("Type")?.entries(look, types_name) {
            if let Some(of) = name(of, types) {
                description.sizes.insert(of, look.u64(entry.checked_add(types_size)?)?);
            }
        }
        for kind in ["IntConstant", "LongConstant"] {
            let at = |part: &str| offset(&format!("gHotSpotVM{kind}Entry{part}Offset"));
            let (name_at, value_at) = (at("Name")?, at("Value")?);
            for (entry, of) in table(kind)?.entries(look, name_at) {
                let Some(of) = look.text(of, MAX_NAME).filter(|name| constants.contains(&name.as_str()))
                else {
                    continue;
                };
                let value = entry.checked_add(value_at)?;
                let value = match kind {
                    "IntConstant" => i64::from(look.u32(value)?.cast_signed()),
                    _ => look.u64(value)?.cast_signed(),
                };
                description.constants.insert(of, value);
            }
        }
        Some(description)
    }

    /// The first of these fields, as `Type::field`, that is described.
    pub(super) fn field(&self, names: &[&str]) -> Option<Field> {
        let field = |name: &&str| self.fields.get(&split(name)?).copied();
        names.iter().find_map(field).filter(|field| field.width > 0)
    }

    /// Where a part begins in an object, whatever it is.
    pub(super) fn offset(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| self.fields.get(&split(name)?)).map(|field| field.offset)
    }

    /// The address of a static field.
    pub(super) fn address(&self, name: &str) -> Option<u64> {
        self.statics.get(&split(name)?).copied()
    }

    /// The size of a type, in bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.sizes.get(name).copied().filter(|size| *size > 0)
    }

    /// The first of these constants that is described.
    pub(super) fn constant(&self, names: &[&str]) -> Option<i64> {
        names.iter().find_map(|name| self.constants.get(*name)).copied()
    }
}

/// `Method::_constMethod`; a type may have colons of its own.
fn split(name: &str) -> Option<(String, String)> {
    name.rsplit_once("::").map(|(of, field)| (of.to_owned(), field.to_owned()))
}

/// How many bytes a field has, by how C++ writes its type; `None` for what is neither a number nor a pointer.
fn width(written: &str) -> Option<u8> {
    let plain = written.trim_start_matches("volatile ").trim_start_matches("const ");
    if plain.ends_with('*') {
        return Some(8);
    }
    Some(match plain {
        "u1" | "jbyte" | "bool" | "uint8_t" | "signed char" | "CodeBlobKind" => 1,
        "u2" | "jushort" | "short" | "unsigned short" | "uint16_t" | "int16_t" => 2,
        "u4" | "int" | "jint" | "juint" | "unsigned int" | "uint32_t" | "int32_t" => 4,
        // A handle is a pointer to a pointer (oops/oopHandle.hpp).
        "address" | "size_t" | "uint64_t" | "intptr_t" | "uintptr_t" | "jlong" | "OopHandle" => 8,
        _ => return None,
    })
}
