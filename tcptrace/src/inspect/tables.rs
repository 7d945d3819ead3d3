//! Chooses how to read descriptor tables: the kernel's iterator if it works, else /proc. Reads none itself.

use super::descriptors::{DescriptorScan, ScanTarget};
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

/// The chosen way to read descriptor tables.
pub(crate) struct Tables {
    scan: Option<HolderScan>,
    is_proc: bool,
}

impl Tables {
    /// Uses the forced source, or chooses at the first scan.
    ///
    /// # Errors
    /// When the iterator is forced and does not work.
    pub(crate) fn new(forced: Option<HolderSource>) -> Result<Self, LoadError> {
        let scan = if forced == Some(HolderSource::Iterator) { Some(HolderScan::new()?) } else { None };
        Ok(Self { scan, is_proc: forced == Some(HolderSource::Proc) })
    }

    /// Scans with the iterator; `None` if /proc has to be used. Logs the reason once.
    pub(crate) fn scan(&mut self, wanted: ScanTarget<'_>) -> Option<DescriptorScan> {
        if self.is_proc {
            return None;
        }
        let found = self.iterator().and_then(|scan| {
            DescriptorScan::with_iterator(scan, wanted)
                .map_err(|error| LoadError::refused("iterate over descriptor tables", &error))
        });
        found
            .inspect_err(|error| {
                log::warn!("{error}: descriptor tables are read from /proc, which is slower");
                self.is_proc = true;
            })
            .ok()
    }

    /// Adds the listeners' queues to a scan of the iterator.
    pub(crate) fn scan_queues(&mut self, found: &mut DescriptorScan) {
        if let Some(scan) = &mut self.scan
            && let Err(error) = found.scan_queues(scan)
        {
            log::warn!("{error}: a connection may be told of all listeners that share its port");
        }
    }

    fn iterator(&mut self) -> Result<&mut HolderScan, LoadError> {
        match &mut self.scan {
            Some(scan) => Ok(scan),
            none => Ok(none.insert(HolderScan::new()?)),
        }
    }
}
