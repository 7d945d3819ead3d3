//! Makes the man pages and the completions of shells from the one definition of the command line. Names no option of
//! its own.

use std::{fs, io, path::Path};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use tcptrace::testing::command_line;

/// Where tcptrace is installed, /usr/sbin, the pages are of section 8: what the administrator runs.
const SECTION: &str = "8";

/// The shells, each with the name under which it looks for completions.
const SHELLS: [(Shell, &str); 3] =
    [(Shell::Bash, "tcptrace.bash"), (Shell::Zsh, "_tcptrace"), (Shell::Fish, "tcptrace.fish")];

/// Writes `man/` and `completions/` into `directory`. The pages are of this day.
pub(crate) fn write_all(directory: &Path, date: &str) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for (name, page) in man_pages(date)? {
        fs::write(man.join(name), page)?;
    }
    for (shell, name) in SHELLS {
        fs::write(completions.join(name), completion(shell))?;
    }
    Ok(())
}

/// The definition, with what clap adds to it by itself: names of pages, inherited options.
pub(crate) fn definition() -> Command {
    // `tcptrace help` is the same as `--help`; a page of its own says nothing.
    let mut command = command_line().disable_help_subcommand(true);
    command.build();
    command
}

/// The commands that people are told about.
pub(crate) fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// A page for tcptrace, and one for each of its commands: the name of the file, and what is in it.
pub(crate) fn man_pages(date: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let definition = definition();
    let commands = std::iter::once(&definition).chain(visible(&definition));
    commands
        .map(|command| {
            let usage = command.clone().render_usage().to_string();
            // What the short help hides, clap_mangen does not describe.
            let shown = command.clone().mut_args(|argument| argument.hide_short_help(false));
            let page = Man::new(shown.override_usage(usage.trim_start_matches("Usage:").trim().to_owned()))
                .section(SECTION)
                .date(date)
                .source(concat!("tcptrace ", env!("CARGO_PKG_VERSION")))
                .manual("System administration");
            let mut bytes = Vec::new();
            page.render_title(&mut bytes)?;
            page.render_name_section(&mut bytes)?;
            page.render_synopsis_section(&mut bytes)?;
            page.render_description_section(&mut bytes)?;
            page.render_options_section(&mut bytes)?;
            if visible(command).next().is_some() {
                page.render_subcommands_section(&mut bytes)?;
            }
            for text in [command.get_before_long_help(), command.get_after_long_help()].into_iter().flatten()
            {
                sections(&text.to_string()).to_writer(&mut bytes)?;
            }
            Ok((page.get_filename(), bytes))
        })
        .collect()
}

/// What stands around the options, a section for each of its paragraphs: the first line is the heading.
fn sections(text: &str) -> Roff {
    /// Longer lines are sentences, which man breaks.
    const TABLE_WIDTH: usize = 78;
    let mut page = Roff::new();
    for paragraph in text.split("\n\n") {
        let mut lines = paragraph.trim_end().lines();
        let heading = lines.next().unwrap_or_default().trim_end_matches(':').to_uppercase();
        page.control("SH", [heading.as_str()]);
        let lines: Vec<&str> = lines.collect();
        if lines.iter().all(|line| line.chars().count() <= TABLE_WIDTH) {
            page.control("nf", []);
            for line in lines {
                page.text([roman(line)]);
            }
            page.control("fi", []);
        } else {
            for line in lines {
                page.control("PP", []).text([roman(line.trim())]);
            }
        }
    }
    page
}

/// What a shell reads to complete a command line of tcptrace.
pub(crate) fn completion(shell: Shell) -> Vec<u8> {
    let definition = command_line();
    // Options that stand alone are those of `leaks`, which has them once it is built; clap adds --help itself.
    let mut leaks = definition.find_subcommand("leaks").cloned().unwrap_or_default();
    leaks.build();
    let alone = leaks.get_arguments().filter(|argument| argument.get_id() != "help");
    // Made anew, because the generators offer hidden commands too.
    let mut command = Command::new("tcptrace")
        .version(env!("CARGO_PKG_VERSION"))
        .args(definition.get_arguments().chain(alone).cloned())
        .subcommands(visible(&definition).cloned());
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut command, "tcptrace", &mut bytes);
    bytes
}
