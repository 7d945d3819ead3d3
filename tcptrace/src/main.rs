//! The command `tcptrace`: understands the command line, and runs the command on this host. The exit codes are a
//! promise.

use std::process::ExitCode;

use tcptrace::{World, commands::CommandLine, heed_interrupts, keep_little_memory, raise_open_files};

fn main() -> ExitCode {
    heed_interrupts();
    keep_little_memory();
    let command_line = match CommandLine::parse(std::env::args_os()) {
        Ok(command_line) => command_line,
        Err(exit_code) => return exit_code,
    };
    command_line.start_log();
    raise_open_files();
    command_line.run(&World::of_this_host())
}
