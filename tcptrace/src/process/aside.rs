//! Keeps this thread off the processors that other threads run on: whoever looks at a thread from its own processor has
//! interrupted it.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread aside until it is dropped; then the thread may run where it could before.
pub(super) struct Aside {
    /// Where this thread could run; `None` where the kernel does not tell, as with more processors than fit.
    before: Option<CpuSet>,
    /// Where it may run now.
    now: Option<CpuSet>,
}

impl Aside {
    /// Begins, with this thread where it is.
    pub(super) fn begin() -> Self {
        let before = sched_getaffinity(None).ok();
        Self { before, now: before }
    }

    /// Moves this thread off these processors, where that leaves any. Returns whether it had to be moved, and so may have run
    /// on one of them.
    pub(super) fn keep_off(&mut self, processors: impl Iterator<Item = usize>) -> bool {
        let Some(before) = &self.before else { return false };
        let without = without(before, processors);
        self.run_on(without)
    }

    fn run_on(&mut self, processors: CpuSet) -> bool {
        if self.now == Some(processors) || sched_setaffinity(None, &processors).is_err() {
            return false;
        }
        self.now = Some(processors);
        true
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            self.run_on(before);
        }
    }
}

/// These processors without those that are taken; all of them where none would be left.
fn without(all: &CpuSet, taken: impl Iterator<Item = usize>) -> CpuSet {
    let mut left = *all;
    for processor in taken.filter(|processor| *processor < CpuSet::MAX_CPU) {
        left.unset(processor);
        if left.count() == 0 {
            return *all;
        }
    }
    left
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for processor in processors {
            set.set(*processor);
        }
        set
    }

    #[test]
    fn one_keeps_off_what_is_taken_unless_all_is() {
        let left = |taken: &[usize]| without(&set(&[0, 2, 5]), taken.iter().copied());
        assert!(left(&[]) == set(&[0, 2, 5]));
        assert!(left(&[2, 3, 2, usize::MAX]) == set(&[0, 5]));
        assert!(left(&[5, 0, 2]) == set(&[0, 2, 5]), "there is nowhere to go");
    }

    #[test]
    fn afterwards_one_may_run_where_one_could_before() {
        std::thread::spawn(|| {
            let before = sched_getaffinity(None).unwrap();
            let first = (0..CpuSet::MAX_CPU).find(|processor| before.is_set(*processor)).unwrap();
            let mut aside = Aside::begin();
            let is_alone = before.count() == 1;
            assert_eq!(aside.keep_off([first].into_iter()), !is_alone);
            assert_eq!(sched_getaffinity(None).unwrap().is_set(first), is_alone);
            assert!(!aside.keep_off([first].into_iter()), "it is there already");
            drop(aside);
            assert!(sched_getaffinity(None).unwrap() == before);
        })
        .join()
        .unwrap();
    }
}
