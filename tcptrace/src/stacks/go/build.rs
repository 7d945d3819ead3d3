//! What Go writes into a program of how it was built (`go version -m`, src/debug/buildinfo): the path of its main module.

use super::bytes::{Bytes, Stream};

/// Most bytes read: a line for each module that it is made of.
const MAX_BYTES: usize = 256 * 1024;
/// Longest path of a module.
const MAX_PATH: usize = 512;
/// Texts follow; before Go 1.18 pointers to them did.
const HAS_TEXTS: u8 = 2;

/// The path of the main module, from a `.go.buildinfo` section; `None` for programs that were built without modules.
pub(super) fn main_module<B: Bytes + ?Sized>(file: &B, at: u64) -> Option<String> {
    let start = file.read::<16>(at)?;
    if !start.starts_with(b"\xff Go buildinf:") || start[15] & HAS_TEXTS == 0 {
        return None;
    }
    let mut bytes = Stream::new(file, at.checked_add(32)?, MAX_BYTES);
    let version = length(&mut bytes)?;
    bytes.nth(version.checked_sub(1)?)?;
    let length = length(&mut bytes)?;
    let mut lines = Lines(bytes.take(length));
    // The path of the main package comes before, its dependencies after it.
    let module = (0..4).find_map(|_| lines.next()?.strip_prefix("mod\t").map(ToOwned::to_owned))?;
    module.split('\t').next().filter(|path| !path.is_empty()).map(ToOwned::to_owned)
}

/// Seven bits a byte, the lowest first.
fn length(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut length = 0;
    for shift in (0..28).step_by(7) {
        let byte = bytes.next()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// The beginnings of lines. Sixteen bytes that mark the text come before the first.
struct Lines<I>(I);

impl<I: Iterator<Item = u8>> Iterator for Lines<I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        for byte in self.0.by_ref().take_while(|byte| *byte != b'\n') {
            if line.len() < MAX_PATH {
                line.push(byte);
            }
        }
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(version: &str, modules: &str) -> Vec<u8> {
        let mut bytes = b"\xff Go buildinf:\x08\x02".to_vec();
        bytes.resize(32, 0);
        bytes.push(version.len().to_le_bytes()[0]);
        bytes.extend(version.as_bytes());
        let length = modules.len() + 32;
        bytes.extend([length.to_le_bytes()[0] | 0x80, (length >> 7).to_le_bytes()[0]]);
        bytes.extend([0x30; 16].iter().chain(modules.as_bytes()).chain(&[0xf9; 16]));
        bytes
    }

    #[test]
    fn the_main_module_is_that_of_the_line_which_says_so() {
        let modules = "path\tshop/cmd/shop\nmod\tshop\t(devel)\t\ndep\tgithub.com/lib/pq\tv1.10.0\th1:x\n";
        let bytes = built("go1.27.3", modules);
        assert_eq!(main_module(&*bytes, 0).as_deref(), Some("shop"));
        assert_eq!(main_module(&*built("go1.27.3", "path\tcommand-line-arguments\n"), 0), None);
        for end in 0..bytes.len() {
            let _cut = main_module(&bytes[..end], 0);
        }
        assert_eq!(main_module(&*vec![0xff; 4096], 0), None);
    }
}
