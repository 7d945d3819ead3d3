//! Which machine and which boot a session belongs to.

use serde::{Deserialize, Serialize};

/// What the header of a session says about the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// The host's name.
    pub host: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The kernel's random name for this boot; `None` where /proc does not tell.
    pub boot_id: Option<String>,
}
