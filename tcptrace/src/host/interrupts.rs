//! SIGINT, which a shell makes the commands ignore that it runs in the background: they inherit that. Ctrl-C and `kill -INT`
//! end this process all the same, from its first moment on and not only once a session handles signals.

/// Has SIGINT do what it does by default.
pub fn heed() {
    // SAFETY: this installs no handler, so no code runs in one.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}
