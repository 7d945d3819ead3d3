//! Says what could not be looked at where the output does not: in the messages. Decides nothing; the exit code is in
//! `error`.

use std::collections::BTreeMap;

use crate::{
    forms::form::Ability,
    model::coverage::{Coverage, Extent, LookError},
    output::options::{OutputOptions, Sink},
};

/// Processes that one message names at most, so that its line can be read.
const PROCESSES_OF_A_MESSAGE: usize = 16;

/// Says it, with `-v` by name, and once in sum unless the text on standard output begins with it.
pub(crate) fn report(coverage: &Coverage, outputs: &OutputOptions) -> Extent {
    let is_shown =
        outputs.routes.iter().any(|route| route.sink == Sink::Stdout && route.format.can(Ability::ForPeople));
    list(coverage);
    let extent = coverage.extent();
    if extent != Extent::Everything && !is_shown {
        log::warn!("{}", coverage.to_record());
    }
    extent
}

/// Names each namespace and process that could not be read, with the reason; seen with `-v`. Processes with the same
/// reason stand together: a host has thousands of them.
pub(crate) fn list(coverage: &Coverage) {
    let Coverage { listed: _, has_descriptors: _, namespaces, processes, errors, hidden } = coverage;
    for (name, error) in namespaces {
        log::debug!("{name} was not looked at: {error}");
    }
    for message in of_processes(processes) {
        log::debug!("{message}");
    }
    for error in errors {
        log::debug!("{error}");
    }
    for hidden in hidden {
        log::debug!("{hidden}");
    }
}

fn of_processes(processes: &BTreeMap<u32, LookError>) -> Vec<String> {
    let mut by_error: BTreeMap<LookError, Vec<String>> = BTreeMap::new();
    for (pid, error) in processes {
        by_error.entry(*error).or_default().push(pid.to_string());
    }
    let messages = |(error, pids): (LookError, Vec<String>)| {
        let message = move |pids: &[String]| match pids {
            [pid] => format!("process {pid} was not looked at: {error}"),
            pids => format!("processes {} were not looked at: {error}", pids.join(", ")),
        };
        pids.chunks(PROCESSES_OF_A_MESSAGE).map(message).collect::<Vec<_>>()
    };
    by_error.into_iter().flat_map(messages).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::coverage::Operation;

    #[test]
    fn processes_with_one_reason_stand_together() {
        let refused = |errno| LookError { operation: Operation::ReadDescriptors, errno };
        let mut processes: BTreeMap<u32, LookError> = (1..=18).map(|pid| (pid, refused(13))).collect();
        processes.insert(7, refused(3));
        let expected = [
            "process 7 was not looked at: reading descriptors: ESRCH",
            "processes 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17 were not looked at: reading descriptors: \
             EACCES (it takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and no security module in the way: run as root of the \
             host)",
            "process 18 was not looked at: reading descriptors: EACCES (it takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and no \
             security module in the way: run as root of the host)",
        ];
        assert_eq!(of_processes(&processes), expected);
    }
}
