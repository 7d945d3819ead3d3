//! Programs of 32 bits: the kernel traces none of their system calls, so nobody sees them accept. The tool says so.
#![cfg(target_arch = "x86_64")]

use std::fs::File;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;

use crate::support::Backend;
use crate::support::leaky::Leaky;
use crate::support::run::run;
use crate::support::tracer::Tracer;

live_tests! {
    a_program_of_32_bits_says_why_its_opener_is_not_known,
}

/// accept4(0, 0, 0, 0), read one byte of what comes of it, and pause for ever, by the numbers of i386.
const CODE: [u8; 40] = [
    0xb8, 0x6c, 0x01, 0x00, 0x00, // mov eax, 364
    0x31, 0xdb, 0x31, 0xc9, 0x31, 0xd2, 0x31, 0xf6, // xor ebx, ecx, edx, esi
    0xcd, 0x80, // int 0x80
    0x89, 0xc3, // mov ebx, eax
    0xb8, 0x03, 0x00, 0x00, 0x00, // mov eax, 3
    0x89, 0xe1, // mov ecx, esp
    0xba, 0x01, 0x00, 0x00, 0x00, // mov edx, 1
    0xcd, 0x80, // int 0x80
    0xb8, 0x1d, 0x00, 0x00, 0x00, // pause: mov eax, 29
    0xcd, 0x80, // int 0x80
    0xeb, 0xf7, // jmp pause
];

/// Where the file is mapped, and what its headers take of it.
const BASE: u32 = 0x0804_8000;
const HEADERS: u32 = 52 + 32;

/// The smallest program for i386: elf(5), one segment.
fn program() -> Vec<u8> {
    let length = HEADERS + u32::try_from(CODE.len()).unwrap();
    let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    [
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        // An executable for i386.
        halves(&[2, 3]),
        // Version, entry, program headers, no section headers, no flags.
        words(&[1, BASE + HEADERS, 52, 0, 0]),
        halves(&[52, 32, 1, 0, 0, 0]),
        // PT_LOAD from the beginning, to be read and executed.
        words(&[1, 0, BASE, BASE, length, length, 5, 0x1000]),
        CODE.to_vec(),
    ]
    .concat()
}

/// A program that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts it with a listener as standard input; `None` where the kernel runs no such programs.
fn start(path: &Path, listener: &TcpListener) -> Option<Program> {
    let mut file = File::create(path).unwrap();
    file.write_all(&program()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(file);
    let stdin = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    match Command::new(path).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => None,
        started => Some(Program(started.unwrap())),
    }
}

fn a_program_of_32_bits_says_why_its_opener_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("session.tct");
    let recording = recording.to_str().unwrap();
    let outputs = ["-o", "-", "-o", recording];
    let tracer = Tracer::start(Backend::Btf, &[&["leaks", "--older-than", "1s"][..], &outputs].concat());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lport = listener.local_addr().unwrap().port();
    // A kernel that runs no such programs has nobody to leave out.
    let Some(Program(child)) = &start(&folder.path().join("compat"), &listener) else { return };
    drop(listener);
    let client = TcpStream::connect(("127.0.0.1", lport)).unwrap();
    // The peer is done, and lets go of it.
    client.shutdown(Shutdown::Write).unwrap();
    drop(client);
    let of_64_bits = Leaky::start("accepted_kept", &[]);
    let leak = tracer.wait_for("the leak", |record| record["type"] == "leak" && record["lport"] == lport);
    let owner = &leak["owners"][0];
    assert_eq!((&owner["pid"], &owner["is_32_bit"]), (&child.id().into(), &true.into()), "{leak}");
    assert!(leak["opened_by"].is_null(), "it is seen by now: {leak}");
    let other = tracer.wait_for_each("leak", &of_64_bits.truths).remove(0);
    assert_eq!(other["owners"][0]["is_32_bit"], false, "{other}");
    assert!(!other["opened_by"].is_null(), "{other}");
    tracer.stop().summary();
    let text = run(&["trace", "--replay", recording, "--format", "text"]);
    let line = text.output.lines().find(|line| line.contains(&format!(":{lport} ")));
    let is_said = line.is_some_and(|line| line.contains("does not trace accept() of 32-bit programs"));
    assert!(is_said, "{}", text.output);
}
