//! `cargo xtask faults`: does to the tool what incidents do to it, and shows for each what it promises, what was
//! measured, and whether the promise holds. It changes nothing outside of folders and network namespaces of its own,
//! which go with it.

mod account;
mod bpf_objects;
mod damage;
mod disk;
mod disks;
mod exec;
mod ground;
mod kept;
mod kills;
mod leak;
mod limits;
mod load;
mod long;
mod namespace;
mod namespaces;
mod neighbours;
mod page;
mod process;
mod random;
mod readers;
mod row;
mod session;
mod signals;
mod stalls;
mod strangers;

pub(crate) use neighbours::PACKAGES;

use crate::prepare::Prepare;
use crate::privilege::is_root;
use anyhow::{Result, bail};
use ground::Ground;
use row::{Done, Row, Verdict};
use std::process::ExitCode;

/// All rows, in the order of the table.
static FAMILIES: [&[Row]; 12] = [
    &stalls::ROWS,
    &kills::ROWS,
    &disks::ROWS,
    &readers::ROWS,
    &strangers::ROWS,
    &damage::ROWS,
    &namespaces::ROWS,
    &limits::ROWS,
    &signals::ROWS,
    &neighbours::ROWS,
    &exec::ROWS,
    &long::ROWS,
];

/// Arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub(crate) struct Faults {
    #[command(flatten)]
    prepare: Prepare,
    /// Only rows with WORDS in their names; repeatable
    #[arg(long, value_name = "WORDS")]
    only: Vec<String>,
    /// As often and as long as the promises are meant: hours, instead of minutes
    #[arg(long)]
    long: bool,
    /// Write the table into tcptrace/docs/faults.md; with --only, these rows of it
    #[arg(long)]
    write: bool,
}

impl Faults {
    /// Runs every row, whatever the others show, and fails when a promise does not hold.
    pub(crate) fn execute(self) -> Result<ExitCode> {
        if !is_root() {
            bail!("this traces the kernel, and makes network namespaces and file systems: run it as root");
        }
        let rows: Vec<&Row> = FAMILIES.into_iter().flatten().filter(|row| row.is_among(&self.only)).collect();
        if rows.is_empty() {
            bail!("no row has one of these words in its name: {}", self.only.join(", "));
        }
        self.prepare.execute_for_faults()?;
        let ground = Ground::new(self.long)?;
        let mut done = Vec::new();
        for row in rows {
            eprintln!("{}: …", row.name);
            let row = row.try_out(&ground);
            eprintln!(
                "{}: {} after {} s: {}",
                row.row.name,
                row.verdict.word(),
                row.took.as_secs(),
                row.cell()
            );
            done.push(row);
        }
        let table = page::table(&done, self.long);
        println!("{table}");
        if self.write {
            page::write(&table, self.only.is_empty())?;
        }
        let is_broken = |done: &Done| done.verdict == Verdict::Broken;
        Ok(if done.iter().any(is_broken) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
