//! The BPF objects of this kernel that no process holds: left behind, or pinned. tests/apps/loaded.rs lists all.

use super::ground::{Ground, output_of};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// A kind and a number: `map_id`, 17. The kernel gives no number twice.
type Object = (&'static str, u64);

/// What is loaded at a moment.
pub(crate) struct Objects {
    /// Each with its name.
    all: BTreeMap<Object, String>,
    /// The maps that each program uses, which live as long as it does.
    maps_of: BTreeMap<u64, Vec<u64>>,
}

/// The members of what that program prints, and what `fdinfo` calls their numbers.
const KINDS: [(&str, &str); 3] = [("programs", "prog_id"), ("maps", "map_id"), ("links", "link_id")];

impl Objects {
    /// What is loaded now.
    pub(crate) fn now(ground: &Ground) -> Result<Self> {
        let text = output_of(&mut Command::new(&ground.loaded))?;
        let loaded: Value = serde_json::from_str(&text).context("a list of BPF objects that is no JSON")?;
        let (mut all, mut maps_of) = (BTreeMap::new(), BTreeMap::new());
        for (member, kind) in KINDS {
            for object in loaded[member].as_array().with_context(|| format!("no list of {member}"))? {
                let id = object["id"].as_u64().context("an object without a number")?;
                all.insert((kind, id), object["name"].as_str().unwrap_or_default().to_owned());
                if let Some(maps) = object["maps"].as_array() {
                    maps_of.insert(id, maps.iter().filter_map(Value::as_u64).collect());
                }
            }
        }
        Ok(Self { all, maps_of })
    }

    /// What came since then and belongs to no process that is there: its maps and programs go with the last
    /// descriptor, of the object or of what uses it.
    pub(crate) fn left_since(&self, before: &Self) -> Vec<String> {
        let mut held = held();
        let programs = self.maps_of.iter().filter(|(id, _)| held.contains(&("prog_id", **id)));
        let maps: Vec<Object> = programs.flat_map(|(_, maps)| maps).map(|map| ("map_id", *map)).collect();
        held.extend(maps);
        let is_left = |object: &Object| !before.all.contains_key(object) && !held.contains(object);
        let left = self.all.iter().filter(|(object, _)| is_left(object));
        left.map(|((kind, id), name)| format!("{kind} {id} {name}")).collect()
    }
}

/// What processes have descriptors of.
fn held() -> BTreeSet<Object> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let descriptors = processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .flat_map(|entry| fs::read_dir(entry.path().join("fdinfo")).into_iter().flatten().flatten());
    let mut held = BTreeSet::new();
    for descriptor in descriptors {
        let Ok(text) = fs::read_to_string(descriptor.path()) else { continue };
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let kind = KINDS.iter().find(|(_, kind)| *kind == name);
            if let Some(((_, kind), id)) = kind.zip(value.trim().parse().ok()) {
                held.insert((*kind, id));
            }
        }
    }
    held
}
