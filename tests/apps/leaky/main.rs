//! Leaks TCP sockets on purpose, each way a socket can be leaked, and prints the truth about it.
//!
//! `leaky CASE` builds the situation with real processes, prints one JSON line a leaked socket and a
//! last line `{"ready":true,…}`, then takes the commands `close` and `quit` on standard input. It
//! never looks at what a tracer says, and nothing it starts outlives it.
#![expect(clippy::print_stdout, reason = "the truth is this program's output")]

mod cases;
mod channel;
mod message;
#[path = "../../it/support/sock_destroy.rs"]
mod sock_destroy;
mod socket;
mod stage;
mod truth;
mod worker;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum as _};
use std::io::{BufRead as _, Write as _};

#[derive(Parser)]
#[command(about = "Leaks TCP sockets on purpose and says which")]
struct Arguments {
    /// What to build; `--list` names them
    #[arg(required_unless_present = "list")]
    case: Option<cases::Case>,
    /// Print the names of the cases
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    setting: cases::Setting,
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(worker::HOLD) {
        return worker::hold(words);
    }
    let arguments = Arguments::parse();
    if arguments.list {
        for case in cases::Case::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value) {
            println!("{}", case.get_name());
        }
        return Ok(());
    }
    let case = arguments.case.context("a case is needed")?;
    run(case, arguments.setting)
}

fn run(case: cases::Case, setting: cases::Setting) -> Result<()> {
    socket::raise_descriptor_limit();
    let mut stage = stage::Stage::new(case, setting)?;
    let truths = cases::build(&mut stage)?;

    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for truth in &truths {
        writeln!(output, "{}", serde_json::to_string(truth)?)?;
    }
    let ready = serde_json::json!({"ready": true, "pid": std::process::id(), "count": truths.len()});
    writeln!(output, "{ready}")?;
    output.flush()?;

    for line in std::io::stdin().lock().lines() {
        match line?.trim() {
            "close" => {
                let (before, after) = stage.release()?;
                let closed = serde_json::json!({
                    "closed": true, "monotonic_before_ns": before, "monotonic_after_ns": after,
                });
                writeln!(output, "{closed}")?;
                output.flush()?;
            }
            "quit" => break,
            other => bail!("the commands are `close` and `quit`, not {other:?}"),
        }
    }
    Ok(())
}
