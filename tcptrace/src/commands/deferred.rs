//! The commands as clap has them: the options of a command are put together once it was typed. Those of all seven take
//! half a millisecond, which is as much as the kernel takes to verify a program of `now`.

use clap::{ArgMatches, Args as _, Error, FromArgMatches, Subcommand, error::ErrorKind};

use super::{
    Command, clear::arguments::ClearArguments, doctor::arguments::DoctorArguments, help,
    leaks::arguments::LeaksArguments, now::arguments::NowArguments, report::arguments::ReportArguments,
    time_wait::arguments::TimeWaitArguments, trace::arguments::TraceArguments,
};

/// From one line for each command: its name, its variant, its arguments, and what it is for.
macro_rules! commands {
    ($($name:literal, $variant:ident($arguments:ty): $about:literal;)+) => {
        impl Subcommand for Command {
            fn augment_subcommands(all: clap::Command) -> clap::Command {
                all$(.subcommand(
                    clap::Command::new($name)
                        .about($about)
                        // Groups of options have texts of their own, which would take this one's place.
                        .defer(|command| help::completed(<$arguments>::augment_args(command).about($about))),
                ))+
            }

            fn augment_subcommands_for_update(all: clap::Command) -> clap::Command {
                Self::augment_subcommands(all)
            }

            fn has_subcommand(name: &str) -> bool {
                [$($name),+].contains(&name)
            }
        }

        impl FromArgMatches for Command {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
                match matches.subcommand() {
                    $(Some(($name, typed)) => <$arguments>::from_arg_matches(typed).map(Self::$variant),)+
                    Some(_) => Err(Error::new(ErrorKind::InvalidSubcommand)),
                    None => Err(Error::new(ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

commands! {
    "leaks", Leaks(LeaksArguments):
        "Watch live: time every socket in CLOSE_WAIT and name who holds it";
    "now", Now(NowArguments):
        "List what is in CLOSE_WAIT at this moment: who holds it, and why";
    "clear", Clear(ClearArguments):
        "End sockets that are stuck, without restarting their processes; lists them unless told --yes";
    "trace", Trace(TraceArguments):
        "Show every TCP state transition as it happens";
    "time-wait", TimeWait(TimeWaitArguments):
        "Tell who fills the TIME_WAIT table, how long the local ports last, why bind() to --lport fails, and what helps";
    "report", Report(ReportArguments):
        "Sum up recorded sessions: who leaks, towards whom, since when, from which line of code; offline and without root";
    "doctor", Doctor(DoctorArguments):
        "Tell what is missing on this host, what it costs, and how to get it";
}
