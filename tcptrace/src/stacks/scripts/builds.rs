//! The builds of interpreters that were found on this host, by the numbers that the kernel side knows them by. Many processes, and
//! containers, run the same.

use std::sync::{Arc, Mutex, PoisonError};

use super::machine::Machine;

/// Builds that are told from each other; processes of further ones are left out.
const MOST_BUILDS: usize = 256;

/// All that were found. A number stays valid.
#[derive(Default)]
pub(crate) struct Builds(Mutex<Vec<Arc<Machine>>>);

impl Builds {
    /// The number of a build; `None` where there are too many.
    pub(super) fn number(&self, build: &Machine) -> Option<u32> {
        let mut builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = builds.iter().position(|known| **known == *build);
        let number = known.or_else(|| {
            let is_room = builds.len() < MOST_BUILDS;
            is_room.then(|| {
                builds.push(Arc::new(build.clone()));
                builds.len() - 1
            })
        });
        u32::try_from(number?).ok()
    }

    pub(super) fn get(&self, number: u32) -> Option<Arc<Machine>> {
        let builds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        builds.get(usize::try_from(number).ok()?).map(Arc::clone)
    }
}
