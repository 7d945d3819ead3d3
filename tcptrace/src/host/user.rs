//! Leaves root for a user that nothing else runs as: what has been taken over can then neither signal nor look into other
//! processes. Files are still opened and made as root, because that is whose directories it writes to.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    process::{RawUid, geteuid},
    thread::{
        CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};
use syscalls::{Sysno, syscall};

/// The users that systemd hands out for a while (`DynamicUser=`, systemd.exec(5)): nobody's own.
const FIRST: u32 = 61_184;
const USERS: u32 = 4_336;

/// Whether [`leave_root`] has succeeded.
static HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// The user whose files this process opens and makes.
pub(crate) fn of_files() -> RawUid {
    if HAS_LEFT.load(Ordering::Relaxed) { 0 } else { geteuid().as_raw() }
}

/// Makes this thread, and those that it starts from now on, those of another user; capabilities stay permitted. Does
/// nothing where the user is not root. Returns whether the user is another one now.
///
/// # Errors
/// When the system refuses: a user namespace has to have the user.
pub(crate) fn leave_root() -> io::Result<bool> {
    if !geteuid().is_root() {
        return Ok(false);
    }
    // Each session is a user of its own, so that they cannot signal each other.
    let user = FIRST + std::process::id() % USERS;
    let (uid, gid) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(user));
    // Where a user namespace has switched it off, there are none.
    let _ = set_thread_groups(&[]);
    set_keep_capabilities(true)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    set_keep_capabilities(false)?;
    // The user took them out of effect (capabilities(7)).
    let CapabilitySets { permitted, inheritable, .. } = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable })?;
    for call in [Sysno::setfsgid, Sysno::setfsuid] {
        // SAFETY: these take a number. They tell no error: what cannot be opened for want of them is told then.
        let _ = unsafe { syscall!(call, 0) };
    }
    HAS_LEFT.store(true, Ordering::Relaxed);
    Ok(true)
}
