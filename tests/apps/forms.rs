//! Measures what it costs to write and to read a session as JSON Lines and as a recording, and how long each is.
//!
//! Takes the file of a session, works in memory and in one thread, and counts its CPU time. Prints the measurements as
//! one JSON line.
#![expect(clippy::print_stdout, reason = "the measurement is this program's output")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use tcptrace::testing::{BLOCK_BYTES, BlockEncoder, Reader, Record, Totals, note, preamble, trailer};

#[derive(Parser)]
#[command(about = "What a session costs in each form")]
struct Arguments {
    /// The file of a session
    file: PathBuf,
    /// How often each is measured; the best counts
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Level of compression
    #[arg(long, default_value_t = 1)]
    level: i32,
}

fn main() -> Result<()> {
    let Arguments { file, rounds, level } = Arguments::parse();
    let records = read(&file)?;
    let transitions = records.iter().filter(|record| matches!(record, Record::Transition(_))).count();
    ensure!(transitions > 0, "there is no transition in {}", file.display());

    let (jsonl, jsonl_write) = best(rounds, || lines(&records))?;
    let (tct, tct_write) = best(rounds, || Ok(recording(&records)))?;
    let (jsonl_zst, jsonl_compress) = best(rounds, || Ok(zstd::encode_all(&jsonl[..], level)?))?;
    let (tct_zst, tct_compress) = best(rounds, || Ok(zstd::encode_all(&tct[..], level)?))?;
    let mut read_back = Vec::new();
    for (form, bytes) in [("jsonl", &jsonl), ("tct", &tct), ("jsonl_zst", &jsonl_zst), ("tct_zst", &tct_zst)]
    {
        let kept = tempfile::NamedTempFile::new()?;
        kept.as_file().write_all(bytes)?;
        let (count, time) = best(rounds, || count(kept.path()))?;
        ensure!(count == records.len(), "{form}: {count} of {} records read back", records.len());
        read_back.push((form, time));
    }

    let each = |time: Duration| (time.as_nanos() as f64 / transitions as f64).round();
    let bytes = |bytes: &Vec<u8>| (bytes.len() as f64 / transitions as f64 * 100.0).round() / 100.0;
    let mut line = serde_json::json!({
        "transitions": transitions,
        "bytes": {
            "jsonl": bytes(&jsonl), "tct": bytes(&tct), "jsonl_zst": bytes(&jsonl_zst), "tct_zst": bytes(&tct_zst),
        },
        "write_ns": {
            "jsonl": each(jsonl_write), "tct": each(tct_write),
            "jsonl_zst": each(jsonl_write + jsonl_compress), "tct_zst": each(tct_write + tct_compress),
        },
        "read_ns": {},
    });
    for (form, time) in read_back {
        line["read_ns"][form] = each(time).into();
    }
    println!("{line}");
    Ok(())
}

/// Runs `work` several times: what it returned, and the shortest CPU time of this thread.
fn best<T>(rounds: u32, mut work: impl FnMut() -> Result<T>) -> Result<(T, Duration)> {
    let mut times = Vec::new();
    let mut made = None;
    for _ in 0..rounds.max(1) {
        let begun = cpu_time();
        made = Some(work()?);
        times.push(cpu_time().saturating_sub(begun));
    }
    let best = times.into_iter().min().unwrap_or_default();
    Ok((made.context("no round")?, best))
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn read(path: &Path) -> Result<Vec<Record>> {
    let mut reader = Reader::open(path)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

fn count(path: &Path) -> Result<usize> {
    let mut reader = Reader::open(path)?;
    let mut count = 0;
    while reader.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn lines(records: &[Record]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for record in records {
        serde_json::to_writer(&mut out, record)?;
        out.push(b'\n');
    }
    Ok(out)
}

fn recording(records: &[Record]) -> Vec<u8> {
    let (mut out, mut index) = (Vec::new(), Vec::new());
    let mut encoder = BlockEncoder::default();
    let finish = |encoder: &mut BlockEncoder, out: &mut Vec<u8>, index: &mut Vec<_>| {
        let block = encoder.finish(&Totals::default());
        note(index, out.len() as u64, block.entry);
        out.extend_from_slice(&block.bytes);
    };
    for record in records {
        if let Record::Header(header) = record {
            out.extend_from_slice(&preamble(header));
            continue;
        }
        encoder.push(record);
        if encoder.len() >= BLOCK_BYTES {
            finish(&mut encoder, &mut out, &mut index);
        }
    }
    finish(&mut encoder, &mut out, &mut index);
    out.extend_from_slice(&trailer(&index));
    out
}
