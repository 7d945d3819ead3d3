//! The way to the descriptor tables: the kernel's iterator where it can be had, /proc otherwise. Decides
//! between them, looks at nothing itself.

use super::descriptors::{Look, Wanted};
use crate::kernel::{HolderScan, LoadError};

/// How descriptor tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HolderSource {
    /// By the kernel's iterator over all tasks and files (Linux 5.11 with BTF)
    Iterator,
    /// By following the links in /proc/PID/fd, which is slower
    Proc,
}

impl HolderSource {
    /// Its name on the command line and in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Iterator => "iterator",
            Self::Proc => "proc",
        }
    }
}

/// The way that was taken.
pub(crate) struct Tables {
    scan: Option<HolderScan>,
    is_proc: bool,
}

impl Tables {
    /// Takes the way that is forced, or finds out at the first look.
    ///
    /// # Errors
    /// When the iterator is forced and cannot be had.
    pub(crate) fn new(forced: Option<HolderSource>) -> Result<Self, LoadError> {
        let scan = if forced == Some(HolderSource::Iterator) { Some(HolderScan::new()?) } else { None };
        Ok(Self { scan, is_proc: forced == Some(HolderSource::Proc) })
    }

    /// Looks with the iterator; `None` when /proc is the way. Says in the log why, once.
    pub(crate) fn look(&mut self, wanted: Wanted<'_>) -> Option<Look> {
        if self.is_proc {
            return None;
        }
        let look = self.scan().and_then(|scan| {
            Look::with_iterator(scan, wanted)
                .map_err(|error| LoadError::refused("iterate over descriptor tables", &error))
        });
        look.inspect_err(|error| {
            log::warn!("{error}: descriptor tables are read from /proc, which is slower");
            self.is_proc = true;
        })
        .ok()
    }

    /// Looks into the listeners' queues as well, if the iterator is the way.
    pub(crate) fn look_into_queues(&mut self, look: &mut Look) {
        if let Some(scan) = &mut self.scan
            && let Err(error) = look.look_into_queues(scan)
        {
            log::warn!("{error}: a connection may be told of all listeners that share its port");
        }
    }

    fn scan(&mut self) -> Result<&mut HolderScan, LoadError> {
        match &mut self.scan {
            Some(scan) => Ok(scan),
            none => Ok(none.insert(HolderScan::new()?)),
        }
    }
}
