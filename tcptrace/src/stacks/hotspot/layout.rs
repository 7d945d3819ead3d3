//! Where HotSpot keeps what leads to a line, by its own description. A part that is not described makes the part of the
//! work that needs it impossible, and no other.

use super::{
    compressed::Coding,
    description::{Description, Field},
};
use crate::stacks::memory::Look;

/// The types and constants that are asked for.
pub(super) const TYPES: [&str; 27] = [
    "Abstract_VM_Version",
    "Array<Klass*>",
    "Array<Method*>",
    "ClassLoaderData",
    "CodeBlob",
    "CodeCache",
    "CodeHeap",
    "CompiledMethod",
    "ConstMethod",
    "ConstantPool",
    "GenericGrowableArray",
    "GrowableArray<int>",
    "GrowableArrayBase",
    "HeapBlock",
    "HeapBlock::Header",
    "InstanceKlass",
    "Klass",
    "Method",
    "PcDesc",
    "StubRoutines",
    "Symbol",
    "VirtualSpace",
    "nmethod",
    "Array<int>",
    "Array<u1>",
    "Array<u2>",
    "Metadata",
];
pub(super) const CONSTANTS: [&str; 3] =
    ["ConstMethod::_has_linenumber_table", "ConstMethodFlags::_misc_has_linenumber_table", "oopSize"];

/// A word of the machine, in bytes: HotSpot's 64-bit versions are the ones that are read.
pub(super) const WORD: u64 = 8;

/// All of it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) methods: MethodLayout,
    pub(super) code: CodeLayout,
    /// `None` where compiled code is described otherwise than in JDK 11 to 25.
    pub(super) compiled: Option<CompiledLayout>,
    pub(super) coding: Coding,
}

/// Methods, and what they are part of (src/hotspot/share/oops/).
#[derive(Debug)]
pub(super) struct MethodLayout {
    pub(super) const_method: Field,
    pub(super) constants: Field,
    pub(super) code_size: Field,
    pub(super) name_index: Field,
    pub(super) idnum: Field,
    pub(super) flags: Field,
    pub(super) has_lines: u64,
    /// The bytecode follows.
    pub(super) const_method_size: u64,
    pub(super) pool_holder: Field,
    pub(super) pool_length: Field,
    /// The entries follow.
    pub(super) pool_size: u64,
    /// Of the constant pool (JDK 15 and later).
    pub(super) source_of_pool: Option<Field>,
    /// Of the class (before).
    pub(super) source_of_class: Option<Field>,
    pub(super) class_name: Field,
    pub(super) class_pool: Field,
    pub(super) class_methods: Field,
    pub(super) class_loader_data: Field,
    pub(super) class_loader: Field,
    pub(super) array_length: Field,
    pub(super) array_data: u64,
    pub(super) symbol_length: Field,
    pub(super) symbol_body: u64,
}

/// The code cache (src/hotspot/share/code/codeCache.hpp, memory/heap.hpp).
#[derive(Debug)]
pub(super) struct CodeLayout {
    /// Addresses of variables.
    pub(super) heaps: u64,
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) call_stub_return: u64,
    pub(super) list_length: Field,
    pub(super) list_data: Field,
    /// Of a heap: its memory, and the map of its segments.
    pub(super) memory_low: u64,
    pub(super) memory_high: u64,
    pub(super) map_low: u64,
    pub(super) log2_segment: Field,
    pub(super) block_used: u64,
    pub(super) block_size: u64,
    pub(super) blob_name: Field,
    pub(super) blob_size: Field,
    /// In words.
    pub(super) frame_size: Field,
    pub(super) code_begin: CodeBegin,
}

/// Where the code of a blob begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum CodeBegin {
    Address(Field),
    /// From the beginning of the blob (JDK 23 and later).
    Offset(Field),
}

/// Compiled methods (src/hotspot/share/code/nmethod.hpp, pcDesc.hpp).
#[derive(Debug)]
pub(super) struct CompiledLayout {
    pub(super) method: Field,
    pub(super) parts: Parts,
    pub(super) pc_offset: Field,
    pub(super) scope_offset: Field,
    pub(super) pc_desc_size: u64,
    pub(super) deoptimized: Option<Deoptimized>,
}

/// Where the parts of a compiled method are that say where each instruction comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parts {
    /// All behind its head (JDK 11 to 22).
    Together { scopes_data: Field, metadata: Field, scopes_pcs: Field, dependencies: Field },
    /// What never changes is elsewhere (JDK 23 and 24).
    ImmutableApart {
        immutable: Field,
        immutable_size: Field,
        data: Field,
        metadata: Field,
        pcs: Field,
        scopes: Field,
    },
    /// What changes as well (JDK 25).
    BothApart {
        immutable: Field,
        immutable_size: Field,
        mutable: Field,
        relocation_size: Field,
        pcs: Field,
        scopes: Field,
    },
}

/// What tells the place in a method whose frame is to be made anew for the interpreter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deoptimized {
    pub(super) handler: CodeBegin,
    /// Of the frame: where the return address was put aside, in bytes from the stack pointer.
    pub(super) original: Field,
}

impl Layout {
    pub(super) fn of(look: &Look<'_>, description: &Description) -> Option<Self> {
        let version = look.u32(description.address("Abstract_VM_Version::_vm_major_version")?)?;
        Some(Self {
            methods: MethodLayout::of(description)?,
            code: CodeLayout::of(description)?,
            compiled: CompiledLayout::of(description),
            coding: Coding::of_version(version),
        })
    }
}

