//! The machine and the boot that a session belongs to.

use serde::{Deserialize, Serialize};

/// What the header of a session says about the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// The host name.
    pub host: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The kernel's random id of this boot; `None` if /proc does not show it.
    pub boot_id: Option<String>,
}
