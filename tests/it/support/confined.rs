//! Has the tool run where it may not look at everything: without a capability, in a user namespace, with few descriptors,
//! with another /proc.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, UnshareFlags};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use syscalls::Sysno;

use super::TCPTRACE;
use super::run::{Ran, run_command};

/// Where the tool runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Confined {
    /// As root of a user namespace of its own.
    UserNamespace,
    /// As root without these capabilities.
    Without(CapabilitySet),
    /// As nobody, with these capabilities alone, as a unit of systemd with `DynamicUser=` and `AmbientCapabilities=` is.
    Nobody(CapabilitySet),
    /// With so many descriptors at most, and so many until it asks for more.
    Descriptors { soft: u64, hard: u64 },
    /// With so many bytes of address space at most.
    AddressSpace(u64),
    /// As root with so many bytes of locked memory at most, and without the right to more.
    LockedMemory(u64),
    /// Where nothing is at /sys/kernel/btf.
    NoBtf,
    /// Without /sys.
    NoSys,
    /// Where nothing is at /sys/devices.
    NoCpuList,
    /// Without /proc.
    NoProc,
    /// With /proc mounted with these options.
    Proc(&'static std::ffi::CStr),
    /// With /proc mounted with these options, and without the right to trace.
    ProcUntraced(&'static std::ffi::CStr),
    /// Where a filter of system calls refuses capset(2).
    NoCapset,
}

impl Confined {
    /// Has the command run there.
    pub(crate) fn confine(self, command: &mut Command) -> &mut Command {
        let filter = without_capset();
        // SAFETY: the closure makes system calls, and neither allocates nor locks.
        unsafe { command.pre_exec(move || self.enter(&filter)) }
    }

    fn enter(self, without_capset: &BpfProgram) -> io::Result<()> {
        match self {
            Self::NoCapset => seccompiler::apply_filter(without_capset).map_err(|_| io::ErrorKind::Other)?,
            Self::UserNamespace => {
                // SAFETY: a child that has one thread shares nothing.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)? };
                let map = rustix::fs::openat(CWD, c"/proc/self/uid_map", OFlags::WRONLY, Mode::empty())?;
                rustix::io::write(&map, b"0 0 1")?;
            }
            Self::Without(capabilities) => drop_all(capabilities)?,
            Self::Nobody(capabilities) => become_nobody(capabilities)?,
            Self::Descriptors { soft, hard } => {
                let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
                rustix::process::setrlimit(Resource::Nofile, limit)?;
            }
            Self::AddressSpace(bytes) => {
                let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
                rustix::process::setrlimit(Resource::As, limit)?;
            }
            Self::LockedMemory(bytes) => {
                let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
                rustix::process::setrlimit(Resource::Memlock, limit)?;
                drop_all(CapabilitySet::SYS_RESOURCE)?;
            }
            Self::NoBtf => {
                own_mounts()?;
                rustix::mount::mount(c"tmpfs", c"/sys/kernel/btf", c"tmpfs", MountFlags::empty(), c"")?;
            }
            Self::NoSys => {
                own_mounts()?;
                rustix::mount::unmount(c"/sys", UnmountFlags::DETACH)?;
            }
            Self::NoCpuList => {
                own_mounts()?;
                rustix::mount::mount(c"tmpfs", c"/sys/devices", c"tmpfs", MountFlags::empty(), c"")?;
            }
            Self::NoProc => {
                own_mounts()?;
                rustix::mount::unmount(c"/proc", UnmountFlags::DETACH)?;
            }
            Self::Proc(options) => mount_proc(options)?,
            Self::ProcUntraced(options) => {
                mount_proc(options)?;
                drop_all(CapabilitySet::SYS_PTRACE)?;
            }
        }
        Ok(())
    }

    /// Runs the tool there to its end.
    pub(crate) fn run(self, arguments: &[&str]) -> Ran {
        run_command(self.confine(Command::new(TCPTRACE).args(arguments)))
    }
}

fn without_capset() -> BpfProgram {
    let rules = [(Sysno::capset.id().into(), Vec::new())].into();
    let refused = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).unwrap().try_into().unwrap()
}

/// Root has what is in the bounding set when it executes a program.
fn drop_all(capabilities: CapabilitySet) -> io::Result<()> {
    for capability in capabilities.iter() {
        rustix::thread::remove_capability_from_bounding_set(capability)?;
    }
    Ok(())
}

/// The user that owns nothing.
const NOBODY: u32 = 65534;

fn become_nobody(capabilities: CapabilitySet) -> io::Result<()> {
    use rustix::thread::{
        CapabilitySets, configure_capability_in_ambient_set, set_capabilities, set_keep_capabilities,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    };
    let (uid, gid) = (rustix::process::Uid::from_raw(NOBODY), rustix::process::Gid::from_raw(NOBODY));
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets { effective: capabilities, permitted: capabilities, inheritable: capabilities };
    set_capabilities(None, sets)?;
    for capability in capabilities.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

fn own_mounts() -> io::Result<()> {
    // SAFETY: a child that has one thread shares nothing.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}

fn mount_proc(options: &std::ffi::CStr) -> io::Result<()> {
    own_mounts()?;
    Ok(rustix::mount::mount(c"proc", c"/proc", c"proc", MountFlags::empty(), options)?)
}

/// Runs the tool as the first process of a pid namespace, with the /proc of the host or with its own.
pub(crate) fn in_pid_namespace(has_own_proc: bool, arguments: &[&str]) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]);
    if has_own_proc {
        command.arg("--mount-proc");
    }
    run_command(command.arg(TCPTRACE).args(arguments))
}
