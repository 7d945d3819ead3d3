//! Makes short TCP connections one after another over loopback, as fast as one thread can.
//!
//! It is the load that measurements run beside the tracer: each connection makes ten state transitions and leaves
//! nothing in CLOSE_WAIT. It never leaks a descriptor and never resets a connection. It prints what it made as one JSON
//! line.
#![expect(clippy::print_stdout, reason = "the measurement is this program's output")]

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

/// Connections to one destination in a row. The kernel looks for a free local port among those in
/// TIME_WAIT to the same destination: at 15,000 of them that search takes two thirds of the time and
/// the rate says little about anything else, at 1,000 it is nothing.
const PER_DESTINATION: u64 = 1_000;

/// Loopback destinations there are to choose from, 250 hosts in each of 250 networks.
const DESTINATIONS: u64 = 62_500;

#[derive(Parser)]
#[command(about = "Short loopback connections, one after another")]
struct Arguments {
    /// How many connections to make
    #[arg(long)]
    connections: u64,
    /// Port to listen on; IPv6 takes the ones after it too when there are many connections
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Requests and answers of 100 bytes on each connection, which make it longer, as real ones are
    #[arg(long, default_value_t = 0)]
    exchanges: u32,
    /// CPU to stay on
    #[arg(long)]
    cpu: Option<usize>,
    /// Address family, 4 or 6
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=6))]
    family: u8,
}

/// A listening socket and the addresses that reach it.
struct Destination {
    listener: OwnedFd,
    addresses: Vec<SocketAddr>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.family != 5, "--family is 4 or 6");
    if let Some(cpu) = arguments.cpu {
        let mut cpus = rustix::thread::CpuSet::new();
        cpus.set(cpu);
        rustix::thread::sched_setaffinity(None, &cpus)
            .with_context(|| format!("cannot stay on CPU {cpu}"))?;
    }
    let destinations = destinations(&arguments)?;
    let port = destinations.first().and_then(|first| first.addresses.first()).map(SocketAddr::port);

    let started = Instant::now();
    let mut turn =
        destinations.iter().flat_map(|one| one.addresses.iter().map(|to| (&one.listener, to))).cycle();
    let mut left = arguments.connections;
    while left > 0 {
        let (listener, address) = turn.next().context("no destination to connect to")?;
        // Takes all addresses in turn: when an address comes round again, its oldest TIME_WAIT entries are about to
        // expire.
        let batch = left.min(PER_DESTINATION);
        for _ in 0..batch {
            connect_once(listener, address, arguments.exchanges)?;
        }
        left -= batch;
    }
    let elapsed = started.elapsed();

    let per_second = arguments.connections as f64 / elapsed.as_secs_f64();
    let line = serde_json::json!({
        "connections": arguments.connections,
        "elapsed_ns": u64::try_from(elapsed.as_nanos())?,
        "per_second": per_second.round(),
        "port": port,
        "pid": std::process::id(),
    });
    println!("{line}");
    Ok(())
}

/// One whole life: both ends open, the client closes first, the server reads the end and closes.
fn connect_once(listener: &OwnedFd, address: &SocketAddr, exchanges: u32) -> Result<()> {
    let client = stream(address)?;
    rustix::net::connect(&client, address).with_context(|| format!("cannot connect to {address}"))?;
    let server = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).context("cannot accept")?;
    for _ in 0..exchanges {
        pass(&client, &server)?;
        pass(&server, &client)?;
    }
    drop(client);
    let read = rustix::io::read(&server, &mut [0_u8; 8]).context("cannot read the end of file")?;
    ensure!(read == 0, "{read} bytes came after the last request");
    Ok(())
}

fn pass(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut buffer = [0_u8; 100];
    rustix::io::write(from, &buffer).context("cannot send")?;
    rustix::io::read(to, &mut buffer).context("cannot receive")?;
    Ok(())
}

/// IPv4 has sixteen million loopback addresses behind one listener; IPv6 has one address, so there
/// further listeners make further four-tuples.
fn destinations(arguments: &Arguments) -> Result<Vec<Destination>> {
    let wanted = arguments.connections.div_ceil(PER_DESTINATION).max(1);
    if arguments.family == 4 {
        let (listener, port) = listen(IpAddr::V4(Ipv4Addr::UNSPECIFIED), arguments.port)?;
        // Another run on the same port starts elsewhere, away from what this one leaves in TIME_WAIT.
        let first = u64::from(std::process::id()) * 331;
        let addresses = (first..first + wanted.min(DESTINATIONS))
            .map(|nth| {
                let nth = nth % DESTINATIONS;
                #[expect(clippy::cast_possible_truncation, reason = "there are 250 networks")]
                let (network, host) = ((nth / 250) as u8, (nth % 250) as u8);
                SocketAddr::from((Ipv4Addr::new(127, 0, network, host + 1), port))
            })
            .collect();
        return Ok(vec![Destination { listener, addresses }]);
    }
    (0..wanted.min(500))
        .map(|nth| {
            let asked = match arguments.port {
                0 => 0,
                first => first
                    .checked_add(u16::try_from(nth)?)
                    .context("--port leaves no room for more listeners")?,
            };
            let (listener, port) = listen(IpAddr::V6(Ipv6Addr::LOCALHOST), asked)?;
            Ok(Destination { listener, addresses: vec![SocketAddr::from((Ipv6Addr::LOCALHOST, port))] })
        })
        .collect()
}

fn listen(address: IpAddr, port: u16) -> Result<(OwnedFd, u16)> {
    let address = SocketAddr::new(address, port);
    let listener = stream(&address)?;
    // The last run's connections may still be in TIME_WAIT on this port.
    rustix::net::sockopt::set_socket_reuseaddr(&listener, true)?;
    rustix::net::bind(&listener, &address).with_context(|| format!("cannot listen on {address}"))?;
    rustix::net::listen(&listener, 128)?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&listener)?)?;
    Ok((listener, bound.port()))
}

fn stream(address: &SocketAddr) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context("cannot make a socket")
}
