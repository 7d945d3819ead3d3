//! Finds tracefs, and mounts it where it is not.

use std::{io, path::PathBuf};

use rustix::mount::{MountFlags, mount};
use thiserror::Error;

/// Where it is mounted by convention (since Linux 4.1), and where it shows up within debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Tracefs is not to be had.
#[derive(Debug, Error)]
#[error(
    "no tracefs at {place}, and it could not be mounted ({source}); mount it with: mount -t tracefs tracefs {place}",
    place = PLACES[0]
)]
pub struct TracefsError {
    source: io::Error,
}

/// The root of tracefs. Mounts it at its conventional place when nobody has, and says so.
///
/// # Errors
/// When there is none and it cannot be mounted.
pub fn root() -> Result<PathBuf, TracefsError> {
    if let Some(place) = PLACES.iter().map(PathBuf::from).find(|place| place.join("events").is_dir()) {
        return Ok(place);
    }
    let place = PLACES[0];
    mount("tracefs", place, "tracefs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .map_err(|errno| TracefsError { source: errno.into() })?;
    log::info!("mounted tracefs at {place}");
    Ok(PathBuf::from(place))
}
