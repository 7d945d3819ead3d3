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
    let scripts = script(one).zip(script(other));
    one.comm == other.comm
        && one.program() == other.program()
        && scripts.is_none_or(|(one, other)| one == other)
}

/// What an interpreter was started to run: its first argument that is no option. `None` of other programs, and where the
/// process has written a title over its arguments.
fn script(process: &ProcessIdentity) -> Option<&str> {
    const INTERPRETERS: [&str; 14] = [
        "bash", "bun", "dash", "deno", "dotnet", "java", "lua", "mono", "node", "perl", "php", "pypy",
        "python", "ruby",
    ];
    let program = process.program()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    INTERPRETERS.iter().find(|interpreter| name.starts_with(**interpreter))?;
    process.cmdline.iter().skip(1).map(String::as_str).find(|argument| !argument.starts_with('-'))
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
    fn an_interpreter_takes_over_from_one_that_ran_the_same() {
        let runs = |pid, arguments: &[&str]| ProcessIdentity {
            exe: Some("/usr/bin/python3.11".to_owned()),
            cmdline: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ..process(pid)
        };
        let is_after = |newer: &[&str], old: &[&str]| is_after(&runs(99, newer), (1, 81), &runs(81, old));
        assert!(is_after(&["python3", "-u", "shop.py", "-v"], &["python3", "shop.py"]));
        assert!(!is_after(&["python3", "other.py"], &["python3", "shop.py"]));
        assert!(is_after(&["shop: worker"], &["python3", "shop.py"]), "it has written a title");
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
