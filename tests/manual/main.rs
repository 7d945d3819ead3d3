//! The man pages and the completions are generated, so they say what the command line is; these tests hold them to it.
#![expect(clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the program that writes the files uses the rest")]
mod generate;

use std::process::Command;

use clap_complete::Shell;

use generate::{completion, definition, man_pages, visible};

/// The text of a page: roff writes a hyphen that may be copied as `\-`.
fn text(page: &[u8]) -> String {
    String::from_utf8_lossy(page).replace("\\-", "-")
}

#[test]
fn each_command_has_a_page_with_all_its_options() {
    let pages = man_pages("2026-01-02").expect("pages");
    let definition = definition();
    let mut names = vec!["tcptrace.8".to_owned()];
    for command in visible(&definition) {
        let name = format!("tcptrace-{}.8", command.get_name());
        let page = pages.iter().find(|(file, _)| *file == name).map(|(_, page)| text(page));
        let page = page.unwrap_or_else(|| panic!("{name} is missing"));
        let options = command.get_arguments().filter(|option| !option.is_hide_set());
        for option in options {
            let long = option.get_long().map(|long| format!("--{long}")).unwrap_or_default();
            assert!(page.contains(&long), "{name} lacks {long}");
            let help = option.get_help().expect("each option has a help").to_string();
            assert!(page.contains(help.trim()), "{name} does not say of {long}: {help}");
        }
        for heading in ["EXAMPLES", "EXIT CODES"] {
            assert!(
                page.contains(&format!(".SH \"{heading}\"")) || page.contains(&format!(".SH {heading}")),
                "{name} lacks {heading}"
            );
        }
        let main = text(&pages[0].1);
        assert!(
            main.contains(&format!("tcptrace-{}(8)", command.get_name())),
            "tcptrace.8 does not name {name}"
        );
        names.push(name);
    }
    assert!(names.len() > 6, "where are the commands? {names:?}");
    let written: Vec<_> = pages.into_iter().map(|(name, _)| name).collect();
    assert_eq!(written, names, "pages for other things than commands");
}

#[test]
fn each_shell_completes_every_command_and_every_option() {
    let definition = definition();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = text(&completion(shell));
        for command in visible(&definition) {
            assert!(script.contains(command.get_name()), "{shell} lacks {}", command.get_name());
            let options = command.get_arguments().filter(|option| !option.is_hide_set());
            for long in options.filter_map(|option| option.get_long()) {
                // Fish names an option without its dashes.
                let named = if shell == Shell::Fish { format!("-l {long}") } else { format!("--{long}") };
                assert!(script.contains(&named), "{shell} lacks --{long} of {}", command.get_name());
            }
        }
    }
}

/// What bash offers for the last of these words.
fn offered_by_bash(words: &[&str]) -> Vec<String> {
    let script = String::from_utf8(completion(Shell::Bash)).expect("text");
    let asked = format!(
        "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_tcptrace tcptrace \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().expect("bash");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_then_options_then_values() {
    assert!(offered_by_bash(&["tcptrace", "le"]).contains(&"leaks".to_owned()));
    assert_eq!(offered_by_bash(&["tcptrace", "time"]), ["time-wait"]);
    assert_eq!(offered_by_bash(&["tcptrace", "now", "--hold"]), ["--holders"]);
    assert_eq!(offered_by_bash(&["tcptrace", "now", "--holders", "iter"]), ["iterator"]);
    assert_eq!(
        offered_by_bash(&["tcptrace", "--older"]),
        ["--older-than"],
        "those of leaks, without a command"
    );
    assert!(!offered_by_bash(&["tcptrace", ""]).contains(&"support".to_owned()), "a hidden command");
}
