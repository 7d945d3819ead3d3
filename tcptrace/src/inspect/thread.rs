//! The thread that the inspector runs on, so that looking at stuck sockets never holds up the reading
//! of records. One job at a time: who asks waits for the answer before asking again.

use std::{sync::mpsc, thread};

use tokio::sync::mpsc as answers;

use super::{inspector::Inspector, tables::Tables};
use crate::host::world::World;
use crate::model::{finding::Finding, process::DescriptorUse};
use crate::{
    kernel::CallMemory,
    model::close_wait::{Due, Seed},
};

/// What the worker is asked to do.
#[derive(Debug)]
enum Job {
    Seeds,
    Inspect(Vec<Due>),
    DescriptorUse(Vec<u32>),
}

/// What the worker found.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The sockets that were in CLOSE_WAIT already.
    Seeds(Vec<Seed>),
    /// One finding for each socket that was asked about, in that order.
    Findings(Vec<Finding>),
    /// One entry for each process that was asked about, in that order.
    DescriptorUse(Vec<DescriptorUse>),
}

/// The worker ended before it answered.
#[derive(Debug, thiserror::Error)]
#[error("the thread that looks at stuck sockets has ended unexpectedly")]
pub(crate) struct WorkerGone;

/// A handle of the worker. Dropping it ends the thread after the job at hand.
pub(crate) struct Worker {
    jobs: mpsc::SyncSender<Job>,
    answers: answers::Receiver<Answer>,
    is_busy: bool,
}

impl Worker {
    /// Starts the thread. See [`Inspector::new`] for the arguments.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(
        world: World,
        tables: Tables,
        active_window_ms: u64,
        calls: Option<CallMemory>,
    ) -> std::io::Result<Self> {
        let (jobs, job_queue) = mpsc::sync_channel::<Job>(1);
        let (answer_queue, answers) = answers::channel(1);
        thread::Builder::new().name("inspector".to_owned()).spawn(move || {
            let mut inspector = Inspector::new(world, tables, active_window_ms, calls);
            while let Ok(job) = job_queue.recv() {
                let answer = match job {
                    Job::Seeds => Answer::Seeds(inspector.seeds()),
                    Job::Inspect(due) => Answer::Findings(inspector.inspect(&due)),
                    Job::DescriptorUse(pids) => Answer::DescriptorUse(inspector.descriptor_use(&pids)),
                };
                if answer_queue.blocking_send(answer).is_err() {
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
    pub(crate) fn ask_for_seeds(&mut self) {
        self.ask(Job::Seeds);
    }

    /// Asks about sockets that are due.
    pub(crate) fn ask_about(&mut self, due: Vec<Due>) {
        self.ask(Job::Inspect(due));
    }

    /// Asks for the descriptors that processes have open.
    pub(crate) fn ask_for_descriptor_use(&mut self, pids: Vec<u32>) {
        self.ask(Job::DescriptorUse(pids));
    }

    fn ask(&mut self, job: Job) {
        // Nobody asks while a job is going on, so there is room. Should the thread have ended, the job is
        // dropped and `answer` says so.
        let _ = self.jobs.try_send(job);
        self.is_busy = true;
    }

    /// Waits for the answer to the job at hand; for ever when there is none.
    ///
    /// # Errors
    /// When the thread has ended.
    pub(crate) async fn answer(&mut self) -> Result<Answer, WorkerGone> {
        if !self.is_busy {
            std::future::pending::<()>().await;
        }
        let answer = self.answers.recv().await.ok_or(WorkerGone)?;
        self.is_busy = false;
        Ok(answer)
    }
}
