//! Keeps an empty BPF program attached to `sock:inet_sock_set_state` until SIGTERM.
//!
//! `cargo xtask bench` measures with it what any tracer on this hook costs at least. It prints `ready` once attached,
//! and reads no events.

#![expect(clippy::print_stdout, reason = "`ready` is this program's output")]

use anyhow::{Context, Result, bail};
use aya::programs::{BtfTracePoint, TracePoint};
use aya::{Btf, Ebpf};
use tokio::signal::unix::{SignalKind, signal};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace-empty"));

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut object = Ebpf::load(OBJECT).context("cannot load the empty programs (root?)")?;
    match std::env::args().nth(1).as_deref() {
        Some("btf") => {
            let program: &mut BtfTracePoint =
                object.program_mut("empty_btf").context("no program empty_btf")?.try_into()?;
            program.load("inet_sock_set_state", &Btf::from_sys_fs()?)?;
            program.attach()?;
        }
        Some("tracepoint") => {
            let program: &mut TracePoint =
                object.program_mut("empty_tracepoint").context("no program empty_tracepoint")?.try_into()?;
            program.load()?;
            program.attach("sock", "inet_sock_set_state").context("cannot attach (is tracefs mounted?)")?;
        }
        _ => bail!("usage: floor btf|tracepoint"),
    }
    println!("ready");
    terminate.recv().await;
    Ok(())
}
