//! Runs a program on a terminal of its own and answers its questions. The terminal is its standard input and
//! standard error; standard output is a pipe.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::until;

pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

/// How the program ended.
pub(crate) struct Left {
    pub code: Option<i32>,
    pub output: String,
    pub screen: String,
}

impl Terminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        let (master, slave) = open();
        let input = slave.try_clone().expect("a descriptor");
        command.stdin(input).stderr(slave).stdout(Stdio::piped());
        let child = command.spawn().expect("the program");
        // Otherwise the command would keep the terminal open, and reading it would never end.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let keyboard = File::from(master);
        let (mut shown, screen) = (keyboard.try_clone().expect("a descriptor"), Arc::default());
        let heard: Arc<Mutex<Vec<u8>>> = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // The read fails when the program has closed its side.
            while let Ok(count @ 1..) = shown.read(&mut some) {
                heard.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        Self { child, keyboard, screen }
    }

    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until `text` is on the screen.
    pub(crate) fn wait_for(&self, text: &str) {
        until(&format!("{text:?} is shown; there is\n{}", self.screen()), || self.screen().contains(text));
    }

    /// Types a line, and waits until the program has ended.
    pub(crate) fn answer(mut self, line: &str) -> Left {
        writeln!(self.keyboard, "{line}").expect("a terminal");
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).expect("text");
        let code = self.child.wait().expect("the program ends").code();
        Left { code, output, screen: self.screen() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

/// Opens a new terminal, and returns both its ends.
fn open() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let (name, attributes, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: the first two point to integers, and without a name, attributes and a size none are touched.
    let answer = unsafe { libc::openpty(&raw mut master, &raw mut slave, name, attributes, size) };
    assert_eq!(answer, 0, "a terminal: {}", std::io::Error::last_os_error());
    // SAFETY: both have just been opened for us.
    let own = |number| unsafe { OwnedFd::from_raw_fd(number) };
    let ends = (own(master), own(slave));
    for end in [&ends.0, &ends.1] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC).expect("a flag");
    }
    ends
}
