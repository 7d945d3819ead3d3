//! The iterator over accept queues: which connections wait at which listener. Several listeners can share
//! a port (SO_REUSEPORT), and a connection has no pointer to its own.
//!
//! User space loads this program only when it needs the answer: the verifier walks the whole loop. It
//! never stops a pass early.

use tcptrace_ebpf::record::WaitingRecord;

use crate::{LISTEN, Reader, TaskFile, pointer::Pointer, settings::kernel, typed};

/// Connections reported of one listener, in rounds of eight: their records have to fit into the kernel's buffer of eight
/// pages. The verifier takes a step for each, and compares each round with all before it.
const MOST_WAITING: u32 = 512;
const IN_ROUND: u32 = 8;

/// Writes a [`WaitingRecord`] for each connection in the accept queue of the descriptor at hand, if that
/// refers to a listener.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn queues(context: *const TaskFile) -> i32 {
    // SAFETY: the kernel passes a context of this layout, whose pointers the verifier knows, and the
    // offsets are those of the members named. Memory that was freed meanwhile reads as stale data or zero.
    unsafe {
        let context = *context;
        let reader = Reader::of(context.meta);
        let sock = context.sock();
        if sock.is_null() || typed::load::<u8>(sock, kernel!(sock_state)) != LISTEN {
            return 0;
        }
        let tcp = Pointer::to_tcp(sock);
        if tcp.is_null() {
            return 0;
        }
        let (pid, fd) = (context.pid(), context.fd);
        let mut request = tcp.follow(kernel!(icsk_accept_head));
        macro_rules! next {
            () => {
                if request.is_null() {
                    return 0;
                }
                let waiting = request.follow(kernel!(request_sock));
                let cookie = waiting.load::<u64>(kernel!(sock_cookie));
                reader.write(&WaitingRecord { cookie, pid, fd });
                request = request.follow(kernel!(request_next));
            };
        }
        for _ in 0..MOST_WAITING / IN_ROUND {
            next!();
            next!();
            next!();
            next!();
            next!();
            next!();
            next!();
            next!();
        }
    }
    0
}
