//! The bounded queue between a session and the thread that writes one of its outputs. Holds chunks;
//! writes nothing. What finds it full is counted by the caller.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    forms::encoder::{Chunk, Encoder},
    model::record::Summary,
};

/// Bytes that may wait for a slow output.
const MAX_BYTES: usize = 64 << 20;

/// The last that the session says to the writer.
#[derive(Debug)]
pub(crate) struct Last {
    /// Encodes the summary, which is to tell what was dropped until then.
    pub encoder: Encoder,
    pub summary: Summary,
}

/// What the writer is to do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Write this.
    Chunk(Chunk),
    /// Begin a new file, if the present one was moved away.
    Reopen,
    /// Write the summary, if there is one, and end.
    End(Option<Box<Last>>),
    /// Nothing came in the time that was given.
    Nothing,
}

/// Why a writer that cannot write stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The time is up.
    Time,
    /// A new file is wanted.
    Reopen,
    /// The session ends.
    End,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// For the writer: there is something to do.
    work: Condvar,
    /// For the session: there is room.
    room: Condvar,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they hold independently of each other")]
struct Waiting {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    reopen: bool,
    last: Option<Box<Last>>,
    /// Nothing more will come.
    has_ended: bool,
    /// The session ends, or has ended: what cannot be written at once is given up.
    is_ending: bool,
    /// What waits is not waited for: the last word alone is written.
    is_skipping: bool,
    /// Nobody takes anything any more.
    is_closed: bool,
}

impl Waiting {
    fn has_room_for(&self, chunk: &Chunk) -> bool {
        self.chunks.is_empty() || self.bytes + chunk.bytes.len() <= MAX_BYTES
    }

    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whoever panics with the lock held has not left anything half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a chunk if there is room within `timeout`; gives it back otherwise.
    pub(crate) fn offer(&self, chunk: Chunk, timeout: Duration) -> Result<(), Chunk> {
        let mut waiting = self.lock();
        if !timeout.is_zero() {
            let is_full = |waiting: &mut Waiting| !waiting.is_closed && !waiting.has_room_for(&chunk);
            waiting = self
                .room
                .wait_timeout_while(waiting, timeout, is_full)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if waiting.is_closed || !waiting.has_room_for(&chunk) {
            return Err(chunk);
        }
        waiting.push(chunk);
        drop(waiting);
        self.work.notify_one();
        Ok(())
    }

    /// Asks for a new file.
    pub(crate) fn reopen(&self) {
        self.lock().reopen = true;
        self.work.notify_one();
    }

    /// From now on what cannot be written at once is given up.
    pub(crate) fn give_up_on_error(&self) {
        self.lock().is_ending = true;
        self.work.notify_one();
    }

    /// Whether that is so: of all that is left once the session ends, too.
    pub(crate) fn gives_up_on_error(&self) -> bool {
        self.lock().is_ending
    }

    /// Ends the queue: with what is left, full or not, and the last word of a session that did not fail.
    pub(crate) fn end(&self, rest: Chunk, last: Option<Last>) {
        let mut waiting = self.lock();
        if rest.records > 0 {
            waiting.push(rest);
        }
        waiting.last = last.map(Box::new);
        waiting.is_ending = true;
        waiting.has_ended = true;
        drop(waiting);
        self.work.notify_one();
    }

    /// Leaves out what waits, so that the last word comes; the number of records that were left.
    pub(crate) fn skip(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.is_skipping = true;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.chunks).iter().map(|chunk| chunk.records).sum()
    }

    /// For the writer: whether the rest of a chunk is to be left out.
    pub(crate) fn is_skipping(&self) -> bool {
        self.lock().is_skipping
    }

    /// For the writer: what to do next; waits for it until then. What was taken before is done.
    pub(crate) fn next(&self, until: Option<Instant>) -> Next {
        let mut waiting = self.lock();
        loop {
            if std::mem::take(&mut waiting.reopen) {
                return Next::Reopen;
            }
            if let Some(chunk) = waiting.chunks.pop_front() {
                waiting.bytes -= chunk.bytes.len();
                drop(waiting);
                self.room.notify_all();
                return Next::Chunk(chunk);
            }
            self.room.notify_all();
            if waiting.has_ended {
                return Next::End(waiting.last.take());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            waiting = match left {
                Some(Duration::ZERO) => return Next::Nothing,
                Some(left) => self.work.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// For the writer: waits before it tries again.
    pub(crate) fn pause(&self, pause: Duration) -> Interruption {
        let is_wanted = |waiting: &mut Waiting| !waiting.reopen && !waiting.is_ending;
        let (mut waiting, _) = self
            .work
            .wait_timeout_while(self.lock(), pause, is_wanted)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.is_ending {
            Interruption::End
        } else if std::mem::take(&mut waiting.reopen) {
            Interruption::Reopen
        } else {
            Interruption::Time
        }
    }

    /// For the writer: nothing is taken any more; the number of records that were left.
    pub(crate) fn close(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.bytes = 0;
        let left = std::mem::take(&mut waiting.chunks);
        drop(waiting);
        self.room.notify_all();
        left.iter().map(|chunk| chunk.records).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(bytes: usize, records: u64) -> Chunk {
        Chunk { bytes: vec![0; bytes], records }
    }

    #[test]
    fn what_finds_the_queue_full_is_given_back() {
        let queue = Queue::default();
        assert!(queue.offer(chunk(MAX_BYTES, 3), Duration::ZERO).is_ok());
        let refused = queue.offer(chunk(1, 5), Duration::from_millis(10));
        assert_eq!(refused.map_err(|chunk| chunk.records), Err(5));
        assert!(matches!(queue.next(None), Next::Chunk(Chunk { records: 3, .. })));
        assert!(queue.offer(chunk(1, 5), Duration::ZERO).is_ok());
        assert_eq!(queue.close(), 5);
        assert!(queue.offer(chunk(1, 1), Duration::ZERO).is_err(), "nobody would take it");
    }

    #[test]
    fn a_chunk_larger_than_the_queue_has_its_turn_alone() {
        let queue = Queue::default();
        assert!(queue.offer(chunk(2 * MAX_BYTES, 1), Duration::ZERO).is_ok());
        assert!(queue.offer(chunk(1, 1), Duration::ZERO).is_err());
    }

    #[test]
    fn waiting_for_room_ends_when_there_is_some() {
        let queue = Queue::default();
        assert!(queue.offer(chunk(MAX_BYTES, 1), Duration::ZERO).is_ok());
        std::thread::scope(|scope| {
            let offered = scope.spawn(|| queue.offer(chunk(1, 1), Duration::from_secs(30)).is_ok());
            assert!(matches!(queue.next(None), Next::Chunk(_)));
            assert!(offered.join().is_ok_and(|is_taken| is_taken));
        });
    }

    #[test]
    fn the_end_comes_after_the_chunks_and_a_new_file_before_them() {
        let queue = Queue::default();
        assert!(queue.offer(chunk(1, 1), Duration::ZERO).is_ok());
        queue.reopen();
        queue.end(chunk(1, 2), None);
        assert_eq!(queue.pause(Duration::from_secs(30)), Interruption::End);
        assert!(matches!(queue.next(None), Next::Reopen));
        assert!(matches!(queue.next(None), Next::Chunk(Chunk { records: 1, .. })));
        assert!(matches!(queue.next(None), Next::Chunk(Chunk { records: 2, .. })));
        assert!(matches!(queue.next(None), Next::End(None)));
        assert!(matches!(Queue::default().next(Some(Instant::now())), Next::Nothing));
    }
}
