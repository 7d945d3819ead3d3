//! The command `tcptrace`: reads the command line, runs the session, turns its end into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcptrace::commands::main()
}
