//! Lets a thread do what may take any time, because files of strangers decide about it, and goes on without an answer
//! when it takes too long. Knows nothing of what is done there.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Threads that may be stuck at a time; as long as they are, nothing is asked.
const MAX_STUCK: usize = 4;

/// Makes, on the thread, what answers questions there.
type Start<Q, A> = dyn Fn() -> Box<dyn FnMut(Q) -> A> + Send + Sync;

/// A thread that is asked one question after the other.
pub(crate) struct Aside<Q, A> {
    start: Arc<Start<Q, A>>,
    limit: Duration,
    /// The one that has always answered in time; started when it is needed.
    thread: Option<Asked<Q, A>>,
    /// Those that have not, and do not hear of anything any more.
    stuck: Vec<JoinHandle<()>>,
}

struct Asked<Q, A> {
    questions: SyncSender<Q>,
    answers: Receiver<A>,
    handle: JoinHandle<()>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// Others took too long, and still do.
    #[error("{MAX_STUCK} threads are stuck")]
    Stuck,
    /// The thread ended.
    #[error("the thread has ended")]
    Gone,
    /// There was no thread to be had.
    #[error("starting a thread: {0}")]
    NoThread(#[from] io::Error),
}

impl<Q: Send + 'static, A: Send + 'static> Aside<Q, A> {
    /// Questions will be answered by what `start` makes, each within this time or not at all.
    pub(crate) fn new(
        limit: Duration,
        start: impl Fn() -> Box<dyn FnMut(Q) -> A> + Send + Sync + 'static,
    ) -> Self {
        Self { start: Arc::new(start), limit, thread: None, stuck: Vec::new() }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When there is none in time. The next question goes to another thread then.
    pub(crate) fn ask(&mut self, question: Q) -> Result<A, NoAnswer> {
        self.stuck.retain(|thread| !thread.is_finished());
        if self.stuck.len() >= MAX_STUCK {
            return Err(NoAnswer::Stuck);
        }
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => self.start()?,
        };
        // It waits for a question, so there is room.
        let asked = thread.questions.try_send(question);
        let answer = asked.map_err(|_| RecvTimeoutError::Disconnected);
        match answer.and_then(|()| thread.answers.recv_timeout(self.limit)) {
            Ok(answer) => {
                self.thread = Some(thread);
                Ok(answer)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.push(thread.handle);
                Err(NoAnswer::Late(self.limit))
            }
            Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Gone),
        }
    }

    fn start(&self) -> io::Result<Asked<Q, A>> {
        let (questions, asked) = mpsc::sync_channel::<Q>(1);
        let (answered, answers) = mpsc::sync_channel(1);
        let start = Arc::clone(&self.start);
        let handle = thread::Builder::new().name("symbols".to_owned()).spawn(move || {
            let mut answer = start();
            // Whoever has stopped waiting has gone for good.
            while let Ok(question) = asked.recv() {
                if answered.send(answer(question)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Asked { questions, answers, handle })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn one_thread_answers_as_long_as_it_is_in_time() {
        let mut aside = Aside::new(Duration::from_secs(60), || {
            let mut sum = 0;
            Box::new(move |number| {
                sum += number;
                sum
            })
        });
        assert_eq!((aside.ask(1).unwrap(), aside.ask(2).unwrap(), aside.ask(3).unwrap()), (1, 3, 6));
    }

    #[test]
    fn who_is_stuck_is_not_waited_for_and_others_go_on_until_they_are_too_many() {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let mut aside = Aside::new(Duration::from_millis(20), move || {
            let gate = Arc::clone(&gate);
            Box::new(move |is_to_wait| {
                if is_to_wait {
                    let _closed = gate.lock().map(|gate| gate.recv());
                }
            })
        });
        for _ in 0..MAX_STUCK {
            assert!(matches!(aside.ask(true), Err(NoAnswer::Late(_))));
        }
        assert!(matches!(aside.ask(false), Err(NoAnswer::Stuck)));
        drop(release);
        while aside.stuck.iter().any(|thread| !thread.is_finished()) {
            thread::yield_now();
        }
        // A busy machine may be late as well, and is asked again.
        while aside.ask(false).is_err() {}
    }
}
