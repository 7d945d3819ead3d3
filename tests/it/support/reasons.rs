//! Judges the reasons that records give for a leak whose truth is known.

use serde_json::Value;

use super::clock::monotonic_ns;
use super::truth::{Known, Truth};

/// Reasons that cannot be older than the leak.
const BEGAN_WITH_THE_LEAK: [&str; 3] = ["accept_queue", "waits_for_other_leg", "sends_to_nobody"];

/// The kernel counts in jiffies.
const JIFFIES_NS: u64 = 20_000_000;

/// Judges the verdict and the reasons of all `leak` records about one socket.
///
/// # Errors
/// What differs: what is shown, and what is true.
pub(crate) fn judge(truth: &Truth, is_to_be_reported: bool, leaks: &[&Value]) -> Result<(), String> {
    let leak = match leaks {
        [] if !is_to_be_reported => return Ok(()),
        [leak] if is_to_be_reported => leak,
        _ => return Err(format!("is reported {} times", leaks.len())),
    };
    let mut wrong = Vec::new();
    if leak["verdict"].as_str() != truth.verdict.as_deref() {
        wrong.push(format!("the verdict is {}, not {:?}", leak["verdict"], truth.verdict));
    }
    let given = leak["because"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids: Vec<&str> = given.iter().filter_map(|reason| reason["id"].as_str()).collect();
    if let Some(first) = truth.first_reason.as_deref().filter(|first| ids.first() != Some(first)) {
        wrong.push(format!("the first reason is not {first}"));
    }
    for reason in &truth.because {
        let Some(given) = given.iter().find(|given| given["id"] == reason.id.as_str()) else {
            wrong.push(format!("{} is missing", reason.id));
            continue;
        };
        if given["text"].as_str().is_none_or(|text| text.trim().is_empty()) {
            wrong.push(format!("{} has no text", reason.id));
        }
        for (name, known) in &reason.numbers {
            let shown = &given[name];
            let is_right = match known {
                Known::Is(value) => shown == value,
                Known::AtLeast(least) => shown.as_u64().is_some_and(|shown| shown >= *least),
            };
            if !is_right {
                wrong.push(format!("{}.{name} is {shown}, not {known:?}", reason.id));
            }
        }
    }
    for reason in given.iter().filter(|reason| BEGAN_WITH_THE_LEAK.iter().any(|id| reason["id"] == *id)) {
        let most = monotonic_ns().saturating_sub(truth.entered_before_ns) + JIFFIES_NS;
        if !reason["for_ns"].as_u64().is_some_and(|ns| ns > 0 && ns <= most) {
            wrong.push(format!("{}.for_ns is {}, not 1 to {most}", reason["id"], reason["for_ns"]));
        }
    }
    for never in truth.not_because.iter().filter(|never| ids.contains(&never.as_str())) {
        wrong.push(format!("{never} is not true"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}; it says {ids:?}", wrong.join("; "))) }
}
