//! Separate debug files that are installed for stripped programs and libraries: by the build that they belong to, where
//! packages put them and where debuginfod's client keeps them (GDB's manual, "Debugging Information in Separate Files";
//! debuginfod-find(1)). Reads no debug information.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustc_hash::FxHashMap;

use super::{
    elf::{BoundedFile, Elf},
    modules::hexadecimal,
};

/// Builds whose debug files are known; beyond, all is forgotten.
const MOST_BUILDS: usize = 1_024;

/// Shorter ones say too little.
const SHORTEST_BUILD_ID: usize = 8;

/// The debug files of this host.
pub(super) struct DebugFiles {
    /// Where packages put them, below which each build has a place.
    packaged: Vec<PathBuf>,
    /// Where debuginfod's client keeps them.
    fetched: Option<PathBuf>,
    known: FxHashMap<Vec<u8>, Option<PathBuf>>,
}

impl DebugFiles {
    /// Those of the host and of the user at `home`.
    pub(super) fn new(home: Option<&Path>) -> Self {
        Self {
            packaged: vec![PathBuf::from("/usr/lib/debug/.build-id")],
            fetched: home.map(|home| home.join(".cache/debuginfod_client")),
            known: FxHashMap::default(),
        }
    }

    /// The debug file of a build.
    pub(super) fn of(&mut self, build_id: &[u8]) -> Option<&Path> {
        if self.known.len() >= MOST_BUILDS {
            self.forget();
        }
        if !self.known.contains_key(build_id) {
            self.known.insert(build_id.to_owned(), self.find(build_id));
        }
        self.known.get(build_id)?.as_deref()
    }

    /// How many there are, of the builds asked for.
    pub(super) fn found(&self) -> usize {
        self.known.values().flatten().count()
    }

    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    fn find(&self, build_id: &[u8]) -> Option<PathBuf> {
        let is_telling = build_id.len() >= SHORTEST_BUILD_ID;
        self.candidates(build_id).find(|path| is_telling && is_of(path, build_id))
    }

    fn candidates(&self, build_id: &[u8]) -> impl Iterator<Item = PathBuf> {
        let (whole, first) = (hexadecimal(build_id), hexadecimal(build_id.get(..1).unwrap_or_default()));
        let rest = hexadecimal(build_id.get(1..).unwrap_or_default());
        let packaged =
            self.packaged.iter().map(move |folder| folder.join(&first).join(format!("{rest}.debug")));
        packaged.chain(self.fetched.iter().map(move |folder| folder.join(&whole).join("debuginfo")))
    }
}

/// Whether a file is of this build: one at its place may be of another.
fn is_of(path: &Path, build_id: &[u8]) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let file = BoundedFile::new(file);
    Elf::read(&file).and_then(|elf| elf.build_id()) == Some(build_id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::fs;

    use super::*;

    /// The build of this program.
    fn own_build() -> Vec<u8> {
        let file = BoundedFile::new(File::open("/proc/self/exe").unwrap());
        Elf::read(&file).unwrap().build_id().unwrap().to_vec()
    }

    fn found(files: &DebugFiles) -> Option<PathBuf> {
        files.find(&own_build())
    }

    #[test]
    fn a_debug_file_is_found_where_packages_put_it_and_where_it_was_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let mut files = DebugFiles::new(Some(&home));
        files.packaged = vec![folder.path().join("packaged")];
        assert_eq!(found(&files), None);
        let places: Vec<PathBuf> = files.candidates(&own_build()).collect();
        for place in places.iter().rev() {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy("/proc/self/exe", place).unwrap();
            assert_eq!(found(&files).as_ref(), Some(place));
        }
    }

    #[test]
    fn a_file_of_another_build_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = DebugFiles::new(None);
        files.packaged = vec![folder.path().to_owned()];
        let place = files.candidates(&own_build()).next().unwrap();
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, b"no ELF file").unwrap();
        assert_eq!(found(&files), None);
    }
}
