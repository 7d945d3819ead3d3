//! Runs a program on a terminal of its own and answers its questions. The terminal is its standard input and
//! standard error; standard output is a pipe.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::emulated::stretched;
use super::process::close_for_all;
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

    /// Reads standard output until this has come.
    pub(crate) fn wait_for_output(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        let (mut output, mut some) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&output).contains(text) {
            let count = stdout.read(&mut some).expect("output");
            assert!(count > 0, "awaited {text:?} in {}", String::from_utf8_lossy(&output));
            output.extend_from_slice(&some[..count]);
        }
    }

    /// Reads standard output no more, ends the program as Ctrl-C does, and waits until this is on the screen.
    pub(crate) fn end_with_its_reader(mut self, text: &str) -> Left {
        close_for_all(self.child.stdout.take().expect("a pipe"));
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the program runs");
        let code = self.child.wait().expect("the program ends").code();
        self.wait_for(text);
        Left { code, output: String::new(), screen: self.screen() }
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

/// A program whose three streams are a terminal of its own, which shows what it is let.
pub(crate) struct SlowTerminal {
    child: Child,
    slave: OwnedFd,
    master: File,
}

impl SlowTerminal {
    /// Starts it on a terminal of 80 × 24 that takes what comes until its buffer is full.
    pub(crate) fn start(command: &mut Command) -> Self {
        let (master, slave) = open();
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).expect("a size");
        let stream = || slave.try_clone().expect("a descriptor");
        command.env("TERM", "xterm").stdin(stream()).stdout(stream()).stderr(stream());
        let child = command.spawn().expect("the program");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child, slave, master: File::from(master) }
    }

    /// As Ctrl-S: from now on nothing is taken.
    pub(crate) fn stop(&self) {
        rustix::termios::tcflow(&self.slave, rustix::termios::Action::OOff).expect("a terminal that stops");
    }

    /// Types what the terminal echoes as ^C. It is no controlling terminal, so it sends no signal for that.
    pub(crate) fn press_ctrl_c(&mut self) {
        self.master.write_all(b"\x03").expect("a terminal");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the program runs");
    }

    /// Reads this many bytes a second for so long, or until this text has come, or the program has ended.
    pub(crate) fn read_slowly(
        &mut self,
        bytes_a_second: usize,
        limit: std::time::Duration,
        until: &str,
    ) -> String {
        const STEPS_A_SECOND: usize = 20;
        let end = std::time::Instant::now() + stretched(limit);
        let (mut shown, mut some) = (Vec::new(), vec![0; bytes_a_second / STEPS_A_SECOND]);
        rustix::io::ioctl_fionbio(&self.master, true).expect("a flag");
        while std::time::Instant::now() < end && self.child.try_wait().expect("a child").is_none() {
            if let Ok(count) = self.master.read(&mut some) {
                shown.extend_from_slice(&some[..count]);
            }
            if String::from_utf8_lossy(&shown).contains(until) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_secs(1) / u32::try_from(STEPS_A_SECOND).unwrap());
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// The exit code, if it ends within this time.
    pub(crate) fn code_within(&mut self, limit: std::time::Duration) -> Option<i32> {
        let end = std::time::Instant::now() + stretched(limit);
        while std::time::Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        None
    }

    /// What is left in the terminal's buffer.
    pub(crate) fn rest(mut self) -> String {
        rustix::io::ioctl_fionbio(&self.master, true).expect("a flag");
        let mut rest = Vec::new();
        let _would_block = self.master.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

impl Drop for SlowTerminal {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _already_reaped = self.child.wait();
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
