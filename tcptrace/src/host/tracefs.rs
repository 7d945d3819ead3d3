//! Finds tracefs, and mounts it if nobody has. The only part that mounts anything.

use std::{fs, io, path::PathBuf};

use rustix::{
    io::Errno,
    mount::{MountFlags, mount},
};
use thiserror::Error;

use super::sysfs;

/// The conventional mount point (since Linux 4.1), and the one inside debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Tracefs cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TracefsError {
    /// It is missing and could not be mounted.
    #[error(
        "no tracefs at {place}, and it could not be mounted ({source}); mount it with: mount -t tracefs tracefs {place}",
        place = PLACES[0]
    )]
    NotMounted {
        /// What the kernel said.
        source: io::Error,
    },
    /// There is nothing to mount it on.
    #[error("no tracefs at {place}, because sysfs is not mounted: {}", sysfs::MOUNT, place = PLACES[0])]
    NoSysfs,
    /// It is mounted, and has no tracepoints: a kernel that is locked down makes no files there (`tracefs_create_file` of
    /// fs/tracefs/inode.c).
    #[error("the tracefs at {place} has no tracepoints, as where the kernel is locked down", place = PLACES[0])]
    Empty,
    /// It is mounted, for the eyes of others.
    #[error("the tracefs at {place} may not be read ({source}); it takes {}", Self::IT_TAKES)]
    Unreadable {
        /// Where it is.
        place: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TracefsError {
    /// What reading it takes where it is for others.
    pub(crate) const IT_TAKES: &'static str = "root, or CAP_DAC_READ_SEARCH";
}

/// The root of tracefs. Mounts it at the conventional place if nobody has, and logs that.
///
/// # Errors
/// When there is no tracefs and mounting it fails.
pub(crate) fn root() -> Result<PathBuf, TracefsError> {
    if let Some(place) = PLACES.iter().map(PathBuf::from).find(|place| place.join("events").is_dir()) {
        return Ok(place);
    }
    for place in PLACES {
        if let Err(source) = fs::read_dir(place)
            && source.kind() == io::ErrorKind::PermissionDenied
        {
            return Err(TracefsError::Unreadable { place, source });
        }
    }
    let place = PLACES[0];
    mount("tracefs", place, "tracefs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .map_err(|errno| match errno {
            Errno::BUSY => TracefsError::Empty,
            _ if sysfs::is_missing() => TracefsError::NoSysfs,
            _ => TracefsError::NotMounted { source: errno.into() },
        })?;
    log::info!("mounted tracefs at {place}");
    Ok(PathBuf::from(place))
}
