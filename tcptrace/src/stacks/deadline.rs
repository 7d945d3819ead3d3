//! Runs work on untrusted files on a thread with a deadline; an overdue thread is abandoned. Knows nothing of the work.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Abandoned threads that may be stuck at a time; with that many, no question is asked.
const MAX_STUCK: usize = 4;

/// Creates, on the thread, the function that answers questions, with what it keeps between them.
type Start<Q, A> = dyn Fn() -> Box<dyn FnMut(Q) -> A> + Send + Sync;

/// A thread that answers one question at a time, within a deadline.
pub(crate) struct DeadlineThread<Q, A> {
    /// Of its threads.
    name: &'static str,
    start: Arc<Start<Q, A>>,
    limit: Duration,
    /// After this time without a question, what is kept between them is dropped.
    idle: Duration,
    /// The thread in use, which has always answered in time. Starts on demand.
    thread: Option<RunningThread<Q, A>>,
    /// Abandoned threads, which get no more questions.
    stuck: Vec<JoinHandle<()>>,
}

struct RunningThread<Q, A> {
    questions: SyncSender<Q>,
    answers: Receiver<A>,
    handle: JoinHandle<()>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The answer is overdue.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// Too many earlier threads are stuck.
    #[error("{MAX_STUCK} threads are stuck")]
    Stuck,
    /// The thread ended.
    #[error("the thread has ended")]
    Gone,
    /// The system has no thread.
    #[error("starting a thread: {0}")]
    NoThread(#[from] io::Error),
}

impl<Q: Send + 'static, A: Send + 'static> DeadlineThread<Q, A> {
    /// `start` creates the function that answers, on a thread of this name; `limit` bounds each answer.
    pub(crate) fn new(
        name: &'static str,
        limit: Duration,
        start: impl Fn() -> Box<dyn FnMut(Q) -> A> + Send + Sync + 'static,
    ) -> Self {
        let (start, idle) = (Arc::new(start), Duration::MAX);
        Self { name, start, limit, idle, thread: None, stuck: Vec::new() }
    }

    /// Drops what the function keeps between questions after this time without one: files are closed, memory is free.
    pub(crate) fn forgets_after(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Asks a question and waits for the answer.
    ///
    /// # Errors
    /// When there is no answer in time. The next question goes to another thread.
    pub(crate) fn ask(&mut self, question: Q) -> Result<A, NoAnswer> {
        self.stuck.retain(|thread| !thread.is_finished());
        if self.stuck.len() >= MAX_STUCK {
            return Err(NoAnswer::Stuck);
        }
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => self.start()?,
        };
        // The thread waits for a question, so there is room.
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

    fn start(&self) -> io::Result<RunningThread<Q, A>> {
        let (questions, asked) = mpsc::sync_channel::<Q>(1);
        let (answered, answers) = mpsc::sync_channel(1);
        let (start, idle) = (Arc::clone(&self.start), self.idle);
        let handle = thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            // A caller that stopped waiting never comes back.
            while let Ok(mut question) = asked.recv() {
                let mut answer = start();
                loop {
                    if answered.send(answer(question)).is_err() {
                        return;
                    }
                    question = match asked.recv_timeout(idle) {
                        Ok(question) => question,
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => return,
                    };
                }
            }
        })?;
        Ok(RunningThread { questions, answers, handle })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn one_thread_answers_as_long_as_it_is_in_time() {
        let mut named = DeadlineThread::new("test", Duration::from_mins(1), || {
            let mut sum = 0;
            Box::new(move |number| {
                sum += number;
                sum
            })
        });
        assert_eq!((named.ask(1).unwrap(), named.ask(2).unwrap(), named.ask(3).unwrap()), (1, 3, 6));
    }

    #[test]
    fn what_is_kept_between_questions_is_dropped_when_none_come() {
        let kept = Arc::new(());
        let on_thread = Arc::clone(&kept);
        let named = DeadlineThread::new("test", Duration::from_mins(1), move || {
            let (kept, mut count) = (Arc::clone(&on_thread), 0);
            Box::new(move |()| {
                count += 1;
                (Arc::strong_count(&kept), count)
            })
        });
        let mut named = named.forgets_after(Duration::from_millis(20));
        assert_eq!(named.ask(()).unwrap(), (3, 1));
        while Arc::strong_count(&kept) > 2 {
            thread::yield_now();
        }
        assert_eq!(named.ask(()).unwrap(), (3, 1), "the same thread begins anew");
    }

    #[test]
    fn who_is_stuck_is_not_waited_for_and_others_go_on_until_they_are_too_many() {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let mut named = DeadlineThread::new("test", Duration::from_millis(20), move || {
            let gate = Arc::clone(&gate);
            Box::new(move |is_to_wait| {
                if is_to_wait {
                    let _closed = gate.lock().map(|gate| gate.recv());
                }
            })
        });
        for _ in 0..MAX_STUCK {
            assert!(matches!(named.ask(true), Err(NoAnswer::Late(_))));
        }
        assert!(matches!(named.ask(false), Err(NoAnswer::Stuck)));
        drop(release);
        while named.stuck.iter().any(|thread| !thread.is_finished()) {
            thread::yield_now();
        }
        // A busy machine may be late as well, and is asked again.
        while named.ask(false).is_err() {}
    }
}
