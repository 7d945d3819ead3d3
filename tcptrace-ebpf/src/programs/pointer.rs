//! Pointers to a TCP socket that was found through a descriptor, and on to what it points to. The verifiers of some
//! kernels trust no socket that was found so, and the helper that tells a TCP socket takes only what they trust. There,
//! everything is read through the helper for addresses without a type.

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use tcptrace_ebpf::record::{AF_INET, AF_INET6, IPPROTO_TCP};

use crate::{
    probe,
    settings::{config, kernel},
    typed,
};

/// `SOCK_STREAM` of include/linux/net.h.
const STREAM: u16 = 1;

/// The address of a structure, which is read as the verifier allows.
#[derive(Clone, Copy)]
pub(crate) struct Pointer(*const u8);

impl Pointer {
    /// To the `struct tcp_sock` that begins with this one; null where it is none.
    ///
    /// # Safety
    /// The verifier has to know `sock` as a `struct sock`, whose socket has a descriptor.
    #[inline(always)]
    pub(crate) unsafe fn to_tcp(sock: *const u8) -> Self {
        // SAFETY: the caller promises a `struct sock`; each offset is that of the member named.
        unsafe {
            if config!(probe_reads) == 0 {
                return Self(bpf_skc_to_tcp_sock(sock.cast_mut().cast()).cast());
            }
            // As the helper tells: `sk_is_tcp` of include/net/sock.h. What has a descriptor is no minisocket.
            let family = typed::load::<u16>(sock, kernel!(sock_family));
            let is_tcp = (family == AF_INET || family == AF_INET6)
                && typed::load::<u16>(sock, kernel!(sock_protocol)) == IPPROTO_TCP
                && typed::load::<u16>(sock, kernel!(sock_type)) == STREAM;
            Self(if is_tcp { sock } else { core::ptr::null() })
        }
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Reads a `T` at this offset.
    ///
    /// # Safety
    /// The offset has to be that of a member of a compatible type.
    #[inline(always)]
    pub(crate) unsafe fn load<T: Copy + Default>(self, offset: usize) -> T {
        if config!(probe_reads) != 0 {
            return probe::read(self.0 as u64, offset);
        }
        // SAFETY: the verifier knows the type of the address; the caller promises the offset.
        unsafe { typed::load(self.0, offset) }
    }

    /// Follows the pointer at this offset.
    ///
    /// # Safety
    /// The same as for [`Pointer::load`].
    #[inline(always)]
    pub(crate) unsafe fn follow(self, offset: usize) -> Self {
        if config!(probe_reads) != 0 {
            return Self(probe::read::<u64>(self.0 as u64, offset) as *const u8);
        }
        // SAFETY: the verifier knows the type of the address; the caller promises the offset.
        Self(unsafe { typed::follow(self.0, offset) })
    }
}
