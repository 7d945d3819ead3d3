//! Pins the bytes of one example of every record: a changed byte is a changed promise. To change it on
//! purpose, replace the file by what the test prints.

use super::{csv::table::Table, jsonl::lines::Lines};
use crate::model::{examples, record::Record};

#[test]
fn records_are_written_as_json_to_the_byte_as_promised() {
    let mut lines = Vec::new();
    let mut writer = Lines::default();
    for record in &examples::records() {
        writer.push(&mut lines, record);
    }
    let lines = String::from_utf8_lossy(&lines);
    assert!(lines == include_str!("pinned.jsonl"), "{lines}");
}

#[test]
fn records_are_written_as_a_table_to_the_byte_as_promised() {
    let mut rows = Table::heading();
    let mut table = Table::new();
    for record in examples::records() {
        table.push(&record);
    }
    rows.extend(table.take());
    let rows = String::from_utf8_lossy(&rows);
    assert!(rows == include_str!("pinned.csv"), "{rows}");
}

#[test]
fn the_promised_lines_read_back_to_what_they_say() {
    for (line, record) in include_str!("pinned.jsonl").lines().zip(examples::records()) {
        let read = Record::from_json(line.as_bytes());
        let again = read.map(|record| {
            let mut again = Vec::new();
            Lines::default().push(&mut again, &record);
            String::from_utf8_lossy(&again).into_owned()
        });
        assert_eq!(again.ok(), Some(format!("{line}\n")), "{record:?}");
    }
}
