//! The help: `-h` fits a screen and begins with what is typed most, `--help` has every option, the exit codes and the
//! verdicts. The options themselves are named where they are parsed; what is named here is held to them by a test.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::{CommandLine, shared::outputs::with_lines_only};
use crate::{diagnosis::advice::advice, model::verdict::Verdict};

/// What the short help of one command has.
struct Short {
    command: &'static str,
    /// What to type, and what it is for.
    examples: [(&'static str, &'static str); 3],
    /// Options as typed, and what they do.
    options: &'static [Line],
    /// The filters that it has.
    filters: &'static [Line],
}

/// What is typed, and what it does.
type Line = (&'static str, &'static str);

const OUTPUT: Line = ("-o, --output FILE", "to FILE: .txt, .jsonl, .csv, .tct; - is stdout");
const LINES_OUTPUT: Line = ("-o, --output FILE", "to FILE: .txt, .jsonl; - is stdout");
const DURATION: Line = ("--duration TIME", "stop by itself: 30s, 5m, 1h");
const CONNECTION: Line = ("--port, --lport, --rport N", "only this port: either, local or remote");
const ADDRESS: Line = ("--addr CIDR, --netns NAME", "only this address, this network namespace");
const OWNER: Line = ("--pid, --comm, --unit NAME", "only sockets of this process, program or unit");
const CONTAINER: Line = ("--container, --pod NAME", "only sockets of this container or pod");
const EXIT_CODE: Line = ("--exit-code", "exit with 1 when a leak was found");
const QUIET: Line = ("-q, -v", "fewer messages, more messages");

/// Of what looks at sockets and their owners.
const FILTERS: &[Line] = &[OWNER, CONTAINER, CONNECTION, ADDRESS];

const SHORT: [Short; 7] = [
    Short {
        command: "leaks",
        examples: [
            ("tcptrace leaks", "until Ctrl-C; sums up by process"),
            ("tcptrace leaks --unit shop --older-than 1m", "one service, stuck for a minute"),
            ("tcptrace leaks -o incident.tct -o -", "kept for `report`, and shown"),
        ],
        options: &[
            ("--older-than TIME", "stuck after this long in CLOSE_WAIT [10s]"),
            DURATION,
            OUTPUT,
            ("--exec CMD", "run CMD for each leak"),
            ("--deep", "who read the end of file that was then ignored"),
            EXIT_CODE,
        ],
        filters: FILTERS,
    },
    Short {
        command: "now",
        examples: [
            ("tcptrace now", "all of CLOSE_WAIT, at once"),
            ("tcptrace now --by comm", "by program, the largest first"),
            ("tcptrace now --older-than 5m --exit-code -q", "a health check"),
        ],
        options: &[
            ("--by WHAT", "group by process, comm, unit, pod, reason, …"),
            ("--older-than TIME", "only those stuck for this long"),
            ("--state STATE", "other states; CLOSE: connections that are over"),
            ("--rows N", "rows listed, 0 for all [40]"),
            OUTPUT,
            EXIT_CODE,
        ],
        filters: FILTERS,
    },
    Short {
        command: "clear",
        examples: [
            ("tcptrace clear --older-than 5m", "lists; asks on a terminal"),
            ("tcptrace clear --older-than 5m --unit shop --yes", "ends them"),
            ("tcptrace clear --state FIN_WAIT2 --rport 5432", "other states than CLOSE_WAIT"),
        ],
        options: &[
            ("--older-than TIME", "only those stuck for this long; required"),
            ("-y, --yes", "end them; without it nothing is ended unasked"),
            ("--limit N", "end N at most, the oldest first"),
            ("--verdict VERDICT", "only with this verdict, like eof_read"),
            ("--method METHOD", "destroy or shutdown"),
            LINES_OUTPUT,
        ],
        filters: FILTERS,
    },
    Short {
        command: "trace",
        examples: [
            ("tcptrace trace --lport 8080", "every transition of one service"),
            ("tcptrace trace -o x.tct --duration 10m", "a recording for `report`"),
            ("tcptrace trace --replay x.tct", "prints a recording again, without root"),
        ],
        options: &[
            ("--state STATE", "only transitions into or out of it"),
            ("--owners", "name who holds stuck sockets, as `leaks` does"),
            ("--replay FILE", "print what was kept; - is standard input"),
            DURATION,
            OUTPUT,
            ("--rotate-size BYTES", "begin another file before one is larger"),
            ("--keep N", "keep N files beside the present one"),
        ],
        filters: &[CONNECTION, ADDRESS, ("-4, -6", "IPv4 only, IPv6 only")],
    },
    Short {
        command: "time-wait",
        examples: [
            ("tcptrace time-wait", "one look: who fills the table"),
            ("tcptrace time-wait --watch", "who closes first, until Ctrl-C"),
            ("tcptrace time-wait --lport 8080", "why bind() to the port fails"),
        ],
        options: &[
            ("--watch", "go on until Ctrl-C"),
            ("--duration TIME", "watch for this time: 30s, 5m, 1h"),
            ("--interval TIME", "between two looks"),
            ("--exit-code", "exit with 1 where --ports-used is reached"),
            ("--ports-used PERCENT", "share of the local ports taken [80%]"),
            ("--rows N", "destinations listed, 0 for all [20]"),
            LINES_OUTPUT,
        ],
        filters: &[OWNER, CONNECTION, ADDRESS],
    },
    Short {
        command: "report",
        examples: [
            ("tcptrace report incident.tct", "the root cause, on the terminal"),
            ("tcptrace report *.tct -o incident.html", "one page of several files and hosts"),
            ("tcptrace report x.tct --from -10m", "the last ten minutes"),
        ],
        options: &[
            ("-o, --output FILE", "write to FILE (.html, .json, .txt)"),
            ("--format FORM", "text, json, html, perfetto"),
            ("--from, --to TIME", "14:05, +5m from the start, -10m from the end"),
            ("--older-than TIME", "only sockets stuck for this long"),
            ("--top N", "how many of everything are listed [10]"),
            ("--follow", "make it anew as the files grow"),
        ],
        filters: FILTERS,
    },
    Short {
        command: "doctor",
        examples: [
            ("tcptrace doctor", "what is missing here, and how to get it"),
            ("tcptrace doctor --btf /tmp/vmlinux", "would this file do as BTF"),
            ("tcptrace doctor --format json", "for programs"),
        ],
        options: &[("--format FORM", "text, json"), ("--btf FILE", "the types of a kernel that shows none")],
        filters: &[],
    },
];

