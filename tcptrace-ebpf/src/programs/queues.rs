//! The iterator over listeners' queues: which connections wait for accept() at which listener. Several
//! listeners can share a port (SO_REUSEPORT), and the connection itself does not know its own.
//!
//! A program of its own, loaded only when somebody has to know: the verifier walks the whole queue.

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use tcptrace_ebpf::record::WaitingRecord;

use crate::{
    object::{LISTEN, TaskFile},
    settings::kernel,
    typed,
};

/// Connections told of one listener. Each is a step for the verifier (35 ms for all of them on the machine
/// this was written on); together they have to fit into the kernel's buffer of eight pages.
const MOST_WAITING: u32 = 512;

/// Writes a [`WaitingRecord`] for each connection in the queue of the listener at hand, if it is one.
/// Never stops the pass.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn queues(context: *const TaskFile) -> i32 {
    // SAFETY: the kernel calls with a context of this layout, whose pointers the verifier knows. They are
    // followed at the offsets of members; what has been freed meanwhile reads as something or zero.
    unsafe {
        let context = &*context;
        let sock = context.sock();
        if sock.is_null() || typed::load::<u8>(sock, kernel!(sock_state)) != LISTEN {
            return 0;
        }
        let tcp = bpf_skc_to_tcp_sock(sock.cast_mut().cast()).cast::<u8>().cast_const();
        if tcp.is_null() {
            return 0;
        }
        let (pid, fd) = (context.pid(), context.fd);
        let mut request = typed::follow(tcp, kernel!(icsk_accept_head));
        for _ in 0..MOST_WAITING {
            if request.is_null() {
                break;
            }
            let waiting = typed::follow(request, kernel!(request_sock));
            let cookie = typed::load::<u64>(waiting, kernel!(sock_cookie));
            context.write(&WaitingRecord { cookie, pid, fd });
            request = typed::follow(request, kernel!(request_next));
        }
    }
    0
}
