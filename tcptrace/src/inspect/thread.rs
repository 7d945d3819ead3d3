//! The thread of the inspector, so that inspections never delay the reading of records. One job at a time: the caller
//! waits for the answer before the next question.

use std::{sync::mpsc, thread};

use tokio::sync::mpsc as answers;

use super::{inspector::Inspector, tables::Tables};
use crate::{
    host::world::World,
    kernel::CallMemory,
    model::{
        close_wait::{Due, Preexisting},
        coverage::Coverage,
        finding::Finding,
        process::{ProcessUse, UseQuery},
    },
};

/// A job for the thread.
#[derive(Debug)]
pub(crate) enum InspectorJob {
    Preexisting,
    Inspect(Vec<Due>),
    HeldOver,
    ProcessUse(Vec<UseQuery>),
}

/// The result of a job.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The sockets that were in CLOSE_WAIT before, and what could not be looked at.
    Preexisting(Vec<Preexisting>, Coverage),
    /// One finding per socket in question, in order.
    Findings(Vec<Finding>),
    /// The sockets whose connections are over and that somebody has a descriptor of; `None` when that cannot be told.
    HeldOver(Option<Vec<Preexisting>>),
    /// What each process in question has left, in order, and how long it took to find out.
    ProcessUse { found: Vec<ProcessUse>, took_ns: u64 },
}

/// The thread ended before it answered.
#[derive(Debug, thiserror::Error)]
#[error("the thread that looks at stuck sockets has ended unexpectedly")]
pub(crate) struct InspectorGone;

/// A handle of the thread. Dropping it ends the thread after the current job.
pub(crate) struct InspectorThread {
    jobs: mpsc::SyncSender<InspectorJob>,
    answers: answers::Receiver<Answer>,
    is_busy: bool,
}

impl InspectorThread {
    /// Starts the thread. See [`Inspector::new`] for the arguments.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(crate) fn start(
        world: World,
        tables: Tables,
        active_window_ms: u64,
        calls: Option<CallMemory>,
    ) -> std::io::Result<Self> {
        Self::spawn(move || {
            let mut inspector = Inspector::new(world, tables, active_window_ms, calls);
            move |job| match job {
                InspectorJob::Preexisting => {
                    let (sockets, coverage) = inspector.preexisting();
                    Answer::Preexisting(sockets, coverage)
                }
                InspectorJob::Inspect(due) => Answer::Findings(inspector.inspect(&due)),
                InspectorJob::HeldOver => Answer::HeldOver(inspector.held_over()),
                InspectorJob::ProcessUse(queries) => {
                    let (found, took_ns) = inspector.timed_process_use(&queries);
                    Answer::ProcessUse { found, took_ns }
                }
            }
        })
    }

    /// Starts a thread that does jobs as a test wants it.
    #[cfg(test)]
    pub(crate) fn scripted(
        answer: impl FnMut(InspectorJob) -> Answer + Send + 'static,
    ) -> std::io::Result<Self> {
        Self::spawn(move || answer)
    }

    /// Starts a thread that does jobs by what `prepare` makes there.
    fn spawn<F: FnMut(InspectorJob) -> Answer>(
        prepare: impl FnOnce() -> F + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, job_queue) = mpsc::sync_channel::<InspectorJob>(1);
        let (answer_queue, answers) = answers::channel(1);
        thread::Builder::new().name("inspector".to_owned()).spawn(move || {
            let mut answer = prepare();
            while let Ok(job) = job_queue.recv() {
                if answer_queue.blocking_send(answer(job)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { jobs, answers, is_busy: false })
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Asks for the sockets that are in CLOSE_WAIT now.
    pub(crate) fn ask_for_preexisting(&mut self) {
        self.ask(InspectorJob::Preexisting);
    }

    /// Asks about sockets that are due.
    pub(crate) fn ask_about(&mut self, due: Vec<Due>) {
        self.ask(InspectorJob::Inspect(due));
    }

    /// Asks for the sockets whose connections are over and that somebody has a descriptor of.
    pub(crate) fn ask_for_held_over(&mut self) {
        self.ask(InspectorJob::HeldOver);
    }

    /// Asks what processes have left.
    pub(crate) fn ask_for_use(&mut self, queries: Vec<UseQuery>) {
        self.ask(InspectorJob::ProcessUse(queries));
    }

    fn ask(&mut self, job: InspectorJob) {
        // Nobody asks during a job, so there is room. If the thread has ended, the job is dropped and
        // `answer` reports it.
        let _ = self.jobs.try_send(job);
        self.is_busy = true;
    }

    /// Waits for the answer to the current job; forever without one.
    ///
    /// # Errors
    /// When the thread has ended.
    pub(crate) async fn answer(&mut self) -> Result<Answer, InspectorGone> {
        if !self.is_busy {
            std::future::pending::<()>().await;
        }
        let answer = self.answers.recv().await.ok_or(InspectorGone)?;
        self.is_busy = false;
        Ok(answer)
    }
}
