//! For the fuzz targets: a stack that is unwound by the information of one file, in no process.

use std::{fs::File, ops::Range, sync::Arc};

use framehop::CacheNative;

use super::{
    module::UnwindInfo,
    process::{Code, walk},
};
use crate::{
    model::{
        captured_stack::{CapturedFrames, CapturedStack, Registers, StackBytes},
        socket::KernelSocket,
    },
    stacks::{mappings::Mapping, point::Point},
};

/// The addresses that a stack leads to from these registers (`pc`, `sp`, `fp`, `lr`), where the file is mapped as a whole
/// at `addresses`. `None` where it cannot be.
#[must_use]
pub fn unwound(
    file: File,
    addresses: Range<u64>,
    registers: &[[u64; 4]],
    bytes: &[u8],
) -> Option<Vec<Vec<u64>>> {
    let mut code = Code::default();
    code.add(&Arc::new(UnwindInfo::read(file, true)?), &Mapping { addresses, offset: 0 })?;
    let mut cache = CacheNative::new();
    let points = |[pc, sp, fp, lr]: &[u64; 4]| {
        let registers = Registers { pc: *pc, sp: *sp, fp: *fp, lr: *lr };
        let (socket, script) = (KernelSocket(1), CapturedFrames::default());
        let bytes = StackBytes { start: registers.sp, bytes: bytes.to_owned(), chunks: u32::MAX };
        let stack = CapturedStack { socket, ktime_ns: 1, pid: 1, registers, stack_end: 0, bytes, script };
        let (points, _) = walk(&stack, &code, None, &mut cache, None, Arc::new);
        let address = |point| match point {
            Point::Address { address, .. } => Some(address),
            Point::Script(_) | Point::End => None,
        };
        points.into_iter().filter_map(address).collect()
    };
    Some(registers.iter().map(points).collect())
}
