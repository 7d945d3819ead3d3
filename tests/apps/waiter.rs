//! Two programs in one that bring about TIME_WAIT on purpose: a server and a client, of which one closes first.
//!
//! Their arguments are the truth that tests compare with. Both print JSON lines, and end when their standard input
//! ends.
#![expect(clippy::print_stdout, reason = "the JSON lines are this program's output")]

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Short connections, closed first by one side or the other")]
enum Arguments {
    /// Accept connections
    Serve {
        /// Where to listen
        #[arg(long)]
        at: SocketAddr,
        /// When to close a connection
        #[arg(long, value_enum)]
        closes: Closes,
    },
    /// Make connections, one after another
    Connect {
        /// Where to
        #[arg(long)]
        to: SocketAddr,
        /// How many
        #[arg(long, default_value_t = u64::MAX)]
        count: u64,
        /// How many a second; as fast as it goes when not given
        #[arg(long)]
        rate: Option<f64>,
        /// When to close each
        #[arg(long, value_enum)]
        closes: Closes,
        /// End at once, not with the standard input
        #[arg(long)]
        leave: bool,
    },
}

/// When a side closes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Closes {
    /// At once.
    First,
    /// After the other side.
    Last,
    /// Not before the end.
    Never,
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::Serve { at, closes } => serve(at, closes),
        Arguments::Connect { to, count, rate, closes, leave } => {
            connect(to, count, rate, closes)?;
            if !leave {
                wait_for_end();
            }
            Ok(())
        }
    }
}

fn serve(at: SocketAddr, closes: Closes) -> Result<()> {
    let listener = TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
    println!("{}", json!({ "listens": true, "port": listener.local_addr()?.port() }));
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            kept.extend(handle(stream, closes));
        }
    });
    wait_for_end();
    Ok(())
}

fn connect(to: SocketAddr, count: u64, rate: Option<f64>, closes: Closes) -> Result<()> {
    let started = Instant::now();
    let mut kept = Vec::new();
    let mut made = 0;
    let mut is_dry = false;
    while made < count && !is_dry {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(made as f64 / rate);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
        match TcpStream::connect(to) {
            Ok(stream) => {
                kept.extend(handle(stream, closes));
                made += 1;
            }
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => is_dry = true,
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {to}")),
        }
    }
    let now = clock_gettime(ClockId::Monotonic);
    let monotonic_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    println!("{}", json!({ "done": true, "made": made, "is_dry": is_dry, "monotonic_ns": monotonic_ns }));
    if closes == Closes::Never {
        wait_for_end();
    }
    Ok(())
}

/// Handles one side of a connection, and returns the stream if it has to stay open.
fn handle(mut stream: TcpStream, closes: Closes) -> Option<TcpStream> {
    match closes {
        Closes::First => None,
        Closes::Last => {
            // A reset ends the read too.
            let _end = stream.read(&mut [0; 8]);
            None
        }
        Closes::Never => Some(stream),
    }
}

fn wait_for_end() {
    let mut some = [0; 64];
    while std::io::stdin().read(&mut some).is_ok_and(|count| count > 0) {}
}
