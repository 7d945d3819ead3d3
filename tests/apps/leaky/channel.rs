//! One JSON line at a time over a Unix socket, between the stage and one worker.
//!
//! Both sides wait for each other, so at most one line is ever under way in a direction.

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(crate) struct Channel {
    reader: BufReader<UnixStream>,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// From now on, waiting longer than `limit` for a line is an error.
    pub(crate) fn limit_waiting(&self, limit: Duration) -> Result<()> {
        Ok(self.reader.get_ref().set_read_timeout(Some(limit))?)
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    pub(crate) fn send<T: Serialize>(&mut self, message: &T) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).context("the other side is gone")
    }

    /// The next message, or `None` when the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_str(&line)?)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => bail!("no answer in time"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
