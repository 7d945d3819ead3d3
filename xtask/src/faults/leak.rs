//! A socket in CLOSE_WAIT that this process holds, and whether the tool names it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// A leaked socket. The connection ends when it is dropped.
pub(crate) struct Leak {
    /// The end in CLOSE_WAIT. Its end of file has been read.
    pub socket: TcpStream,
    /// Its local port.
    pub port: u16,
}

impl Leak {
    /// Leaks one in the network namespace of this thread.
    pub(crate) fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let address = listener.local_addr()?;
        let peer = TcpStream::connect(address).context("cannot connect")?;
        let (mut socket, _) = listener.accept().context("cannot accept")?;
        drop(peer);
        let bytes = socket.read(&mut [0]).context("cannot read the end of file")?;
        ensure!(bytes == 0, "bytes that nobody sent");
        Ok(Self { socket, port: address.port() })
    }
}

/// The records of leaks in JSON Lines, each whole line of which has to be one.
pub(crate) fn leaks(lines: &str) -> Result<Vec<Value>> {
    let mut leaks = Vec::new();
    for line in lines.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let record: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        if record["type"] == "leak" {
            leaks.push(record);
        }
    }
    Ok(leaks)
}

/// As [`leaks`], of a file.
pub(crate) fn leaks_in(path: &Path) -> Result<Vec<Value>> {
    leaks(&std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// Whether a record of a leak names this process as a holder.
pub(crate) fn names(leak: &Value, pid: u32) -> bool {
    leak["owners"].as_array().into_iter().flatten().any(|owner| owner["pid"] == pid)
}
