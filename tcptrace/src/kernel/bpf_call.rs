//! The calls of bpf(2) that an iterator takes. Everything else goes through aya. Interprets nothing.

use std::{
    ffi::CStr,
    io,
    mem::zeroed,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya::VerifierLogLevel;
use aya_obj::{
    Map, VerifierLog,
    generated::{
        bpf_attach_type::BPF_TRACE_ITER, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type::BPF_PROG_TYPE_TRACING,
    },
};
use rustix::io::Errno;

/// How often a program is loaded that a signal interrupts.
const ATTEMPTS: u32 = 5;

/// Bytes of the verifier's log: the first room it gets, and the most.
const LOG_BYTES: usize = 64 << 10;
const MAX_LOG_BYTES: usize = 16 << 20;

/// An iterator's program as it is handed to the kernel.
pub(super) struct IteratorCode<'a> {
    pub name: &'a str,
    pub license: &'a CStr,
    pub instructions: &'a [bpf_insn],
    /// The id of its hook among the types of the kernel.
    pub hook: u32,
}

/// Makes a map, empty.
///
/// # Errors
/// The kernel's.
pub(super) fn create_map(name: &str, map: &Map) -> io::Result<OwnedFd> {
    // SAFETY: all zeros are a valid value of this union of integers.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    // SAFETY: each part of the union is made of integers.
    let create = unsafe { &mut attributes.__bindgen_anon_1 };
    create.map_type = map.map_type();
    create.key_size = map.key_size();
    create.value_size = map.value_size();
    create.max_entries = map.max_entries();
    create.map_flags = map.map_flags();
    set_name(&mut create.map_name, name);
    open(bpf_cmd::BPF_MAP_CREATE, &mut attributes)
}

/// Sets the first value of an array.
///
/// # Errors
/// The kernel's.
pub(super) fn set_first(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let key = 0u32;
    // SAFETY: all zeros are a valid value of this union of integers.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    // SAFETY: each part of the union is made of integers.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = number(map);
    element.key = (&raw const key).addr() as u64;
    element.__bindgen_anon_1.value = value.as_ptr().addr() as u64;
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes).map(drop)
}

/// Lets nobody write into a map any more: the verifier takes its values for constants.
///
/// # Errors
/// The kernel's.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeros are a valid value of this union of integers.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    attributes.__bindgen_anon_2.map_fd = number(map);
    call(bpf_cmd::BPF_MAP_FREEZE, &mut attributes).map(drop)
}

/// Has an iterator's program verified.
///
/// # Errors
/// The kernel's, with what the verifier logs.
pub(super) fn load_iterator(
    code: &IteratorCode<'_>,
    level: VerifierLogLevel,
) -> Result<OwnedFd, (io::Error, VerifierLog)> {
    let mut attempts = 0;
    let refused = loop {
        attempts += 1;
        match load_once(code, level, &mut []) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts < ATTEMPTS => {}
            Err(error) => break error,
            Ok(program) => return Ok(program),
        }
    };
    let mut log = vec![0; LOG_BYTES];
    loop {
        match load_once(code, level, &mut log) {
            Ok(program) => return Ok(program),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) && log.len() < MAX_LOG_BYTES => {
                log.resize(2 * log.len(), 0);
            }
            Err(_) => break,
        }
    }
    let text = CStr::from_bytes_until_nul(&log).map(CStr::to_string_lossy).unwrap_or_default();
    Err((refused, VerifierLog::new(text.into_owned())))
}

fn load_once(code: &IteratorCode<'_>, level: VerifierLogLevel, log: &mut [u8]) -> io::Result<OwnedFd> {
    // SAFETY: all zeros are a valid value of this union of integers.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    // SAFETY: each part of the union is made of integers.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = BPF_PROG_TYPE_TRACING as u32;
    load.expected_attach_type = BPF_TRACE_ITER as u32;
    load.attach_btf_id = code.hook;
    load.insns = code.instructions.as_ptr().addr() as u64;
    load.insn_cnt = length(code.instructions.len());
    load.license = code.license.as_ptr().addr() as u64;
    set_name(&mut load.prog_name, code.name);
    if !log.is_empty() {
        load.log_level = level.bits();
        load.log_buf = log.as_mut_ptr().addr() as u64;
        load.log_size = length(log.len());
    }
    open(bpf_cmd::BPF_PROG_LOAD, &mut attributes)
}

/// Begins a pass of a loaded program: what it writes can be read from the descriptor.
///
/// # Errors
/// The kernel's.
pub(super) fn start_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: all zeros are a valid value of this union of integers.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    attributes.link_create.__bindgen_anon_1.prog_fd = number(program);
    attributes.link_create.attach_type = BPF_TRACE_ITER as u32;
    let link = open(bpf_cmd::BPF_LINK_CREATE, &mut attributes)?;
    // SAFETY: as above.
    let mut attributes = unsafe { zeroed::<bpf_attr>() };
    attributes.iter_create.link_fd = number(link.as_fd());
    open(bpf_cmd::BPF_ITER_CREATE, &mut attributes)
}

/// Cuts a name where the kernel does; what is behind it stays NUL.
fn set_name(field: &mut [libc::c_char; 16], name: &str) {
    let (_, room) = field.split_last_mut().unwrap_or((&mut 0, &mut []));
    for (letter, byte) in room.iter_mut().zip(name.bytes()) {
        *letter = byte.cast_signed() as libc::c_char;
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A call that answers with a descriptor.
fn open(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = i32::try_from(call(command, attributes)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, for this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are as long as is said, and what they point to outlives the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_uint, &raw mut *attributes, size_of::<bpf_attr>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
