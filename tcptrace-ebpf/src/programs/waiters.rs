//! Who sleeps on a socket: the iterator over the TCP sockets of a network namespace (`iter/tcp` of net/ipv4/tcp_ipv4.c,
//! Linux 5.9). A socket whose descriptor was closed while a call still uses it is in no descriptor table; the thread
//! that sleeps in the call is in the socket's own wait queue.
//!
//! User space loads this program only when it finds such a socket. What it reports is no proof by itself: the queue is
//! read without its lock.

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use tcptrace_ebpf::record::SleeperRecord;

use crate::{CLOSE_WAIT, IteratorMeta, Reader, pids, probe, settings::kernel, typed};

/// Entries read of one wait queue. A socket has one for each thread and each epoll that waits.
const MOST_SLEEPERS: u32 = 16;

/// `struct bpf_iter__tcp` of net/ipv4/tcp_ipv4.c.
#[repr(C)]
struct TcpSocket {
    meta: *const IteratorMeta,
    sk_common: *const u8,
    uid: u32,
}

/// Writes a [`SleeperRecord`] for each entry in the wait queue of a socket in CLOSE_WAIT, but those of epoll, which lead
/// nowhere.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn sleepers(context: *const TcpSocket) -> i32 {
    // SAFETY: the kernel passes a context of this layout, whose pointers the verifier knows, and the offsets are those
    // of the members named.
    unsafe {
        let reader = Reader::of((*context).meta);
        let sock = (*context).sk_common;
        if sock.is_null() || typed::load::<u8>(sock, kernel!(sock_state)) != CLOSE_WAIT {
            return 0;
        }
        let tcp = bpf_skc_to_tcp_sock(sock.cast_mut().cast()).cast::<u8>().cast_const();
        if tcp.is_null() {
            return 0;
        }
        let cookie = typed::load::<u64>(tcp, kernel!(sock_cookie));
        let queue = typed::follow(tcp, kernel!(sock_wq));
        if cookie == 0 || queue.is_null() {
            return 0;
        }
        let head = queue as u64 + kernel!(wait_head) as u64;
        let mut next = probe::read::<u64>(head, 0);
        for _ in 0..MOST_SLEEPERS {
            if next == 0 || next == head {
                break;
            }
            let entry = next - kernel!(wait_entry) as u64;
            let private = probe::read::<u64>(entry, kernel!(wait_private));
            if private != 0 {
                let record = SleeperRecord {
                    cookie,
                    tgid: pids::of_process(private, probe::read(private, kernel!(task_tgid))),
                    pid: pids::of_thread(private, probe::read(private, kernel!(task_pid))),
                };
                reader.write(&record);
            }
            next = probe::read(next, 0);
        }
    }
    0
}
