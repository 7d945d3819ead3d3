//! A little virtual machine for tests: its description, one class with three methods, and a code cache with the
//! interpreter, a compiled method and a stub, all in planted memory. Offsets are its own.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use super::{
    archives::Archives,
    description::{SYMBOLS, Symbols},
    vm::{Exports, HotSpot},
};
use crate::stacks::memory::planted::Planted;

/// Where its parts are.
pub(super) const CODE: u64 = 0x7000_0000;
const CODE_END: u64 = CODE + 0x10000;
const SEGMENT: u64 = 128;
pub(super) const INTERPRETED: u64 = CODE + 0x100;
pub(super) const COMPILED: u64 = CODE + 0x4100;
pub(super) const STUB: u64 = CODE + 0x8100;
pub(super) const CALL_STUB_RETURN: u64 = CODE + 0x8140;
pub(super) const DEOPT: u64 = COMPILED + 0x80;
const SYMBOLS_AT: u64 = 0x1000_0000;

/// Bytes of the frame of the compiled method, and where its return address is put aside.
pub(super) const FRAME: u64 = 48;
pub(super) const ASIDE: u64 = 16;

/// How the little machine describes compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    Jdk17,
    Jdk23,
    Jdk25,
}

pub(super) struct Machine {
    pub(super) memory: Planted,
    symbols: Symbols,
    next: u64,
    /// Method* of `main`, `open` and `connect0`, which is native.
    pub(super) methods: [u64; 3],
}

impl Machine {
    pub(super) fn new(generation: Generation) -> Self {
        let symbols = SYMBOLS.iter().zip((SYMBOLS_AT..).step_by(8)).map(|(name, at)| (*name, at)).collect();
        let mut machine = Self { memory: Planted::default(), symbols, next: 0x2000_0000, methods: [0; 3] };
        machine.describe(generation);
        machine.class();
        machine.code(generation);
        machine
    }

    pub(super) fn hotspot(self) -> HotSpot<Planted> {
        HotSpot::new(self.memory, Exports::of(self.symbols), Archives::default())
    }

    fn place(&mut self, size: u64) -> u64 {
        let at = self.next;
        self.next += size.next_multiple_of(8) + 8;
        at
    }

    fn text(&mut self, text: &str) -> u64 {
        let at = self.place(text.len() as u64 + 1);
        self.memory.write(at, text.as_bytes());
        self.memory.write(at + text.len() as u64, &[0]);
        at
    }

    fn symbol(&mut self, name: &str) -> u64 {
        let at = self.place(6 + name.len() as u64);
        self.memory.u16(at + 4, u16::try_from(name.len()).unwrap());
        self.memory.write(at + 6, name.as_bytes());
        at
    }

