//! Where a worker runs: namespaces, cgroups, and programs under other names.
//!
//! Removes all that it creates, and leaves alone what existed before.

use super::{Role, Stage, WorkerId};
use crate::message::{Reply, Request};
use crate::worker::{self, Equipment};
use anyhow::{Context as _, Result, ensure};
use rustix::thread::UnshareFlags;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Places {
    programs: Option<tempfile::TempDir>,
    /// In the order they were made.
    cgroups: Vec<PathBuf>,
    /// What a worker leaves behind where it has to lie.
    files: Vec<PathBuf>,
}

impl Stage {
    /// Every worker that is started from now on has a network namespace of its own.
    pub(crate) fn enter_network_namespace(&self) -> Result<()> {
        ensure!(self.members.is_empty(), "the namespace has to come first");
        // SAFETY: unsharing a table of descriptors would be unsafe beside other threads, and that is not unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .context("cannot make a network namespace (this needs root)")?;
        bring_up_loopback()
    }

    /// Every worker that is started from now on reaches itself as a host elsewhere. Returns who carries the packets.
    pub(crate) fn enter_network_with_host_elsewhere(&mut self) -> Result<WorkerId> {
        self.enter_network_namespace()?;
        let wire = self.start(Role::Bystander)?;
        self.order(wire, &Request::OpenWire)?;
        Ok(wire)
    }

    /// Changes a setting under /proc/sys/net/ipv4 of that namespace.
    pub(crate) fn set_in_network_namespace(&self, name: &str, value: &str) -> Result<()> {
        ensure!(self.members.is_empty(), "the setting has to come first");
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value).context(path)
    }

    /// Starts a worker as the first process of a new pid namespace; nobody can be started afterwards
    /// but in there.
    pub(crate) fn start_in_pid_namespace(&mut self, role: Role) -> Result<WorkerId> {
        // SAFETY: unsharing a table of descriptors would be unsafe beside other threads, and that is not unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID) }
            .context("cannot make a pid namespace (this needs root)")?;
        self.start_with(role, 0, Equipment::default())
    }

    /// Starts this program under a pid that is free, as a process that is no worker.
    pub(crate) fn start_with_pid(&mut self, pid: i32, program: &Path) -> Result<WorkerId> {
        let (ours, theirs) = UnixStream::pair()?;
        worker::start_with_pid(pid, program, &theirs)?;
        let bystander = self.enlist(pid, Role::Bystander, ours, VecDeque::new())?;
        ensure!(matches!(self.hear(bystander)?, Reply::Done), "the bystander said something else");
        Ok(bystander)
    }

    /// A program with this name that does what leaky does: a copy when `own_file`, else a link.
    pub(crate) fn program(&mut self, name: &str, own_file: bool) -> Result<PathBuf> {
        let ourselves = std::env::current_exe()?;
        let program = self.program_folder()?.join(name);
        if own_file {
            std::fs::copy(ourselves, &program).map(drop)
        } else {
            std::os::unix::fs::symlink(ourselves, &program)
        }
        .with_context(|| format!("cannot make {}", program.display()))?;
        Ok(program)
    }

    /// A library of ours, which lies nowhere else but where it is loaded from.
    pub(crate) fn library(&mut self) -> Result<PathBuf> {
        let built = std::env::current_exe()?.with_file_name("libleaky_library.so");
        let library = self.program_folder()?.join("libleaky-plugin.so");
        std::fs::copy(&built, &library).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(library)
    }

    /// The file is removed when everything is over.
    pub(crate) fn clean_up_later(&mut self, file: PathBuf) {
        self.places.files.push(file);
    }

    fn program_folder(&mut self) -> Result<&Path> {
        let folder = match &mut self.places.programs {
            Some(folder) => folder,
            none => none.insert(tempfile::tempdir()?),
        };
        Ok(folder.path())
    }

    /// Puts a worker into the cgroup of this path, below every hierarchy that service managers use.
    pub(crate) fn put_into_cgroup(&mut self, worker: WorkerId, path: &Path) -> Result<()> {
        for root in cgroup_roots()? {
            self.put_below(worker, root, path)?;
        }
        Ok(())
    }

    /// Puts a worker into the cgroup of this path in one hierarchy. Returns its folder.
    pub(super) fn put_below(&mut self, worker: WorkerId, root: PathBuf, path: &Path) -> Result<PathBuf> {
        let pid = self.pid(worker)?;
        let mut folder = root;
        for part in path.strip_prefix("/").unwrap_or(path) {
            folder.push(part);
            if !folder.exists() {
                std::fs::create_dir_all(&folder)
                    .with_context(|| format!("cannot make {}", folder.display()))?;
                self.places.cgroups.push(folder.clone());
            }
        }
        let members = folder.join("cgroup.procs");
        std::fs::write(&members, pid.to_string())
            .with_context(|| format!("cannot put a process into {}", members.display()))?;
        Ok(folder)
    }
}

impl Places {
    /// Has to be called after the processes are gone.
    pub(super) fn remove(&mut self) {
        for file in self.files.drain(..) {
            let _never_made = std::fs::remove_file(file);
        }
        let until = Instant::now() + Duration::from_secs(2);
        while let Some(folder) = self.cgroups.pop() {
            // A process counts for a moment after it has been reaped.
            while std::fs::remove_dir(&folder).is_err() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Mount points of cgroup2 and, on a hybrid host, of systemd's own v1 hierarchy.
fn cgroup_roots() -> Result<Vec<PathBuf>> {
    let is_root = |kind: &str| {
        kind.starts_with("cgroup2 ") || (kind.starts_with("cgroup ") && kind.contains("name=systemd"))
    };
    let roots = mounts(is_root)?;
    ensure!(!roots.is_empty(), "no cgroup2 and no name=systemd hierarchy is mounted on this host");
    Ok(roots)
}

/// Mount points of file systems whose type, source and options are wanted.
pub(super) fn mounts(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let root = |line: &str| {
        // proc_pid_mountinfo(5): the fields after " - " are type, source and options.
        let (mount, kind) = line.split_once(" - ")?;
        is_wanted(kind).then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    };
    Ok(mounts.lines().filter_map(root).collect())
}

/// A new network namespace has a loopback interface that is down.
fn bring_up_loopback() -> Result<()> {
    let any = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)?;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    let answer = unsafe {
        libc::ioctl(rustix::fd::AsRawFd::as_raw_fd(&any), libc::SIOCSIFFLAGS as _, &raw const request)
    };
    ensure!(answer == 0, "cannot bring up the loopback interface: {}", std::io::Error::last_os_error());
    Ok(())
}
