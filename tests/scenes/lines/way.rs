//! One way to leak: how it is started, what its other end does, and which line is the truth. It looks at nothing.

use std::path::PathBuf;

use super::build::app;
use super::peer::Peer;
use crate::support::stage::Stage;

/// The ways of one language.
pub(crate) struct Group {
    pub name: &'static str,
    /// What says its version in its first lines, and how it is asked.
    pub versions: Vec<(&'static str, Vec<String>)>,
}

impl Group {
    pub(crate) fn new(name: &'static str, versions: &[(&'static str, &[&str])]) -> Self {
        let owned = |(what, command): &(&'static str, &[&str])| (*what, words(command));
        Self { name, versions: versions.iter().map(owned).collect() }
    }
}

/// How a way comes to have a socket in CLOSE_WAIT.
pub(crate) enum Start {
    /// This command connects to the port that stands for `PORT`, where a peer waits.
    Connects(Vec<String>, Peer),
    /// This command accepts at the port; a client sends this, and leaves.
    Accepts(Vec<String>, &'static str),
    /// This function starts everything, with a client that leaves, and returns the pid of what accepts at the port.
    Plays(fn(&Stage, u16) -> i32),
}

/// The line that has to be named.
#[derive(Clone)]
pub(crate) struct Own {
    pub function: &'static str,
    /// `file:line`; `None` of programs without line tables.
    pub place: Option<String>,
}

pub(crate) struct Way {
    pub name: String,
    pub start: Start,
    /// `None` where no line of the application's is on the stack, or none has a name.
    pub own: Option<Own>,
    /// The reasons without a line that would be true.
    pub reasons: Vec<&'static str>,
    /// Whether the line in question is the one that read the end, not the one that opened.
    pub reads_the_end: bool,
    pub environment: Vec<(&'static str, &'static str)>,
    /// To be run once the socket leaks, with `PID` replaced.
    pub afterwards: Vec<&'static str>,
}

impl Way {
    pub(crate) fn new(name: impl Into<String>, start: Start) -> Self {
        Self {
            name: name.into(),
            start,
            own: None,
            reasons: Vec::new(),
            reads_the_end: false,
            environment: Vec::new(),
            afterwards: Vec::new(),
        }
    }

    /// A command that connects to a peer which closes at once.
    pub(crate) fn connects(name: impl Into<String>, command: &[&str]) -> Self {
        Self::asks(name, command, Peer::CLOSES)
    }

    /// A command that connects to this peer.
    pub(crate) fn asks(name: impl Into<String>, command: &[&str], peer: Peer) -> Self {
        Self::new(name, Start::Connects(words(command), peer))
    }

    /// A command that accepts.
    pub(crate) fn accepts(name: impl Into<String>, command: &[&str], says: &'static str) -> Self {
        Self::new(name, Start::Accepts(words(command), says))
    }

    /// The function to be named, at its mark in this source.
    pub(crate) fn own(mut self, function: &'static str, source: &str) -> Self {
        self.own = Some(Own { function, place: Some(mark(source, "opened", function)) });
        self
    }

    /// As [`Way::own`], of the function that reads the end of file.
    pub(crate) fn reader(mut self, function: &'static str, source: &str) -> Self {
        self.own = Some(Own { function, place: Some(mark(source, "read", function)) });
        self.reads_the_end = true;
        self
    }

    /// The function as the tool is told it, where that is not what people call it.
    pub(crate) fn called(mut self, name: &'static str) -> Self {
        if let Some(own) = &mut self.own {
            own.function = name;
        }
        self
    }

    /// A function of a program of others, whose lines nobody has here.
    pub(crate) fn symbol(mut self, function: &'static str) -> Self {
        self.own = Some(Own { function, place: None });
        self
    }

    /// Of a program without line tables: its symbols are all there is.
    pub(crate) fn without_lines(mut self) -> Self {
        if let Some(own) = &mut self.own {
            own.place = None;
        }
        self
    }

    /// These reasons are true where there is no line.
    pub(crate) fn or(mut self, reasons: &[&'static str]) -> Self {
        self.reasons.extend(reasons);
        self
    }

    pub(crate) fn with(mut self, variable: &'static str, value: &'static str) -> Self {
        self.environment.push((variable, value));
        self
    }

    pub(crate) fn afterwards(mut self, command: &[&'static str]) -> Self {
        self.afterwards = command.to_vec();
        self
    }
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// `file:line` of the one line of a program that is marked with this function.
fn mark(source: &str, verb: &str, function: &str) -> String {
    let path: PathBuf = app(source);
    let text = std::fs::read_to_string(&path).expect("a program of the ways");
    let end = format!("{verb} here: {function}");
    let mut marked = text.lines().zip(1..).filter(|(line, _)| line.ends_with(&end));
    let (_, line) = marked.next().unwrap_or_else(|| panic!("{source} has no line \"{end}\""));
    assert!(marked.next().is_none(), "{source} has several lines \"{end}\"");
    format!("{}:{line}", path.file_name().expect("a file").display())
}
