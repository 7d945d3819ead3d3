//! Spreads work that waits for the kernel over a few threads. No thread outlives the call.

use std::{
    num::NonZero,
    panic,
    sync::{Mutex, PoisonError},
    thread,
};

/// More threads would take too much of the machine under observation.
const MOST_THREADS: usize = 4;

/// Applies `work` to every item, on one thread per processor, up to four. Results are in the order of the items.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    // To count the processors takes a dozen system calls: quotas of cgroups count, too.
    let processors = || thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let threads = if items.len() < 2 { 1 } else { processors().min(items.len()) };
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut done = Vec::new();
        while let Some((position, item)) = take() {
            done.push((position, work(item)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().name("parallel".to_owned()).spawn_scoped(scope, run).ok())
            .collect();
        let mut done = run();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs both, the first on a thread of its own if the system has one.
pub(crate) fn both<A: Send, B>(mut one: impl FnMut() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    let (first, second) = thread::scope(|scope| {
        let thread = thread::Builder::new().name("both".to_owned()).spawn_scoped(scope, &mut one);
        let second = other();
        let join = |thread: thread::ScopedJoinHandle<'_, A>| {
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        (thread.ok().map(join), second)
    });
    (first.unwrap_or_else(one), second)
}

#[cfg(test)]
mod tests {
    use super::{both, map};

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let squares = map((0..1000u64).collect(), |number| number * number);
        assert!(squares.iter().enumerate().all(|(index, square)| (index * index) as u64 == *square));
        assert_eq!(map(Vec::<u8>::new(), |item| item), Vec::<u8>::new());
    }

    #[test]
    fn both_are_done() {
        let mut count = 0;
        let done = both(
            || {
                count += 1;
                count
            },
            || "other",
        );
        assert_eq!(done, (1, "other"));
    }
}
