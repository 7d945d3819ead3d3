//! Prints the BPF programs, maps and links that are loaded on this kernel, whoever loaded them, as one JSON line.
//!
//! `cargo xtask faults` sees with it what sessions that were killed leave behind.
#![expect(clippy::print_stdout, reason = "the list is this program's output")]

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};
use serde_json::json;

fn main() {
    // Names as the kernel has them: for `name_as_str` aya tries out the kernel first, by objects that would be listed where
    // it frees them late.
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    // What goes meanwhile is no error.
    let programs: Vec<_> = loaded_programs()
        .flatten()
        .map(|program| {
            let maps = program.map_ids().ok().flatten().unwrap_or_default();
            json!({ "id": program.id(), "name": text(program.name()), "maps": maps })
        })
        .collect();
    let maps: Vec<_> =
        loaded_maps().flatten().map(|map| json!({ "id": map.id(), "name": text(map.name()) })).collect();
    let links: Vec<_> = loaded_links().flatten().map(|link| json!({ "id": link.id() })).collect();
    println!("{}", json!({ "programs": programs, "maps": maps, "links": links }));
}
