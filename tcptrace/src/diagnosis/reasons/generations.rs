//! Whether one process took over from another one of the same program, as in a reload. Pure.

use crate::model::process::{Lineage, ProcessIdentity};

/// Whether one process, which listens, is a later generation of another, which has accepted there and listens no more.
/// Asks for the lineage of both only where that decides.
pub(crate) fn takes_over(
    newer: &ProcessIdentity,
    old: &ProcessIdentity,
    lineage: impl Fn(&ProcessIdentity) -> Option<Lineage>,
) -> bool {
    newer.start_ticks > old.start_ticks
        && is_of_one_program(old, newer)
        && (is_of_one_service(old, newer)
            || lineage(newer).zip(lineage(old)).is_some_and(|(newer, older)| {
                // A child, also one that has made a session of its own, or both were started by one shell or supervisor.
                Some(newer.parent) == old.pid.visible() || newer.session == older.session
            }))
}

/// Whether a service or a container holds both together: two runs of one program by hand do not belong together.
fn is_of_one_service(one: &ProcessIdentity, other: &ProcessIdentity) -> bool {
    let is_same = |one: Option<&str>, other: Option<&str>| one.is_some() && one == other;
    is_same(service(one), service(other)) || is_same(one.container.as_deref(), other.container.as_deref())
}

/// The service that it belongs to. Scopes and slices hold whatever somebody runs.
fn service(process: &ProcessIdentity) -> Option<&str> {
    process.unit.as_deref().filter(|unit| unit.ends_with(".service"))
}

/// Whether two processes run one program, replaced since or not.
fn is_of_one_program(one: &ProcessIdentity, other: &ProcessIdentity) -> bool {
    one.comm == other.comm && one.program() == other.program()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pid::Pid;

    fn process(pid: u32) -> ProcessIdentity {
        let start_ticks = Some(i64::from(pid));
        ProcessIdentity { start_ticks, ..ProcessIdentity::from_name(Pid::new(pid), "shop") }
    }

    /// Whether the newer one takes over, with this parent and session; the older one has 1 and 81.
    fn is_after(newer: &ProcessIdentity, (parent, session): (u32, u32), old: &ProcessIdentity) -> bool {
        takes_over(newer, old, |process| {
            Some(if process == newer {
                Lineage { parent, session }
            } else {
                Lineage { parent: 1, session: 81 }
            })
        })
    }

    #[test]
    fn only_who_belongs_to_the_older_one_takes_over_from_it() {
        let (old, newer) = (process(81), process(99));
        assert!(is_after(&newer, (1, 81), &old), "in one session");
        assert!(is_after(&newer, (81, 99), &old), "a child with a session of its own");
        assert!(!is_after(&newer, (1, 99), &old), "another run of the program");
        assert!(!is_after(&old, (1, 81), &newer), "it is older");
        let other = ProcessIdentity { comm: "other".to_owned(), ..process(99) };
        assert!(!is_after(&other, (1, 81), &old), "another program");
        assert!(!takes_over(&newer, &old, |_| None), "nobody could look");
    }

    #[test]
    fn a_service_or_a_container_holds_its_generations_together() {
        let of = |unit: &str, container: Option<&str>| {
            let change = |process| ProcessIdentity {
                unit: Some(unit.to_owned()),
                container: container.map(str::to_owned),
                ..process
            };
            is_after(&change(process(99)), (1, 99), &change(process(81)))
        };
        assert!(of("shop.service", None));
        assert!(of("docker-1.scope", Some("1")));
        assert!(!of("session-2.scope", None), "whatever somebody runs by hand");
    }
}
