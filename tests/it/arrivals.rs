//! Sockets that come into CLOSE_WAIT: those that leave it at once leave no record, and none that stays is missed.

use crate::support::Backend;
use crate::support::churn::churn_in;
use crate::support::compare::{Comparison, number};
use crate::support::free_port;
use crate::support::leaky::Leaky;
use crate::support::netns::Netns;
use crate::support::process::Process;
use crate::support::tracer::Tracer;

on_both_backends! {
    what_leaves_at_once_leaves_no_record_and_what_stays_is_told,
}

const CONNECTIONS: u64 = 300;

fn accepted(netns: &Netns, count: &str) -> Leaky {
    let arguments = ["--count", count];
    Leaky::start_by("accepted_kept", &arguments, |command| Process::start(netns.enter(command)))
}

fn what_leaves_at_once_leaves_no_record_and_what_stays_is_told(backend: Backend) {
    let netns = Netns::new();
    let inode = netns.inode().to_string();
    let arguments = ["leaks", "--older-than", "1s", "--netns", &inode];
    let tracer = Tracer::start(backend, &arguments);
    // Whoever is told of this one knows what was there first.
    let first = accepted(&netns, "1");
    tracer.wait_for_each("leak", &first.truths);
    churn_in(&netns, CONNECTIONS, free_port());
    let mut stays = accepted(&netns, "3");
    for (leak, truth) in tracer.wait_for_each("leak", &stays.truths).iter().zip(&stays.truths) {
        let mut comparison = Comparison::of(truth.name());
        comparison.leak(leak, truth);
        comparison.finish(&[leak]);
    }
    stays.close();
    for end in tracer.wait_for_each("leak_end", &stays.truths) {
        assert_eq!(end["how"], "closed", "{end}");
    }
    // It has come a moment ago when the session ends.
    let _last = accepted(&netns, "1");
    let session = tracer.stop();
    let summary = session.summary();
    assert_eq!(number(summary, "in_close_wait"), 2, "the first and the last: {summary}");
    let records = number(summary, "records");
    assert!(records < CONNECTIONS, "{records} records of {CONNECTIONS} connections that left at once");
}
