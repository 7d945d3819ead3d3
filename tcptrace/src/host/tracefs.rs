//! Finds tracefs, and mounts it if nobody has. The only part that mounts anything.

use std::{io, path::PathBuf};

use rustix::mount::{MountFlags, mount};
use thiserror::Error;

/// The conventional mount point (since Linux 4.1), and the one inside debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Tracefs is missing and could not be mounted.
#[derive(Debug, Error)]
#[error(
    "no tracefs at {place}, and it could not be mounted ({source}); mount it with: mount -t tracefs tracefs {place}",
    place = PLACES[0]
)]
pub(crate) struct TracefsError {
    source: io::Error,
}

/// The root of tracefs. Mounts it at the conventional place if nobody has, and logs that.
///
/// # Errors
/// When there is no tracefs and mounting it fails.
pub(crate) fn root() -> Result<PathBuf, TracefsError> {
    if let Some(place) = PLACES.iter().map(PathBuf::from).find(|place| place.join("events").is_dir()) {
        return Ok(place);
    }
    let place = PLACES[0];
    mount("tracefs", place, "tracefs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .map_err(|errno| TracefsError { source: errno.into() })?;
    log::info!("mounted tracefs at {place}");
    Ok(PathBuf::from(place))
}
