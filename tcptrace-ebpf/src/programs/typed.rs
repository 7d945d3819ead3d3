//! Reading the kernel's structures through typed pointers, at the offsets that user space found in BTF:
//! `pointer + constant` is a plain load that the verifier checks, and a fault reads as zero.

use tcptrace_ebpf::record::{Sixteen, joined};

use crate::settings::{is_absent, kernel};

/// `include/linux/socket.h`
pub const AF_INET6: u16 = 10;

/// Reads a `T` at `base + offset`.
///
/// # Safety
/// `base` has to be a pointer whose type the verifier knows, `offset` that of a member of a
/// compatible type. A wrong one is refused by the verifier; a fault reads as zero.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the caller's promise, checked by the verifier.
    unsafe { core::ptr::read_volatile(base.add(offset).cast::<T>()) }
}

/// Follows a pointer at `base + offset`.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
pub unsafe fn follow(base: *const u8, offset: usize) -> *const u8 {
    // SAFETY: the caller's promise.
    unsafe { load::<*const u8>(base, offset) }
}

/// The v4-mapped form of an address that is in network byte order already.
#[inline(always)]
fn mapped(address: u32) -> Sixteen {
    joined([0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), address])
}

#[inline(always)]
unsafe fn address_v6(sock: *const u8, offset: usize) -> Sixteen {
    // SAFETY: the caller's promise: a `struct in6_addr`, four words of 32 bits, lies at `offset`.
    joined([0, 4, 8, 12].map(|at| unsafe { load(sock, offset + at) }))
}

/// Local address, remote address and remote port (host byte order) of a `struct sock`.
///
/// # Safety
/// `sock` has to be known to the verifier as a `struct sock`.
#[inline(always)]
pub unsafe fn addresses(sock: *const u8) -> (Sixteen, Sixteen, u16) {
    // SAFETY: the caller's promise; each offset is that of the member named.
    unsafe {
        let rport = u16::from_be(load::<u16>(sock, kernel!(sock_dport)));
        // `skc_v6_*` is absent in a kernel without IPv6.
        if load::<u16>(sock, kernel!(sock_family)) == AF_INET6 && !is_absent(kernel!(sock_v6_daddr)) {
            (address_v6(sock, kernel!(sock_v6_rcv_saddr)), address_v6(sock, kernel!(sock_v6_daddr)), rport)
        } else {
            (mapped(load(sock, kernel!(sock_rcv_saddr))), mapped(load(sock, kernel!(sock_daddr))), rport)
        }
    }
}

/// Inode number of the network namespace of a `struct sock`.
///
/// # Safety
/// `sock` has to be known to the verifier as a `struct sock`.
#[inline(always)]
pub unsafe fn netns(sock: *const u8) -> u32 {
    // SAFETY: the caller's promise; each offset is that of the member named.
    unsafe { load(follow(sock, kernel!(sock_net)), kernel!(net_inum)) }
}
