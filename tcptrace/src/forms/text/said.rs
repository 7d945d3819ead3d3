//! What a terminal was told of processes. Of a leak like the one before, the same words are not said again. Files have all
//! of them.

use rustc_hash::FxHashMap;

use super::parts::{Detail, cause, holders, reasons_in_words};
use crate::model::record::Leak;

/// Processes that are known; beyond, all are forgotten.
const MAX_PROCESSES: usize = 4096;

/// What was said last of each process, or of processes that hold sockets together.
#[derive(Default)]
pub(super) struct Said(FxHashMap<String, String>);

impl Said {
    /// How much to say of a leak.
    pub(super) fn detail(&mut self, leak: &Leak) -> Detail {
        let Some(because) = leak.because.as_ref().filter(|because| !because.is_empty()) else {
            return Detail::Full;
        };
        let first = because.first().map(|reason| reason.id);
        let words = format!("{}: {}", cause(leak.verdict, first), reasons_in_words(because));
        if self.0.len() >= MAX_PROCESSES {
            self.0.clear();
        }
        let before = self.0.insert(holders(leak.owners.first(), leak.owners.len()), words.clone());
        if before == Some(words) { Detail::Brief } else { Detail::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        examples,
        reason::{Reason, ReasonId, ReasonNumbers},
    };

    #[test]
    fn reasons_are_said_once_until_they_change() {
        let mut said = Said::default();
        let mut detail = |text: &str| {
            let because = vec![Reason {
                id: ReasonId::Connected,
                text: text.to_owned(),
                numbers: ReasonNumbers::default(),
            }];
            said.detail(&Leak { because: Some(because), ..examples::leak() })
        };
        assert_eq!(detail("it sleeps"), Detail::Full);
        assert_eq!(detail("it sleeps"), Detail::Brief);
        assert_eq!(detail("it runs"), Detail::Full);
        assert_eq!(detail("it sleeps"), Detail::Full);
        assert_eq!(said.detail(&Leak { because: None, ..examples::leak() }), Detail::Full);
    }
}