const EXIT_CODES: &str = "\
Exit codes:
  0  done; a closed pipe (`| head`) is success too
  1  found what --exit-code asks for; `doctor`: the main job lacks something
  2  the command line or the input is wrong, or an output file cannot be used
  3  this host cannot do it, or nothing could be looked at
  4  incomplete: a part of the host could not be looked at, records were lost
     (more than one in a thousand), a bound was reached, an output or a
     recording is not whole, or `clear` was interrupted";

/// The short help is written by hand: of the options themselves it has none.
const TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The command line with its help.
#[must_use]
pub fn command() -> Command {
    CommandLine::command()
        .override_usage("tcptrace [OPTIONS]          as `tcptrace leaks`\n       tcptrace COMMAND [OPTIONS]")
        .after_help(
            "`tcptrace COMMAND -h` has examples, `--help` every option; -q and -v: fewer and more messages.",
        )
        .after_long_help(EXIT_CODES)
}

/// A command that has its options, with its help.
pub(super) fn completed(command: Command) -> Command {
    let name = command.get_name();
    let short = SHORT.iter().find(|short| short.command == name);
    let has_lines_only = matches!(name, "clear" | "time-wait");
    let command = if has_lines_only { with_lines_only(command) } else { command };
    match short {
        Some(short) => short.applied_to(command),
        None => command,
    }
}

impl Short {
    fn applied_to(&self, command: Command) -> Command {
        let examples = self.examples_in_lines();
        let common = self.options_in_lines(self.command);
        let verdicts = verdicts();
        command
            .help_template(TEMPLATE)
            .before_help(format!("{examples}\n{common}"))
            .before_long_help(examples)
            .after_long_help(format!("{EXIT_CODES}\n\n{verdicts}"))
            .disable_help_flag(true)
            .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help"))
            .mut_args(|argument| {
                // A negative number is a wrong value, not an unknown option.
                let has_value = argument.get_action().takes_values();
                argument.hide_short_help(true).allow_negative_numbers(has_value)
            })
    }