    fn set(&mut self, symbol: &str, value: u64) {
        let at = self.symbols[symbol];
        self.memory.u64(at, value);
    }

    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn describe(&mut self, generation: Generation) {
        let heaps = self.place(8);
        let [low, high, version, stub] = [(); 4].map(|()| self.place(8));
        assert_eq!([low, high], [heaps + 16, heaps + 32]);
        let major = match generation {
            Generation::Jdk17 => 17,
            Generation::Jdk23 => 23,
            Generation::Jdk25 => 25,
        };
        self.memory.u32(version, major);
        self.memory.u64(low, CODE);
        self.memory.u64(high, CODE_END);
        self.memory.u64(stub, CALL_STUB_RETURN);
        let list = self.place(24);
        self.memory.u64(heaps, list);
        let statics = [
            ("CodeCache::_heaps", heaps),
            ("CodeCache::_low_bound", low),
            ("CodeCache::_high_bound", high),
            ("Abstract_VM_Version::_vm_major_version", version),
            ("StubRoutines::_call_stub_return_address", stub),
        ];
        let mut fields = vec![
            ("Method::_constMethod", "ConstMethod*", 8),
            ("ConstMethod::_constants", "ConstantPool*", 8),
            ("ConstMethod::_flags", "u2", 28),
            ("ConstMethod::_code_size", "u2", 32),
            ("ConstMethod::_name_index", "u2", 34),
            ("ConstMethod::_method_idnum", "u2", 38),
            ("ConstantPool::_pool_holder", "InstanceKlass*", 24),
            ("ConstantPool::_length", "int", 60),
            ("ConstantPool::_source_file_name_index", "u2", 54),
            ("Klass::_name", "Symbol*", 24),
            ("Klass::_class_loader_data", "ClassLoaderData*", 152),
            ("ClassLoaderData::_class_loader", "OopHandle", 8),
            ("InstanceKlass::_constants", "ConstantPool*", 232),
            ("InstanceKlass::_methods", "Array<Method*>*", 408),
            ("Array<Klass*>::_length", "int", 0),
            ("Array<Method*>::_data", "", 8),
            ("Symbol::_length", "u2", 4),
            ("Symbol::_body[0]", "u1", 6),
            ("GrowableArrayBase::_len", "int", 0),
            ("GrowableArray<int>::_data", "int*", 8),
            ("CodeHeap::_memory", "VirtualSpace", 8),
            ("CodeHeap::_segmap", "VirtualSpace", 120),
            ("CodeHeap::_log2_segment_size", "int", 256),
            ("VirtualSpace::_low", "char*", 16),
            ("VirtualSpace::_high", "char*", 24),
            ("HeapBlock::_header", "HeapBlock::Header", 0),
            ("HeapBlock::Header::_used", "bool", 8),
            ("CodeBlob::_name", "const char*", 96),
            ("CodeBlob::_size", "int", 12),
            ("CodeBlob::_frame_size", "int", 28),
            ("PcDesc::_pc_offset", "int", 0),
            ("PcDesc::_scope_decode_offset", "int", 4),
            ("nmethod::_orig_pc_offset", "int", 200),
            ("nmethod::_scopes_pcs_offset", "int", 204),
        ];
        fields.extend(match generation {
            Generation::Jdk17 => vec![
                ("CodeBlob::_code_begin", "address", 32),
                ("CompiledMethod::_method", "Method*", 112),
                ("CompiledMethod::_scopes_data_begin", "address", 120),
                ("CompiledMethod::_deopt_handler_begin", "address", 128),
                ("nmethod::_metadata_offset", "int", 208),
                ("nmethod::_dependencies_offset", "int", 212),
            ],
            _ => vec![
                ("CodeBlob::_code_offset", "int", 32),
                ("nmethod::_method", "Method*", 112),
                ("nmethod::_immutable_data", "address", 136),
                ("nmethod::_immutable_data_size", "int", 144),
                ("nmethod::_scopes_data_offset", "int", 216),
                ("nmethod::_deopt_handler_offset", "int", 220),
            ],
        });
        fields.extend(match generation {
            Generation::Jdk17 => vec![],
            Generation::Jdk23 => {
                vec![("CodeBlob::_data_offset", "int", 40), ("nmethod::_metadata_offset", "u2", 208)]
            }
            Generation::Jdk25 => {
                vec![("CodeBlob::_mutable_data", "address", 40), ("CodeBlob::_relocation_size", "int", 48)]
            }
        });
        let table = self.place((fields.len() + statics.len() + 1) as u64 * 48);
        let mut entry = table;
        for (name, written, address, offset) in fields
            .iter()
            .map(|(name, written, offset)| (*name, *written, 0, *offset))
            .chain(statics.iter().map(|(name, address)| (*name, "address", *address, 0)))
        {
            let (of, field) = name.rsplit_once("::").unwrap();
            let (of, field, written) = (self.text(of), self.text(field), self.text(written));
            self.memory.u64(entry, of);
            self.memory.u64(entry + 8, field);
            self.memory.u64(entry + 16, written);
            self.memory.u32(entry + 24, u32::from(address != 0));
            self.memory.u64(entry + 32, offset);
            self.memory.u64(entry + 40, address);
            entry += 48;
        }
        self.memory.u64(entry, 0);
        self.set("gHotSpotVMStructs", table);
        self.set("gHotSpotVMStructEntryArrayStride", 48);
        for (part, offset) in [
            ("TypeName", 0),
            ("FieldName", 8),
            ("TypeString", 16),
            ("IsStatic", 24),
            ("Offset", 32),
            ("Address", 40),
        ] {
            self.set(
                SYMBOLS.iter().find(|name| name.ends_with(&format!("StructEntry{part}Offset"))).unwrap(),
                offset,
            );
        }
        let sizes = [("ConstMethod", 48), ("ConstantPool", 72), ("HeapBlock", 16), ("PcDesc", 16)];
        let types = self.pairs(&sizes, 8);
        self.set("gHotSpotVMTypes", types);
        self.set("gHotSpotVMTypeEntryArrayStride", 16);
        self.set("gHotSpotVMTypeEntrySizeOffset", 8);
        let ints = self.pairs(&[("ConstMethod::_has_linenumber_table", 1)], 8);
        self.set("gHotSpotVMIntConstants", ints);
        self.set("gHotSpotVMIntConstantEntryArrayStride", 16);
        self.set("gHotSpotVMIntConstantEntryValueOffset", 8);
        let longs = self.pairs(&[], 8);
        self.set("gHotSpotVMLongConstants", longs);
        self.set("gHotSpotVMLongConstantEntryArrayStride", 16);
        self.set("gHotSpotVMLongConstantEntryValueOffset", 8);
        for name in ["TypeEntryTypeName", "IntConstantEntryName", "LongConstantEntryName"] {
            self.set(SYMBOLS.iter().find(|symbol| symbol.ends_with(&format!("{name}Offset"))).unwrap(), 0);
        }
        self.heap(list);
    }

