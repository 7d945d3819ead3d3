//! php-fpm, whose FastCGI client left while the script sleeps.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::judge::judge;
use crate::support::processes::only_child;
use crate::support::stage::{Stage, app};
use crate::support::truth::Truth;
use crate::support::{connect, free_port, until};

scenes! {
    php_fpm_whose_client_left,
}

fn php_fpm_whose_client_left() {
    let (stage, port) = (Stage::new(), free_port());
    let configuration = stage.configuration("php-fpm.conf", &[("PORT", &port.to_string())]);
    let arguments = ["-n", "-R", "-F", "-y", &configuration];
    let master = stage.start("php-fpm", Command::new(program()).args(arguments));
    let working = stage.folder().join("working");
    let mut client = connect(port);
    client.write_all(&request(&app("slow.php"), &working)).unwrap();
    until("the script works", || working.exists(), || stage.log("php-fpm"));
    let child = only_child(master, &[]);
    drop(client);
    judge(&[Truth::accepted("php-fpm, client left", port)
        .owners(&[child])
        // The record that ends the body, which it never reads, and the FIN.
        .unread(9..=9)
        .verdict(&["data_unread"])
        .first(&["client_left"])
        .never(&["old_generation", "nobody_accepts"])]);
}

/// Its name has the version.
pub(crate) fn program() -> String {
    let programs = fs::read_dir("/usr/sbin").unwrap().flatten();
    let mut named = programs.map(|program| program.path().display().to_string());
    named.find(|path| path.contains("/php-fpm")).expect("php-fpm: cargo xtask scenes installs it")
}

/// A whole FastCGI request: begin, parameters, and an empty body.
pub(crate) fn request(script: &Path, working: &Path) -> Vec<u8> {
    const BEGIN: u8 = 1;
    const PARAMETERS: u8 = 4;
    const BODY: u8 = 5;
    let mut parameters = Vec::new();
    let values = [("SCRIPT_FILENAME", script), ("WORKING", working), ("REQUEST_METHOD", Path::new("GET"))];
    for (name, value) in values {
        let value = value.display().to_string();
        parameters.push(u8::try_from(name.len()).unwrap());
        // Longer values have four bytes of length, and the highest bit says so.
        parameters.extend((u32::try_from(value.len()).unwrap() | 1 << 31).to_be_bytes());
        parameters.extend(name.bytes().chain(value.bytes()));
    }
    let record = |kind: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
    };
    // A responder, that ends the connection with the request.
    let begin = record(BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(PARAMETERS, &parameters), record(PARAMETERS, &[]), record(BODY, &[])].concat()
}