    fn examples_in_lines(&self) -> String {
        let width = self.examples.iter().map(|(typed, _)| typed.len()).max().unwrap_or_default();
        let lines = self.examples.iter().map(|(typed, what)| format!("  {typed:<width$}  {what}\n"));
        format!("Examples:\n{}", lines.collect::<String>())
    }

    /// Options and filters, and what all commands have.
    fn listed(&self) -> impl Iterator<Item = Line> {
        self.options.iter().chain(self.filters).copied().chain([QUIET])
    }

    fn options_in_lines(&self, command: &str) -> String {
        let width = self.listed().map(|(typed, _)| typed.len()).max().unwrap_or_default();
        let mut lines = "Common options:\n".to_owned();
        for (typed, what) in self.listed() {
            // Writing into memory does not fail.
            let _ = writeln!(lines, "  {typed:<width$}  {what}");
        }
        lines + &format!("`tcptrace {command} --help` has all options, the exit codes and the verdicts.")
    }
}

/// What the verdicts mean, each in a line or two.
fn verdicts() -> String {
    let mut lines = "Verdicts, why a socket is stuck:\n".to_owned();
    for verdict in Verdict::ALL {
        // Writing into memory does not fail.
        let _ = writeln!(lines, "  {verdict}: {}", advice(verdict, None));
    }
    lines
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]
mod tests {
    use super::*;

    fn short_help(name: &str) -> String {
        let mut command = command().term_width(80);
        command.build();
        command.find_subcommand_mut(name).unwrap().render_help().to_string()
    }

    #[test]
    fn the_short_help_of_each_command_fits_a_screen() {
        for Short { command, .. } in &SHORT {
            let help = short_help(command);
            let width = help.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(help.lines().count() <= 24 && width <= 80, "{command}:\n{help}");
        }
        let help = command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 24 && help.contains("tcptrace [OPTIONS]"), "{help}");
    }

    #[test]
    fn the_examples_can_be_typed() {
        for (typed, _) in SHORT.iter().flat_map(|short| short.examples) {
            let parsed = command().try_get_matches_from(typed.split(' '));
            assert!(parsed.is_ok(), "{typed}: {parsed:?}");
        }
    }

    #[test]
    fn every_option_that_the_short_help_names_is_one() {
        for short in &SHORT {
            let name = short.command;
            let mut command = command();
            command.build();
            let command = command.find_subcommand(name).unwrap().clone();
            for flag in short.listed().flat_map(|(typed, _)| typed.split([' ', ','])) {
                let is_known = match (flag.strip_prefix("--"), flag.strip_prefix('-')) {
                    (Some(long), _) => command.get_arguments().any(|arg| arg.get_long() == Some(long)),
                    (_, Some(short)) => {
                        command.get_arguments().any(|arg| arg.get_short() == short.chars().next())
                    }
                    _ => true,
                };
                assert!(is_known, "{name} {flag}");
            }
        }
    }

    #[test]
    fn no_help_names_a_form_that_its_command_refuses() {
        for name in ["clear", "time-wait"] {
            let mut command = command();
            command.build();
            let subcommand = command.find_subcommand_mut(name).unwrap();
            let help = [subcommand.render_help(), subcommand.render_long_help()].map(|help| help.to_string());
            for form in ["csv", "tct"] {
                assert!(help.iter().all(|help| !help.contains(&format!(".{form}"))), "{name} {form}");
                let typed = ["tcptrace", name, "--format", form];
                assert!(command.clone().try_get_matches_from(typed).is_err(), "{typed:?}");
            }
        }
    }

    #[test]
    fn the_long_help_has_every_option_and_the_rare_ones_last() {
        let mut command = command().term_width(80);
        command.build();
        let leaks = command.find_subcommand_mut("leaks").unwrap();
        let help = leaks.render_long_help().to_string();
        for argument in leaks.get_arguments().filter_map(Arg::get_long) {
            assert!(help.contains(&format!("--{argument}")), "{argument}");
        }
        let at = |text: &str| help.find(text).unwrap();
        assert!(at("--port") < at("--ring-size") && at("--ring-size") < at("Exit codes:"), "{help}");
        assert!(help.contains("never_accepted: "), "{help}");
    }
}