    fn pairs(&mut self, pairs: &[(&str, u64)], at: u64) -> u64 {
        let table = self.place((pairs.len() + 1) as u64 * 16);
        for (index, (name, value)) in pairs.iter().enumerate() {
            let name = self.text(name);
            self.memory.u64(table + 16 * index as u64, name);
            self.memory.u64(table + 16 * index as u64 + at, *value);
        }
        self.memory.u64(table + 16 * pairs.len() as u64, 0);
        table
    }

    fn heap(&mut self, list: u64) {
        let heap = self.place(264);
        let data = self.place(8);
        self.memory.u32(list, 1);
        self.memory.u64(list + 8, data);
        self.memory.u64(data, heap);
        let map = self.place(CODE_END / SEGMENT);
        self.memory.u64(heap + 8 + 16, CODE);
        self.memory.u64(heap + 8 + 24, CODE_END);
        self.memory.u64(heap + 120 + 16, map);
        self.memory.u32(heap + 256, 7);
        for block in [0, 0x4000, 0x8000] {
            for segment in 0..0x20 {
                self.memory.write(map + block / SEGMENT + segment, &[u8::try_from(segment).unwrap()]);
            }
            // Its head says that it is used.
            self.memory.write(CODE + block + 8, &[1]);
        }
        // Free.
        self.memory.write(map + 0x20, &[0xff]);
    }

    fn class(&mut self) {
        let (pool, class, loader) = (self.place(72 + 8 * 8), self.place(464), self.place(64));
        let names = ["Leak.java", "main", "open", "connect0"];
        for (index, name) in names.iter().enumerate() {
            let symbol = self.symbol(name);
            self.memory.u64(pool + 72 + 8 * (index as u64 + 1), symbol);
        }
        self.memory.u64(pool + 24, class);
        self.memory.u32(pool + 60, 5);
        self.memory.u16(pool + 54, 1);
        let name = self.symbol("com/acme/Leak");
        self.memory.u64(class + 24, name);
        self.memory.u64(class + 152, loader);
        self.memory.u64(loader + 8, 0xdead_0000);
        self.memory.u64(class + 232, pool);
        let array = self.place(8 + 3 * 8);
        self.memory.u64(class + 408, array);
        self.memory.u32(array, 3);
        for (index, code_size) in [20_u16, 10, 0].into_iter().enumerate() {
            let (method, constant) = (self.place(88), self.place(48 + 64));
            self.memory.u64(array + 8 + 8 * index as u64, method);
            self.memory.u64(method + 8, constant);
            self.memory.u64(constant + 8, pool);
            self.memory.u16(constant + 28, u16::from(code_size > 0));
            self.memory.u16(constant + 32, code_size);
            self.memory.u16(constant + 34, u16::try_from(index).unwrap() + 2);
            self.memory.u16(constant + 38, u16::try_from(index).unwrap());
            // From 0 on line 5, from 4 on line 7.
            self.memory.write(constant + 48 + u64::from(code_size), &[5, (4 << 3) | 2, 0]);
            self.methods[index] = method;
        }
    }

