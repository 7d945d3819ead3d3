//! Reads the kernel's structures through typed pointers, at the offsets that user space found in BTF.
//! `pointer + constant` is a plain load that the verifier checks; a fault reads as zero. Addresses that
//! the verifier knows no type for go through `probe`.

use tcptrace_ebpf::record::{Sixteen, joined};

use crate::settings::{is_absent, kernel};

/// Reads a `T` at `base + offset`.
///
/// # Safety
/// The verifier has to know the type of `base`, and `offset` has to be that of a member of a compatible
/// type. The verifier refuses a wrong offset.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the caller promises type and offset; the verifier checks both.
    unsafe { core::ptr::read_volatile(base.add(offset).cast::<T>()) }
}

/// Follows a pointer at `base + offset`.
///
/// # Safety
/// The same as for [`load`].
#[inline(always)]
pub(crate) unsafe fn follow(base: *const u8, offset: usize) -> *const u8 {
    // SAFETY: the caller promises what `load` needs.
    unsafe { load::<*const u8>(base, offset) }
}

/// Reads a `struct in6_addr` at `offset` of a `struct sock`.
///
/// # Safety
/// The verifier has to know `sock` as a `struct sock`, and `offset` has to be that of a
/// `struct in6_addr`.
#[inline(always)]
unsafe fn address_v6(sock: *const u8, offset: usize) -> Sixteen {
    // SAFETY: the caller promises a `struct in6_addr`, four words of 32 bits.
    joined([0, 4, 8, 12].map(|at| unsafe { load(sock, offset + at) }))
}

/// Both addresses of a `struct sock`, as IPv6 has them; unspecified ones in a kernel without IPv6.
///
/// # Safety
/// The verifier has to know `sock` as a `struct sock`.
#[inline(always)]
pub(crate) unsafe fn addresses_v6(sock: *const u8) -> (Sixteen, Sixteen) {
    if is_absent(kernel!(sock_v6_daddr)) {
        return ([0; 2], [0; 2]);
    }
    // SAFETY: the caller promises a `struct sock`; each offset is that of the member named.
    unsafe { (address_v6(sock, kernel!(sock_v6_rcv_saddr)), address_v6(sock, kernel!(sock_v6_daddr))) }
}

/// Index of the interface that a `struct sock` is bound to; 0 when none.
///
/// # Safety
/// The verifier has to know `sock` as a `struct sock`.
#[inline(always)]
pub(crate) unsafe fn interface(sock: *const u8) -> u32 {
    if is_absent(kernel!(sock_interface)) {
        return 0;
    }
    // SAFETY: the caller promises a `struct sock`; the offset is that of the member named.
    unsafe { load(sock, kernel!(sock_interface)) }
}

/// Inode number of a `struct net`.
///
/// # Safety
/// The verifier has to know `net` as a `struct net`.
#[inline(always)]
pub(crate) unsafe fn inode(net: *const u8) -> u32 {
    // SAFETY: the caller promises a `struct net`; the offset is that of the member named.
    unsafe { load(net, kernel!(net_inum)) }
}