impl MethodLayout {
    fn of(description: &Description) -> Option<Self> {
        let field = |name: &str| description.field(&[name]);
        let flag = description.constant(&[
            "ConstMethod::_has_linenumber_table",
            "ConstMethodFlags::_misc_has_linenumber_table",
        ]);
        Some(Self {
            const_method: field("Method::_constMethod")?,
            constants: field("ConstMethod::_constants")?,
            code_size: field("ConstMethod::_code_size")?,
            name_index: field("ConstMethod::_name_index")?,
            idnum: field("ConstMethod::_method_idnum")?,
            flags: description.field(&["ConstMethod::_flags", "ConstMethod::_flags._flags"])?,
            has_lines: u64::try_from(flag?).ok()?,
            const_method_size: description.size("ConstMethod")?,
            pool_holder: field("ConstantPool::_pool_holder")?,
            pool_length: field("ConstantPool::_length")?,
            pool_size: description.size("ConstantPool")?,
            source_of_pool: field("ConstantPool::_source_file_name_index"),
            source_of_class: field("InstanceKlass::_source_file_name_index"),
            class_name: field("Klass::_name")?,
            class_pool: field("InstanceKlass::_constants")?,
            class_methods: field("InstanceKlass::_methods")?,
            class_loader_data: field("Klass::_class_loader_data")?,
            class_loader: field("ClassLoaderData::_class_loader")?,
            array_length: field("Array<Klass*>::_length")?,
            array_data: description.offset(&["Array<Method*>::_data", "Array<Klass*>::_data"])?,
            symbol_length: field("Symbol::_length")?,
            symbol_body: description.offset(&["Symbol::_body[0]", "Symbol::_body"])?,
        })
    }
}

impl CodeLayout {
    fn of(description: &Description) -> Option<Self> {
        let field = |name: &str| description.field(&[name]);
        let offset = |name: &str| description.offset(&[name]);
        let within = |outer: &str, inner: &str| offset(outer)?.checked_add(offset(inner)?);
        Some(Self {
            heaps: description.address("CodeCache::_heaps")?,
            low: description.address("CodeCache::_low_bound")?,
            high: description.address("CodeCache::_high_bound")?,
            call_stub_return: description.address("StubRoutines::_call_stub_return_address")?,
            list_length: description.field(&["GrowableArrayBase::_len", "GenericGrowableArray::_len"])?,
            list_data: field("GrowableArray<int>::_data")?,
            memory_low: within("CodeHeap::_memory", "VirtualSpace::_low")?,
            memory_high: within("CodeHeap::_memory", "VirtualSpace::_high")?,
            map_low: within("CodeHeap::_segmap", "VirtualSpace::_low")?,
            log2_segment: field("CodeHeap::_log2_segment_size")?,
            block_used: within("HeapBlock::_header", "HeapBlock::Header::_used")?,
            block_size: description.size("HeapBlock")?,
            blob_name: field("CodeBlob::_name")?,
            blob_size: field("CodeBlob::_size")?,
            frame_size: field("CodeBlob::_frame_size")?,
            code_begin: field("CodeBlob::_code_begin")
                .map(CodeBegin::Address)
                .or_else(|| field("CodeBlob::_code_offset").map(CodeBegin::Offset))?,
        })
    }
}

impl CompiledLayout {
    fn of(description: &Description) -> Option<Self> {
        let field = |name: &str| description.field(&[name]);
        let handler = description
            .field(&["CompiledMethod::_deopt_handler_begin", "nmethod::_deopt_handler_begin"])
            .map(CodeBegin::Address)
            .or_else(|| field("nmethod::_deopt_handler_offset").map(CodeBegin::Offset));
        let original = field("nmethod::_orig_pc_offset");
        Some(Self {
            method: description.field(&["nmethod::_method", "CompiledMethod::_method"])?,
            parts: Parts::of(description)?,
            pc_offset: field("PcDesc::_pc_offset")?,
            scope_offset: field("PcDesc::_scope_decode_offset")?,
            pc_desc_size: description.size("PcDesc")?,
            deoptimized: handler.zip(original).map(|(handler, original)| Deoptimized { handler, original }),
        })
    }
}

impl Parts {
    fn of(description: &Description) -> Option<Self> {
        let field = |name: &str| description.field(&[name]);
        let pcs = field("nmethod::_scopes_pcs_offset")?;
        if let Some(scopes_data) = field("CompiledMethod::_scopes_data_begin") {
            let metadata = field("nmethod::_metadata_offset")?;
            let dependencies = field("nmethod::_dependencies_offset")?;
            return Some(Self::Together { scopes_data, metadata, scopes_pcs: pcs, dependencies });
        }
        let (immutable, immutable_size) =
            (field("nmethod::_immutable_data")?, field("nmethod::_immutable_data_size")?);
        let scopes = field("nmethod::_scopes_data_offset")?;
        if let Some(mutable) = field("CodeBlob::_mutable_data") {
            let relocation_size = field("CodeBlob::_relocation_size")?;
            return Some(Self::BothApart {
                immutable,
                immutable_size,
                mutable,
                relocation_size,
                pcs,
                scopes,
            });
        }
        let (data, metadata) = (field("CodeBlob::_data_offset")?, field("nmethod::_metadata_offset")?);
        Some(Self::ImmutableApart { immutable, immutable_size, data, metadata, pcs, scopes })
    }
}
