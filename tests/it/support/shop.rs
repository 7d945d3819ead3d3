//! A shop in an interpreted language: files whose comments `opened here: WAY` say which line opens a socket in which way. The
//! first file is the script, which gets the way and a port.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{ChildStdout, Command};

use serde_json::Value;

use super::free_port;
use super::process::Process;
use super::tracer::Tracer;

/// The files of a shop on disk, and the interpreter that runs them.
pub(crate) struct Shop {
    folder: tempfile::TempDir,
    interpreter: &'static str,
    files: &'static [(&'static str, &'static str)],
}

impl Shop {
    pub(crate) fn new(interpreter: &'static str, files: &'static [(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { folder, interpreter, files }
    }

    /// Starts the shop, which opens a socket in one way and keeps it until its input ends.
    pub(crate) fn start(&self, way: &str, port: &str) -> (Process, ChildStdout) {
        let script = self.folder.path().join(self.files[0].0);
        Process::start(Command::new(self.interpreter).arg(script).args([way, port]))
    }

    /// The end of the line that has to be told: where the comment is.
    pub(crate) fn place(&self, way: &str) -> String {
        let mark = format!("opened here: {way}");
        let place = self.files.iter().find_map(|(path, text)| {
            let line = text.lines().position(|line| line.ends_with(&mark))? + 1;
            Some(format!(" ({path}:{line})"))
        });
        place.unwrap_or_else(|| panic!("{way} has no comment"))
    }

    /// The way `accept` says that it is listening, accepts, and is told by its line.
    pub(crate) fn is_told_by_the_line_that_accepts(&self) {
        let port = free_port();
        let tracer = of_listener(port);
        let (_process, output) = self.start("accept", &port.to_string());
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "what it said first");
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let peer = client.local_addr().unwrap().port();
        drop(client);
        let opened = opener(&tracer, "accept", "rport", peer);
        assert_eq!(opened["site"], format!("serve{}", self.place("accept")), "{opened:#}");
        tracer.stop().summary();
    }
}

/// Traces what a listener accepts, and nothing of other tests.
pub(crate) fn of_listener(port: u16) -> Tracer {
    Tracer::start_plain(&["leaks", "--older-than", "1s", "--lport", &port.to_string()])
}

/// Who opened the leak at a port.
pub(crate) fn opener(tracer: &Tracer, way: &str, side: &str, port: u16) -> Value {
    let is_it = |record: &Value| record["type"] == "leak" && record[side] == port;
    tracer.wait_for(way, is_it)["opened_by"].clone()
}
