//! `tcptrace doctor`: tries what this host offers, and says what each lack costs and how to get it. Traces nothing, leaves
//! nothing attached, ends no socket.

use std::io::{self, Write as _};

use super::{
    arguments::DoctorForm,
    check::{Check, Diagnosis, MainJob, State, sort},
    host, kernel,
    programs::{self, Programs},
    text,
};
use crate::{
    commands::shared::error::{CommandError, Conclusion},
    forms::jsonl::escaped,
    host::{bpf_settings::raise_memlock, identity, open_files, pool, world::World},
    kernel::{HolderSource, Support, examine, plan::holders},
    output::{error::WriteError, standard_output, terminal},
};

/// Looks, and answers.
///
/// # Errors
/// When the answer cannot be written, or there is nowhere to write it. A reader that has gone is none.
pub(crate) fn run(form: DoctorForm, world: &World) -> Result<Conclusion, CommandError> {
    standard_output::require()?;
    let diagnosis = diagnose(world);
    let mut out = io::stdout().lock();
    let written = match form {
        DoctorForm::Text => {
            let (extent, palette) = (terminal::extent(io::stdout(), 0), terminal::palette_of_stdout());
            let mut text = Vec::new();
            text::write(&mut text, &diagnosis, extent, &palette)
                .and_then(|()| out.write_all(&terminal::displayable_on(&io::stdout(), &text)))
        }
        DoctorForm::Json => {
            escaped::write_pretty(&mut out, &diagnosis).map_err(io::Error::from).and_then(|()| writeln!(out))
        }
    };
    match written {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(WriteError::Failed { name: standard_output::NAME.to_owned(), reason: source.to_string() }
                .into())
        }
        _ if diagnosis.main_job == MainJob::Fails => Ok(Conclusion::Found),
        _ => Ok(Conclusion::Done),
    }
}

fn diagnose(world: &World) -> Diagnosis {
    let time = world.clocks.wall().at(world.clocks.monotonic_ns());
    let room_for_files = open_files::require(open_files::FOR_TRACING);
    raise_memlock();
    // The kernel verifies for some tenths of a second.
    let (support, clearing) = pool::both(|| examine(world), || kernel::clearing(world));
    let facts = support.facts();
    let privileges = support.privileges.clone();
    let mut checks = kernel::checks(&support);
    let maps_are_limited = support.refuses_large_maps();
    let reads_proc = !support.lacks_rights()
        && holders(&support, None).is_ok_and(|plan| plan.source == HolderSource::Proc);
    checks.extend(host::checks(world, &privileges, &facts, reads_proc, maps_are_limited, &room_for_files));
    checks.extend(clearing);
    let python_frames = checks.iter().find(|check| check.id == "python_frames");
    let python_frames = python_frames.map_or(State::NotTried, |check| check.state);
    let programs = look_at_programs(world, support, python_frames);
    checks.extend(programs.checks);
    sort(&mut checks);
    let identity = identity::read(&world.proc);
    Diagnosis {
        kind: "doctor",
        schema: 1,
        version: env!("CARGO_PKG_VERSION"),
        time,
        host: identity.host,
        kernel: identity.kernel,
        main_job: Diagnosis::main_job(&checks),
        checks,
        programs: programs.rows,
        more_processes: programs.more,
    }
}

fn look_at_programs(world: &World, support: Support, python_frames: State) -> Programs {
    programs::look(world, support, python_frames).unwrap_or_else(|error| {
        let lost = "which programs hold sockets was not looked at";
        let topic = super::check::Topic::Programs;
        let check = Check::missing(topic, "programs", "programs with sockets", error.to_string(), (lost, ""));
        Programs { checks: vec![check], ..Programs::default() }
    })
}
