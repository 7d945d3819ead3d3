//! Reads the lines that a child prints, in a thread, and waits for one of them.
//!
//! A test that waits for a line that never comes fails and shows what came instead.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::Value;

use super::limit;

/// How many of the last lines are shown.
const SHOWN: usize = 60;

/// JSON Lines. A line that is no JSON is kept as a string, so that a test can object to it.
pub(crate) struct Stream {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Condvar,
}

#[derive(Default)]
struct Heard {
    lines: Vec<Value>,
    has_ended: bool,
}

impl Stream {
    /// Starts to read.
    pub(crate) fn of(output: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let value = serde_json::from_slice(&line)
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&line).into_owned()));
                heard.heard.lock().unwrap().lines.push(value);
                heard.news.notify_all();
            }
            heard.heard.lock().unwrap().has_ended = true;
            heard.news.notify_all();
        });
        Self { shared }
    }

    /// Waits until `look` finds what it wants among all lines so far.
    ///
    /// # Errors
    /// What came instead, when the limit has passed or the output has ended.
    pub(crate) fn wait<T>(&self, mut look: impl FnMut(&[Value]) -> Option<T>) -> Result<T, String> {
        let until = Instant::now() + limit();
        let mut heard = self.shared.heard.lock().unwrap();
        loop {
            if let Some(found) = look(&heard.lines) {
                return Ok(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if heard.has_ended || left.is_zero() {
                let why = if heard.has_ended { "the output ended" } else { "nothing for a long time" };
                return Err(format!("{why}; what came instead:\n{}", excerpt(&heard.lines)));
            }
            heard = self.shared.news.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Waits for the end of the output, and returns all lines.
    ///
    /// # Errors
    /// As for [`Stream::wait`].
    pub(crate) fn wait_for_end(&self) -> Result<Vec<Value>, String> {
        let until = Instant::now() + limit();
        let mut heard = self.shared.heard.lock().unwrap();
        while !heard.has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the output does not end:\n{}", excerpt(&heard.lines)));
            }
            heard = self.shared.news.wait_timeout(heard, left).unwrap().0;
        }
        Ok(std::mem::take(&mut heard.lines))
    }
}

/// The last lines, one below the other.
pub(crate) fn excerpt(lines: &[Value]) -> String {
    let skipped = lines.len().saturating_sub(SHOWN);
    let shown: Vec<String> = lines.iter().skip(skipped).map(|line| format!("  {line}")).collect();
    let before = if skipped > 0 { format!("  ({skipped} lines before)\n") } else { String::new() };
    format!("{before}{}", shown.join("\n"))
}
