//! Accepts below functions that are made at run time, as a JIT compiler makes them, and publishes their
//! names as such compilers do: /tmp/perf-PID.map (tools/perf/Documentation/jit-interface.txt
//! of the kernel).
//!
//! Run-time compilers put their code into anonymous memory or into a file in memory (memfd); there is a
//! function of either kind.

use super::machine_code::{Made, PAGE, accept_below, handled, make};
use anyhow::{Context as _, Result};
use rustix::fd::OwnedFd;
use std::ffi::c_void;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;

/// The functions that a stack trace has to show, innermost first.
pub(crate) const FUNCTIONS: [&str; 2] = ["jitted_handler", "jitted_dispatcher(Order, long)"];

/// Keeps a frame pointer, calls its first argument with both arguments as they are, and returns.
#[cfg(target_arch = "x86_64")]
const MACHINE_CODE: [u8; 8] = [
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0xff, 0xd7, // call rdi
    0x5d, // pop rbp
    0xc3, // ret
];
#[cfg(target_arch = "aarch64")]
const MACHINE_CODE: [u8; 20] = [
    0xfd, 0x7b, 0xbf, 0xa9, // stp x29, x30, [sp, #-16]!
    0xfd, 0x03, 0x00, 0x91, // mov x29, sp
    0x00, 0x00, 0x3f, 0xd6, // blr x0
    0xfd, 0x7b, 0xc1, 0xa8, // ldp x29, x30, [sp], #16
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

/// The functions, which stay in memory for good.
pub(crate) struct Code {
    handler: Made,
    dispatcher: Made,
}

/// What goes through the outer of the made functions.
struct Dispatch<'a> {
    handler: &'a Made,
    order: *mut c_void,
}

/// The file with the names, for the process that sees itself as this pid.
pub(crate) fn map_path(pid: i32) -> PathBuf {
    PathBuf::from(format!("/tmp/perf-{pid}.map"))
}

impl Code {
    /// Makes the functions and publishes their names.
    pub(crate) fn new() -> Result<Self> {
        let handler = make(&MACHINE_CODE, None)?;
        let file = rustix::fs::memfd_create("doublemapper", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, PAGE as u64)?;
        let dispatcher = make(&MACHINE_CODE, Some(&file))?;
        let length = MACHINE_CODE.len();
        let [handler_name, dispatcher_name] = FUNCTIONS;
        // The name that was there before is no longer true, and a compiler at work has always written
        // but a part of its last line.
        let names = format!(
            "{:x} {length:x} of_old\n{:x} {length:x} {handler_name}\n{:x} {length:x} {dispatcher_name}\n7f0",
            handler.address(),
            handler.address(),
            dispatcher.address(),
        );
        let path = map_path(rustix::process::getpid().as_raw_nonzero().get());
        // /tmp is everybody's: whatever lies there is not to be followed, nor added to.
        let _is_not_there = std::fs::remove_file(&path);
        let written = File::create_new(&path).and_then(|mut file| file.write_all(names.as_bytes()));
        written.with_context(|| path.display().to_string())?;
        Ok(Self { handler, dispatcher })
    }

    /// Accepts below both of them.
    pub(crate) fn accept(&self, listener: &OwnedFd) -> Result<OwnedFd> {
        accept_below(listener, |order| {
            let mut dispatch = Dispatch { handler: &self.handler, order };
            // SAFETY: that is what it takes.
            unsafe { self.dispatcher.call(dispatched, (&raw mut dispatch).cast()) };
        })
    }
}

#[repr(align(64))]
struct Local([u8; 64]);

/// Goes on to the second made function.
unsafe extern "C" fn dispatched(_itself: *const c_void, dispatch: *mut c_void) {
    // A frame pointer however the program is built: see deep_stack.
    let local = black_box(Local([5; 64]));
    // SAFETY: `accept` hands this over, which is borrowed by nobody while it waits.
    let Dispatch { handler, order } = unsafe { &*dispatch.cast::<Dispatch<'_>>() };
    // SAFETY: an order is what it takes.
    unsafe { handler.call(handled, *order) };
    black_box(&local.0);
}
