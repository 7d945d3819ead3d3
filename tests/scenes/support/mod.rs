//! What the scenes share: the stage with its processes, the kernel's word, the truth, and the judge.
//!
//! Nothing here waits without a limit, and no process that is started here outlives its scene.

pub(crate) mod board;
pub(crate) mod freezer;
pub(crate) mod judge;
pub(crate) mod kernel;
pub(crate) mod processes;
pub(crate) mod stage;
#[path = "../../it/support/stream.rs"]
pub(crate) mod stream;
pub(crate) mod tool;
pub(crate) mod truth;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The limit of every wait: far more than anything takes, because the machine may be busy.
pub(crate) fn limit() -> Duration {
    Duration::from_mins(1)
}

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Makes a test of each function, that the normal suite never runs.
macro_rules! scenes {
    ($($name:ident),* $(,)?) => {
        mod scene {
            $(
                #[test]
                #[ignore = "needs root and the software of others: cargo xtask scenes"]
                fn $name() {
                    super::$name();
                }
            )*
        }
    };
}

/// Waits until `is_so` holds; `shown` says what there is instead when it never does.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool, shown: impl Fn() -> String) {
    let end = Instant::now() + limit();
    while !is_so() {
        assert!(Instant::now() < end, "awaited that {what}; instead:\n{}", shown());
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// A port that nobody uses, below the kernel's ephemeral ports.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 4_000) as u16;
    (0..4_000)
        .map(|_| 28_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 4_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no port is free")
}

/// Connects as soon as somebody listens.
pub(crate) fn connect(port: u16) -> TcpStream {
    let end = Instant::now() + limit();
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < end, "nobody listens at port {port}: {error}"),
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits until somebody listens, without a connection that would be there too.
pub(crate) fn until_listens(port: u16) {
    until(&format!("port {port} is listened at"), || !kernel::listeners(None, port).is_empty(), String::new);
}

/// A client whose request a relay has passed on to its backend.
pub(crate) fn request_through(relay: u16, backend: u16) -> TcpStream {
    let client = request(relay, "/");
    let filter = format!("dport = :{backend}");
    let is_passed_on = || kernel::shown(None, &filter).contains("ESTAB");
    until("the backend is asked", is_passed_on, || kernel::shown(None, &filter));
    client
}

/// Connects, and asks for `path`.
pub(crate) fn request(port: u16, path: &str) -> TcpStream {
    use std::io::Write as _;
    let mut client = connect(port);
    write!(client, "GET {path} HTTP/1.1\r\nHost: scene\r\n\r\n").expect("a request can be sent");
    client
}
