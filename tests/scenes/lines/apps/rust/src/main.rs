//! Leaks one connection a way: `ledger WAY PORT`. The comment "opened here" names the function that has to be named.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{mpsc, Mutex};
use std::time::Duration;

static KEPT: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());

#[inline(never)]
fn keep(stream: TcpStream) {
    KEPT.lock().unwrap().push(stream);
}

#[inline(never)]
fn open_ledger(address: SocketAddr) -> std::io::Result<()> {
    let stream = TcpStream::connect(address)?; // opened here: open_ledger
    keep(stream);
    Ok(())
}

fn retry(address: SocketAddr) {
    while open_ledger(address).is_err() {}
}

#[inline(never)]
fn open_in_time(address: SocketAddr) {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap(); // opened here: open_in_time
    keep(stream);
}

#[inline(never)]
fn open_any<A: ToSocketAddrs>(address: A) {
    let stream = TcpStream::connect(address).unwrap(); // opened here: open_any
    keep(stream);
}

#[inline(never)]
fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    for stream in listener.incoming() { // opened here: serve
        keep(stream.unwrap());
    }
}

/// The call becomes a jump: no address of this function is on the stack.
#[inline(never)]
fn open_thin(address: &SocketAddr) -> std::io::Result<TcpStream> { // opened here: open_thin
    TcpStream::connect(*address)
}

/// A closure that is inlined in what runs the thread.
fn by_thread(address: SocketAddr) {
    let open = move || {
        keep(TcpStream::connect(address).unwrap()); // opened here: closure
        std::thread::park();
    };
    std::thread::spawn(open).join().unwrap();
}

/// A pool of threads that do what they are handed.
fn by_pool(address: SocketAddr) {
    let (hand, take) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    std::thread::spawn(move || take.into_iter().for_each(|job| job()));
    hand.send(Box::new(move || retry(address))).unwrap();
    std::thread::park();
}

trait Store {
    fn open(&self);
}

struct Remote(SocketAddr);

impl Store for Remote {
    #[inline(never)]
    fn open(&self) {
        let stream = TcpStream::connect(self.0).unwrap(); // opened here: open
        keep(stream);
    }
}

#[inline(never)]
fn fetch(address: SocketAddr) {
    let agent = ureq::AgentBuilder::new().build();
    let answer = agent.get(&format!("http://{address}/")).call(); // opened here: fetch
    println!("fetched {}", answer.unwrap().into_string().unwrap());
    std::mem::forget(agent);
}

async fn open_async(address: SocketAddr) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(address).await.unwrap() // opened here: open_async
}

async fn serve_async(address: SocketAddr) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut kept = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap(); // opened here: serve_async
        kept.push(stream);
    }
}

async fn keep_async(address: SocketAddr) {
    let _stream = open_async(address).await;
    std::future::pending::<()>().await;
}

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments[2].parse().unwrap()));
    match &*arguments[1] {
        "connect" => retry(address),
        "timeout" => open_in_time(address),
        "generic" => open_any(("127.0.0.1", address.port())),
        "accept" => serve(address),
        "thread" => std::thread::spawn(move || retry(address)).join().unwrap(),
        "pool" => by_pool(address),
        "thin" => keep(open_thin(&address).unwrap()),
        "closure" => by_thread(address),
        "dyn" => std::hint::black_box(Box::new(Remote(address)) as Box<dyn Store>).open(),
        "ureq" => fetch(address),
        "tokio-task" => threads().block_on(async { tokio::spawn(keep_async(address)).await.unwrap() }),
        "tokio-main" => one_thread().block_on(keep_async(address)),
        "tokio-accept" => threads().block_on(async { tokio::spawn(serve_async(address)).await.unwrap() }),
        "tokio-blocking" => threads().block_on(async {
            tokio::task::spawn_blocking(move || retry(address)).await.unwrap();
            std::future::pending::<()>().await;
        }),
        _ => panic!("no such way"),
    }
    std::thread::park();
}
