//! Compiles the programs of the ways, in a folder beside the tool, which cargo keeps between runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::stage::Stage;
use crate::support::tool::TCPTRACE;

/// The path of a program's source.
pub(crate) fn app(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenes/lines/apps");
    folder.canonicalize().expect("the programs of the ways").join(name)
}

/// The path of what is compiled.
pub(crate) fn built(name: &str) -> String {
    let folder = Path::new(TCPTRACE).with_file_name("lines");
    std::fs::create_dir_all(&folder).expect("a folder beside the tool");
    folder.join(name).display().to_string()
}

/// Runs a compiler in the folder of the sources, which has to succeed.
pub(crate) fn compile(stage: &Stage, words: &[&str]) {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(app(""));
    run(stage, &mut command);
}

/// As [`compile`], of a prepared command.
pub(crate) fn run(stage: &Stage, command: &mut Command) {
    let name = format!("compiler-{}", Path::new(command.get_program()).display()).replace('/', "_");
    stage.run(&name, command);
}
