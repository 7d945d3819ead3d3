//! Says what could not be looked at where the output does not: in the messages. Decides nothing; the exit code is in
//! `error`.

use crate::{
    forms::form::Ability,
    model::coverage::{Coverage, Extent},
    output::options::{OutputOptions, Sink},
};

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

/// Names each namespace and process that could not be read, with the reason; seen with `-v`.
pub(crate) fn list(coverage: &Coverage) {
    let Coverage { listed: _, has_descriptors: _, namespaces, processes, errors, hidden } = coverage;
    for (name, error) in namespaces {
        log::debug!("{name} was not looked at: {error}");
    }
    for (pid, error) in processes {
        log::debug!("process {pid} was not looked at: {error}");
    }
    for error in errors {
        log::debug!("{error}");
    }
    for hidden in hidden {
        log::debug!("{hidden}");
    }
}