    /// The bytecode pointer at an index in a method.
    pub(super) fn bcp(&self, method: usize, bci: u64) -> u64 {
        self.word(self.methods[method] + 8) + 48 + bci
    }

    fn word(&self, address: u64) -> u64 {
        crate::stacks::memory::Look::at(&self.memory).u64(address).unwrap()
    }

    fn code(&mut self, generation: Generation) {
        let blob = |machine: &mut Self, block: u64, name: &str, words: u32, code: u64| {
            let at = CODE + block + 16;
            let name = machine.text(name);
            machine.memory.u64(at + 96, name);
            machine.memory.u32(at + 12, 0xe00);
            machine.memory.u32(at + 28, words);
            match generation {
                Generation::Jdk17 => machine.memory.u64(at + 32, code),
                _ => machine.memory.u32(at + 32, u32::try_from(code - at).unwrap()),
            }
            at
        };
        blob(self, 0, "Interpreter", 0, INTERPRETED - 0x20);
        blob(self, 0x8000, "StubRoutines (initial stubs)", 0, STUB - 0x20);
        let nmethod = blob(self, 0x4000, "nmethod", 6, COMPILED);
        // `open` inlined in `main`, at 0x20: scopes from 1 on: main at byte 4, then open at byte 0. Method 1 is main.
        let number = |value: u8| if generation == Generation::Jdk17 { value } else { value + 1 };
        let scopes = [0, 0, 1, 5, 1, 2, 1].map(number);
        let pcs = [(u32::MAX, 0), (0x10, 1), (0x20, 4), (i32::MAX.cast_unsigned(), 0)];
        let metadata = [self.methods[0], self.methods[1]];
        let (scopes_at, pcs_at, metadata_at) = match generation {
            Generation::Jdk17 => {
                self.memory.u64(nmethod + 112, metadata[0]);
                self.memory.u64(nmethod + 120, nmethod + 0x500);
                self.memory.u64(nmethod + 128, DEOPT);
                self.memory.u32(nmethod + 204, 0x600);
                self.memory.u32(nmethod + 208, 0x400);
                self.memory.u32(nmethod + 212, 0x600 + 4 * 16);
                (nmethod + 0x500, nmethod + 0x600, nmethod + 0x400)
            }
            Generation::Jdk23 | Generation::Jdk25 => {
                let immutable = self.place(0x200);
                self.memory.u64(nmethod + 112, metadata[0]);
                self.memory.u64(nmethod + 136, immutable);
                self.memory.u32(nmethod + 144, 0x100);
                self.memory.u32(nmethod + 204, 0x40);
                self.memory.u32(nmethod + 216, 0x80);
                self.memory.u32(nmethod + 220, u32::try_from(DEOPT - nmethod).unwrap());
                let data = if generation == Generation::Jdk23 {
                    self.memory.u32(nmethod + 40, 0x400);
                    self.memory.u16(nmethod + 208, 0x20);
                    nmethod + 0x420
                } else {
                    let mutable = self.place(0x100);
                    self.memory.u64(nmethod + 40, mutable);
                    self.memory.u32(nmethod + 48, 0x30);
                    mutable + 0x30
                };
                (immutable + 0x80, immutable + 0x40, data)
            }
        };
        self.memory.u32(nmethod + 200, u32::try_from(ASIDE).unwrap());
        self.memory.write(scopes_at, &scopes);
        for (index, (pc, scope)) in pcs.into_iter().enumerate() {
            self.memory.u32(pcs_at + 16 * index as u64, pc);
            self.memory.u32(pcs_at + 16 * index as u64 + 4, scope);
        }
        for (index, method) in metadata.into_iter().enumerate() {
            self.memory.u64(metadata_at + 8 * index as u64, method);
        }
    }
}
