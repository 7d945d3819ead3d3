#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::record::arbitrary;

fn text(record: &Record) -> String {
    serde_json::to_string(record).unwrap()
}

fn parsed(text: &str) -> Result<Record, String> {
    Record::from_json(text.as_bytes()).map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn every_record_reads_back_to_the_same_text(record in arbitrary::record()) {
        let written = text(&record);
        let read = parsed(&written);
        prop_assert_eq!(read.map(|record| text(&record)), Ok(written));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in any::<Vec<u8>>()) {
        let _ = Record::from_json(&bytes);
    }

    #[test]
    fn a_line_that_is_cut_is_an_error(record in arbitrary::record(), at in any::<prop::sample::Index>()) {
        let written = text(&record);
        let cut = &written.as_bytes()[..at.index(written.len())];
        prop_assert!(Record::from_json(cut).is_err());
    }
}

const TRANSITION: &str = r#"{"type":"transition","time":"2026-11-24T15:01:40.169147654Z","ktime_ns":889092113028,"cookie":59321,"netns":4026531833,"family":4,"laddr":"10.0.0.1","lport":23456,"raddr":"10.0.0.2","rport":9,"interface":null,"old_state":"CLOSE","new_state":"LISTEN","dwell_ns":null,"oncpu":{"pid":27633,"tid":27634,"comm":"churn"},"cgroup_id":1,"mptcp":false}"#;

#[test]
fn what_is_not_known_is_passed_over() {
    let more = TRANSITION
        .replace(r#""netns""#, r#""weather":{"rain":[1,2,{"a":null}]},"netns""#)
        .replace(r#","mptcp":false"#, "");
    assert_eq!(parsed(&more).map(|record| text(&record)), Ok(TRANSITION.to_owned()));
    assert!(parsed(r#"{"type":"weather","rain":true}"#).is_err_and(|error| error.contains("`time`")));
}

#[test]
fn a_record_has_one_type() {
    let other = r#"{"type":"weather","time":"2026-11-24T15:01:41Z","type":"leak"}"#;
    assert!(parsed(other).is_err_and(|error| error.contains("duplicate")));
    assert!(parsed(&other.replace("leak", "weather")).is_ok());
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let fields: BTreeMap<String, serde_json::Value> = serde_json::from_str(TRANSITION).unwrap();
    let sorted = serde_json::to_string(&fields).unwrap();
    assert!(!sorted.starts_with(r#"{"type""#), "{sorted}");
    assert_eq!(parsed(&sorted).map(|record| text(&record)), Ok(TRANSITION.to_owned()));
}

#[test]
fn nonsense_is_refused() {
    for (right, wrong) in [
        (r#""lport":23456"#, r#""lport":70000"#),
        (r#""lport":23456"#, r#""lport":"23456""#),
        (r#""old_state":"CLOSE""#, r#""old_state":"SLEEPING""#),
        (r#""laddr":"10.0.0.1""#, r#""laddr":"10.0.0.1.5""#),
        (r#""dwell_ns":null"#, r#""dwell_ns":999999999999999"#),
        (r#""time":"2026-11-24"#, r#""time":"2026-31-24"#),
        (r#""comm":"churn""#, r#""comm":"a name that no task can have""#),
        (r#""comm":"churn""#, r#""comm":"a\u0000b""#),
        (r#""ktime_ns":889092113028,"#, ""),
    ] {
        assert!(TRANSITION.contains(right));
        let read = parsed(&TRANSITION.replace(right, wrong));
        assert!(read.is_err(), "{wrong} was read as {read:?}");
    }
}

#[test]
fn a_later_form_is_refused_by_its_number() {
    let header = r#"{"type":"header","schema":2,"version":"9.0.0","host":"a","kernel":"7","boot_id":null,"started":"2026-11-24T15:01:38Z","command":"tcptrace","backend":"btf"}"#;
    assert!(parsed(header).is_err_and(|error| error.contains("form 2")));
    assert!(parsed(&header.replace(r#""schema":2"#, r#""schema":1"#)).is_ok());
}
