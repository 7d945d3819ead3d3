//! Leaves root for one of the users that services get for a while. Whoever takes over the process then has no more rights
//! to other processes than its capabilities give. Files are still opened and made as root, because that is whose
//! directories it writes to.

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{FsWord, Gid, Uid, statfs},
    io::Errno,
    process::{RawUid, Resource, getegid, geteuid, getgid, getrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
        set_thread_res_gid, set_thread_res_uid,
    },
};
use syscalls::{Sysno, syscall};

/// The users that systemd hands out for a while (`DynamicUser=`, systemd.exec(5)): no person's own.
const FIRST: u32 = 61_184;
const USERS: u32 = 4_336;

/// Whether [`leave_root`] has succeeded.
static HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// The user whose files this process opens and makes.
pub(crate) fn of_files() -> RawUid {
    if HAS_LEFT.load(Ordering::Relaxed) { 0 } else { geteuid().as_raw() }
}

/// What a process of root can do that it could not do without, or that others could not do to it: with less it stays root.
const FULL: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::DAC_OVERRIDE)
    // Who started it has no more than this: without it, it could not end what is another user's.
    .union(CapabilitySet::KILL);

/// Threads that a session has, and some more: this limit is not root's.
const THREADS: u64 = 64;

/// Where `files` are, whether root alone gets at them: who mounts a file system of FUSE shuts all others out, by their real
/// user (`fuse_allow_current_process` of fs/fuse/dir.c).
fn are_roots_alone(files: &[PathBuf]) -> bool {
    /// `FUSE_SUPER_MAGIC` of include/uapi/linux/magic.h.
    const FUSE: FsWord = 0x6573_5546;
    files.iter().any(|file| match statfs(file) {
        Ok(system) => system.f_type == FUSE,
        // What is not there, nobody gets at. Some servers of FUSE do not answer.
        Err(errno) => errno != Errno::NOENT,
    })
}

/// Makes this thread, and those that it starts from now on, those of another user; capabilities stay permitted. Does
/// nothing where the user is not root, or would lose something by it: root's rights are not all there, `files` are for root
/// alone, or there would be too few threads. Returns whether the user is another one now.
///
/// # Errors
/// When the system refuses: a user namespace has to have the user.
pub(crate) fn leave_root(files: &[PathBuf]) -> io::Result<bool> {
    let has_threads = getrlimit(Resource::Nproc).current.is_none_or(|most| most >= THREADS);
    let sets = capabilities(None)?;
    if !geteuid().is_root() || !sets.effective.contains(FULL) || !has_threads || are_roots_alone(files) {
        return Ok(false);
    }
    // Whoever may not set them, for a filter of system calls, could not put them into effect again below.
    set_capabilities(None, sets)?;
    // Sessions can seldom signal each other, and no service of the system them.
    let user = FIRST + std::process::id() % USERS;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    let (real, group) = (getgid(), getegid());
    set_keep_capabilities(true)?;
    set_thread_res_gid(gid, gid, gid)?;
    if let Err(refused) = set_thread_res_uid(uid, uid, uid) {
        set_thread_res_gid(real, group, group)?;
        return Err(refused.into());
    }
    set_keep_capabilities(false)?;
    // The user took them out of effect (capabilities(7)).
    let CapabilitySets { permitted, inheritable, .. } = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable })?;
    for (call, of_files) in [(Sysno::setfsgid, group.as_raw()), (Sysno::setfsuid, 0)] {
        // SAFETY: these take a number. They tell no error: what cannot be opened for want of them is told then.
        let _ = unsafe { syscall!(call, of_files) };
    }
    HAS_LEFT.store(true, Ordering::Relaxed);
    Ok(true)
}
