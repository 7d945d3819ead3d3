//! What processes had mapped, for when they have ended: of the last ones, with so many files open in all. Names nothing.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use rustc_hash::FxHashMap;

use crate::stacks::{
    kept_code::{KeptCode, KeptFile, Part},
    mappings::{self, FileIdentity, Mapping},
};

/// Processes, and files that are kept open for them; beyond, the oldest are forgotten.
const MOST_PROCESSES: usize = 512;
const MOST_FILES: usize = 128;

/// Parts of the code of one process.
const MOST_PARTS: usize = 256;

/// The code of the last processes.
#[derive(Default)]
pub(super) struct KeptCodes {
    /// By pid.
    last: VecDeque<(u32, Arc<KeptCode>)>,
    files: FxHashMap<FileIdentity, Weak<KeptFile>>,
    /// As many others point to it as files are open.
    open: Arc<()>,
}

impl KeptCodes {
    /// Keeps the code of a process, whose directory of /proc this is, as long as there is room.
    pub(super) fn keep(&mut self, pid: u32, process: &OwnedFd, mappings: &[Mapping]) -> Weak<KeptCode> {
        let found = mappings::program(process).ok().zip(mappings::program_path(process).ok());
        let Some(((program_identity, _), program)) = found else { return Weak::new() };
        let part = |mapping: &Mapping| Some((mapping.clone(), self.file(process, mapping)?));
        let parts: Vec<Part> = mappings.iter().take(MOST_PARTS).filter_map(part).collect();
        // What a process has mapped is read again and again.
        let known = self.last.iter().rev().find(|(of, code)| *of == pid && code.is(program_identity, &parts));
        if let Some((_, code)) = known {
            return Arc::downgrade(code);
        }
        self.make_room();
        let code = Arc::new(KeptCode { program, program_identity, parts });
        let kept = Arc::downgrade(&code);
        self.last.push_back((pid, code));
        kept
    }

    /// The file of a mapping, which is kept once.
    fn file(&mut self, process: &OwnedFd, mapping: &Mapping) -> Option<Arc<KeptFile>> {
        let (identity, file) = mapping.open(process).ok()?;
        if let Some(known) = self.files.get(&identity).and_then(Weak::upgrade) {
            return Some(known);
        }
        self.make_room();
        if self.files.len() >= 2 * MOST_FILES {
            self.files.retain(|_, file| file.strong_count() > 0);
        }
        let path = mapping.path(process).unwrap_or_default();
        let kept = Arc::new(KeptFile::new(path, identity, file, &self.open));
        self.files.insert(identity, Arc::downgrade(&kept));
        Some(kept)
    }

    fn make_room(&mut self) {
        while self.last.len() >= MOST_PROCESSES || Arc::strong_count(&self.open) > MOST_FILES {
            if self.last.pop_front().is_none() {
                break;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::{io::Read as _, path::Path};

    use super::*;

    fn process() -> (OwnedFd, Mapping) {
        let process = mappings::process(Path::new("/proc"), std::process::id()).unwrap();
        let mapping = mappings::executable(&process).unwrap().next().unwrap();
        (process, mapping)
    }

    #[test]
    fn files_of_the_last_processes_are_open_and_no_more() {
        let ((process, mapping), mut codes) = (process(), KeptCodes::default());
        let keep_another = |_| {
            let kept = codes.keep(std::process::id(), &process, std::slice::from_ref(&mapping));
            // The next one has another file.
            codes.files.clear();
            kept
        };
        let all: Vec<_> = (0..MOST_FILES + 9).map(keep_another).collect();
        let kept = all.iter().filter(|code| code.strong_count() > 0).count();
        assert!((MOST_FILES - 1..=MOST_FILES).contains(&kept), "{kept}");
        assert!(all.last().unwrap().strong_count() > 0 && all[0].strong_count() == 0);
        assert!(Arc::strong_count(&codes.open) <= MOST_FILES + 1);
    }

    #[test]
    fn a_file_is_open_once_and_can_be_read_when_its_process_is_gone() {
        let ((process, mapping), mut codes) = (process(), KeptCodes::default());
        let of_pid = |nth: usize| u32::try_from(nth / 2).unwrap();
        for nth in 0..4 * MOST_PROCESSES {
            // Each is read twice.
            codes.keep(of_pid(nth), &process, std::slice::from_ref(&mapping));
        }
        assert_eq!((codes.last.len(), Arc::strong_count(&codes.open)), (MOST_PROCESSES, 2));
        let (first, code) = codes.last.front().unwrap();
        assert_eq!(*first, of_pid(2 * MOST_PROCESSES));
        let mut head = [0; 4];
        code.open(&mapping).unwrap().1.read_exact(&mut head).unwrap();
        assert_eq!(head, *b"\x7fELF");
    }
}
