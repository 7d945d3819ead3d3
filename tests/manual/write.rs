//! Writes the man pages and the completions into the directory that is named, dated by SOURCE_DATE_EPOCH:
//! `cargo xtask dist` runs it.

mod generate;

use std::{env, error::Error, path::Path};

use jiff::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).ok_or("usage: manual DIRECTORY")?;
    let seconds = env::var("SOURCE_DATE_EPOCH")?.parse()?;
    let date = Timestamp::from_second(seconds)?.strftime("%Y-%m-%d").to_string();
    generate::write_all(Path::new(&directory), &date)?;
    Ok(())
}
