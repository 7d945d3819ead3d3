//! Tests of the table, filled by hand in the order that the kernel lists.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use super::*;
use crate::{
    diagnosis::{
        time_wait::{forecast::TIME_WAIT_MS, reuse::Reuse},
        trend::Arrivals,
    },
    model::tcp_settings::TcpSettings,
};

fn socket(cookie: u64, state: State, local: &str, remote: &str, left_ms: Option<u32>) -> DiagSocket {
    let [local, remote] = [local, remote].map(|end| end.parse::<Endpoint>().unwrap());
    let inode = u32::try_from(cookie).unwrap();
    DiagSocket { inode, minisocket_left_ms: left_ms, ..DiagSocket::example(cookie, state, local, remote) }
}

fn table() -> DestinationTable {
    let settings = TcpSettings { ip_local_port_range: Some((32_768, 60_999)), ..TcpSettings::default() };
    DestinationTable::new(PortBudget::new(&settings), 10)
}

/// So many minisockets from ports from 40,000 on to one destination.
fn fill(table: &mut DestinationTable, count: u16, remote: &str, left_ms: u32) {
    for nth in 0..count {
        let local = format!("10.0.0.1:{}", 40_000 + nth);
        let one = socket(u64::from(nth) + 1_000, State::TimeWait, &local, remote, Some(left_ms));
        table.minisocket(&one, true, None);
    }
}

fn outgoing(remote: &str) -> Destination {
    Destination::Outgoing { local: "10.0.0.1".parse().unwrap(), remote: remote.parse().unwrap() }
}

fn group(table: &DestinationTable, destination: Destination) -> &DestinationGroup {
    let found = table.groups().find(|(key, _)| **key == destination);
    found.map_or_else(|| panic!("no {destination:?} in {table:#?}"), |(_, group)| group)
}

#[test]
fn connections_to_a_listener_are_incoming_and_all_others_outgoing() {
    let mut table = table();
    table.bound(&socket(1, State::Listen, "0.0.0.0:80", "0.0.0.0:0", None));
    table.bound(&socket(2, State::Listen, "[::]:443", "[::]:0", None));
    for (cookie, local, remote) in [
        (10, "10.0.0.1:80", "192.0.2.1:50001"),
        (11, "10.0.0.1:80", "192.0.2.2:50001"),
        // A listener for IPv6 takes IPv4 as well.
        (12, "10.0.0.1:443", "192.0.2.1:50002"),
        (13, "10.0.0.1:50003", "192.0.2.1:5432"),
    ] {
        table.minisocket(&socket(cookie, State::TimeWait, local, remote, Some(5)), true, Some(CloserId(7)));
    }
    table.end_minisockets();
    let service = |address: &str| Destination::Incoming { local: address.parse().unwrap() };
    let web = group(&table, service("10.0.0.1:80"));
    assert_eq!((web.time_wait(), web.peers.len(), web.ports_used()), (2, 2, 0));
    assert_eq!((web.closers.get(&CloserId(7)), web.unseen), (Some(&2), 0));
    assert_eq!(web.listeners, [1]);
    assert_eq!(group(&table, service("10.0.0.1:443")).time_wait(), 1);
    let database = group(&table, outgoing("192.0.2.1:5432"));
    assert_eq!((database.time_wait(), database.ports_used(), database.peers.len()), (1, 1, 0));
    assert_eq!(table.groups().count(), 3);
}

#[test]
fn a_connection_is_that_of_the_listener_which_the_kernel_would_have_chosen() {
    let mut table = table();
    table.bound(&socket(1, State::Listen, "0.0.0.0:80", "0.0.0.0:0", None));
    table.bound(&socket(2, State::Listen, "10.0.0.1:80", "0.0.0.0:0", None));
    let ends = [
        (10, "10.0.0.1:80", "192.0.2.1:50001"),
        (11, "10.0.0.2:80", "192.0.2.1:50001"),
        // None for IPv4 takes IPv6.
        (12, "[2001:db8::1]:80", "[2001:db8::2]:443"),
    ];
    for (cookie, local, remote) in ends {
        table.minisocket(&socket(cookie, State::TimeWait, local, remote, Some(5)), true, None);
    }
    table.end_minisockets();
    let service = |address: &str| Destination::Incoming { local: address.parse().unwrap() };
    assert_eq!(group(&table, service("10.0.0.1:80")).listeners, [2], "the one at the address itself");
    assert_eq!(group(&table, service("10.0.0.2:80")).listeners, [1], "the one at any address");
    let own = Destination::Outgoing {
        local: "2001:db8::1".parse().unwrap(),
        remote: "[2001:db8::2]:443".parse().unwrap(),
    };
    assert_eq!(group(&table, own).time_wait(), 1);
}

#[test]
fn a_socket_that_is_listed_twice_counts_once() {
    let mut table = table();
    fill(&mut table, 50, "192.0.2.1:80", 1_000);
    fill(&mut table, 50, "192.0.2.1:80", 1_000);
    assert_eq!((table.time_wait, group(&table, outgoing("192.0.2.1:80")).time_wait()), (50, 50));
}

#[test]
fn what_is_not_wanted_counts_for_the_namespace_only() {
    let mut table = table();
    let of = |cookie, state| socket(cookie, state, "10.0.0.1:50000", "192.0.2.1:80", Some(1));
    table.minisocket(&of(1, State::TimeWait), false, None);
    table.minisocket(&of(2, State::FinWait2), false, None);
    table.end_minisockets();
    assert_eq!((table.time_wait, table.fin_wait2, table.is_empty()), (1, 1, true));
}

#[test]
fn open_connections_use_ports_as_well() {
    let mut table = table();
    fill(&mut table, 3, "192.0.2.1:80", 1_000);
    table.end_minisockets();
    let open = |cookie, local: &str, remote: &str, timestamps| DiagSocket {
        timestamps: Some(timestamps),
        ..socket(cookie, State::Established, local, remote, None)
    };
    table.open(&open(1, "10.0.0.1:50000", "192.0.2.1:80", true), true);
    // The application chose a port that connect() does not; and elsewhere nothing is in TIME_WAIT.
    table.open(&open(2, "10.0.0.1:1023", "192.0.2.1:80", true), true);
    table.open(&open(3, "10.0.0.1:50001", "192.0.2.9:80", true), true);
    table.open(&open(1, "10.0.0.1:50000", "192.0.2.1:80", true), true);
    let one = group(&table, outgoing("192.0.2.1:80"));
    assert_eq!((one.open, one.ports_used(), one.peer_timestamps), (2, 4, Some(true)));
    assert_eq!(one.inodes().collect::<Vec<_>>(), [1, 2]);
    table.open(&open(4, "10.0.0.1:50002", "192.0.2.1:80", false), true);
    assert_eq!(group(&table, outgoing("192.0.2.1:80")).peer_timestamps, Some(false));
}

#[test]
fn ports_that_can_be_taken_over_do_not_count_as_in_use() {
    let mut table = table();
    fill(&mut table, 10, "192.0.2.1:80", TIME_WAIT_MS - 5_000);
    for nth in 0..3_u32 {
        let local = format!("10.0.0.1:{}", 50_000 + nth);
        let young =
            socket(nth.into(), State::TimeWait, &local, "192.0.2.1:80", Some(TIME_WAIT_MS - 200 * nth));
        table.minisocket(&young, true, None);
    }
    let orphan = socket(99, State::FinWait2, "10.0.0.1:50009", "192.0.2.1:80", Some(59_000));
    table.minisocket(&orphan, true, None);
    table.end_minisockets();
    let group = group(&table, outgoing("192.0.2.1:80"));
    assert_eq!(group.ports_used(), 14);
    let ports = group.ports(100, Reuse::After(1_000), 60_000);
    // Those younger than a second, and the one in FIN_WAIT2, which is never taken over.
    assert_eq!((ports.used(), ports.held, ports.lifetime_ms), (4, 1, 1_000));
    let mut left = ports.leaving_ms;
    left.sort_unstable();
    assert_eq!(left, [600, 800, 1_000]);
    assert_eq!(group.ports(100, Reuse::Off, 60_000).used(), 14);
}

#[test]
fn the_rate_is_that_of_the_last_seconds_or_since_it_began() {
    let per_second = |lefts: &[u32], reuse| {
        let mut table = table();
        for (nth, left) in (0u64..).zip(lefts) {
            let local = format!("10.0.0.1:{}", 40_000 + nth);
            let one = socket(nth, State::TimeWait, &local, "192.0.2.1:80", Some(*left));
            table.minisocket(&one, true, None);
        }
        group(&table, outgoing("192.0.2.1:80")).entered(60_000, reuse)
    };
    let steady: Vec<u32> = (0..600).map(|nth| TIME_WAIT_MS - nth * 100).collect();
    let is_about = |arrivals: Option<Arrivals>, expected: f64| {
        let is_right = |arrivals: Arrivals| {
            arrivals.is_trend && (arrivals.per_second - expected).abs() < expected / 20.0
        };
        assert!(arrivals.is_some_and(is_right), "{arrivals:?}, not {expected}");
    };
    is_about(per_second(&steady, Reuse::Off), 10.0);
    is_about(per_second(&steady[..30], Reuse::Off), 10.0);
    let burst = per_second(&[TIME_WAIT_MS - 500; 40], Reuse::Off);
    assert!(burst.is_some_and(|burst| !burst.is_trend), "{burst:?} is no rate that goes on");
    let over: Vec<u32> = steady.iter().map(|left| left.saturating_sub(3_000)).collect();
    assert!(per_second(&over, Reuse::Off).is_some_and(|over| over.per_second == 0.0), "it is over");
    assert_eq!(per_second(&[1_000; 40], Reuse::Off), None, "none came lately");
    assert_eq!(per_second(&steady[..3], Reuse::Off), None, "too few");
}

#[test]
fn clients_of_a_service_that_has_gone_are_put_together() {
    let mut table = table();
    for nth in 0..5 {
        let remote = format!("192.0.2.{nth}:45000");
        table.minisocket(
            &socket(nth, State::TimeWait, "10.0.0.1:50051", &remote, Some(1)),
            true,
            Some(CloserId(3)),
        );
    }
    // One of a low port is a service too; and a single connection from a high port is not.
    let low = socket(50, State::TimeWait, "10.0.0.1:25", "192.0.2.1:45001", Some(1));
    let high = socket(51, State::TimeWait, "10.0.0.1:50052", "192.0.2.1:45002", Some(1));
    table.minisocket(&low, true, None);
    table.minisocket(&high, true, None);
    table.end_minisockets();
    let service = |address: &str| Destination::Incoming { local: address.parse().unwrap() };
    let gone = group(&table, service("10.0.0.1:50051"));
    assert_eq!((gone.time_wait(), gone.peers.len(), gone.closers.get(&CloserId(3))), (5, 5, Some(&5)));
    assert_eq!(group(&table, service("10.0.0.1:25")).unseen, 1);
    assert_eq!(group(&table, outgoing("192.0.2.1:45002")).time_wait(), 1);
    assert_eq!(table.groups().count(), 3);
    // What comes later to such a service finds it.
    let later =
        Endpoints { local: "10.0.0.1:50051".parse().unwrap(), remote: "192.0.2.77:45000".parse().unwrap() };
    assert_eq!(table.destination(&later), service("10.0.0.1:50051"));
}

#[test]
fn destinations_are_bounded_and_the_rest_is_counted() {
    let mut table = table();
    for nth in 0..MAX_DESTINATIONS as u64 + 500 {
        let remote = format!("10.{}.{}.1:80", nth / 256, nth % 256);
        let one = socket(nth, State::TimeWait, "10.0.0.1:50000", &remote, Some(1));
        table.minisocket(&one, true, None);
    }
    assert_eq!((table.groups().count(), table.crowded_out), (MAX_DESTINATIONS, 500));
    assert_eq!(table.time_wait, MAX_DESTINATIONS as u64 + 500);
}

#[test]
fn peers_of_a_service_are_bounded_and_the_rest_is_counted() {
    let mut table = table();
    table.bound(&socket(1, State::Listen, "0.0.0.0:80", "0.0.0.0:0", None));
    for nth in 0..3_000_u32 {
        let remote = format!("10.{}.{}.1:40000", nth / 256, nth % 256);
        table.minisocket(
            &socket(u64::from(nth) + 10, State::TimeWait, "10.0.0.1:80", &remote, Some(1)),
            true,
            Some(CloserId(nth)),
        );
    }
    let service = group(&table, Destination::Incoming { local: "10.0.0.1:80".parse().unwrap() });
    assert_eq!((service.time_wait(), service.peers.len() as u64 + service.more_peers), (3_000, 3_000));
    assert_eq!(service.closers.len() as u64 + service.unseen, 3_000);
    assert!(service.peers.len() < 3_000 && service.closers.len() < 3_000);
}

/// Open connections from ports from 40,000 on to one destination.
fn connect(table: &mut DestinationTable, count: u16, remote: &str, state: State) {
    for nth in 0..count {
        let local = format!("10.0.0.1:{}", 40_000 + nth);
        table.open(&socket(u64::from(nth) + 5_000, state, &local, remote, None), true);
    }
}

/// A table of a range of a hundred ports.
fn table_of_a_hundred() -> DestinationTable {
    let settings = TcpSettings { ip_local_port_range: Some((40_000, 40_099)), ..TcpSettings::default() };
    DestinationTable::new(PortBudget::new(&settings), 10)
}

#[test]
fn a_destination_is_listed_without_minisockets_if_it_takes_a_share_of_the_ports() {
    let mut table = table_of_a_hundred();
    connect(&mut table, 10, "192.0.2.1:80", State::CloseWait);
    connect(&mut table, 9, "192.0.2.2:80", State::CloseWait);
    table.end_open();
    assert_eq!(table.groups().count(), 1, "{table:#?}");
    let taken = group(&table, outgoing("192.0.2.1:80"));
    assert_eq!((taken.open, taken.ports_used(), taken.minisockets()), (10, 10, 0));
    assert_eq!(taken.ports_by_state(), [(State::CloseWait, 10)]);
    assert_eq!(taken.on_ports().len(), 10);
}

#[test]
fn ports_are_told_by_the_state_of_their_sockets_minisockets_included() {
    let mut table = table_of_a_hundred();
    fill(&mut table, 3, "192.0.2.1:80", 1_000);
    let orphan = socket(99, State::FinWait2, "10.0.0.1:40050", "192.0.2.1:80", Some(59_000));
    table.minisocket(&orphan, true, None);
    table.end_minisockets();
    for (nth, state) in [(60, State::FinWait2), (61, State::SynSent), (62, State::FinWait2)] {
        let local = format!("10.0.0.1:400{nth}");
        table.open(&socket(nth, state, &local, "192.0.2.1:80", None), true);
    }
    table.end_open();
    let one = group(&table, outgoing("192.0.2.1:80"));
    let expected = [(State::FinWait2, 3), (State::TimeWait, 3), (State::SynSent, 1)];
    assert_eq!(one.ports_by_state(), expected);
    assert_eq!(one.ports_by_state().iter().map(|(_, count)| count).sum::<u64>(), one.ports_used());
}

#[test]
fn an_unwanted_connection_makes_no_destination_and_counts_where_there_is_one() {
    let mut table = table_of_a_hundred();
    let open = |cookie, local: &str, remote: &str| socket(cookie, State::Established, local, remote, None);
    table.open(&open(1, "10.0.0.1:40000", "192.0.2.1:80"), false);
    table.open(&open(2, "10.0.0.1:40001", "192.0.2.2:80"), true);
    table.open(&open(3, "10.0.0.1:40002", "192.0.2.2:80"), false);
    // Connections to a service take no port that connect() chooses.
    table.bound(&socket(4, State::Listen, "0.0.0.0:80", "0.0.0.0:0", None));
    table.open(&open(5, "10.0.0.1:80", "192.0.2.3:40000"), true);
    assert_eq!(table.groups().count(), 1);
    assert_eq!(group(&table, outgoing("192.0.2.2:80")).ports_open(), 2);
}

#[test]
fn an_mptcp_connection_is_held_in_place_of_its_first_path() {
    let mut table = table_of_a_hundred();
    let path = DiagSocket {
        inode: 0,
        is_mptcp_subflow: true,
        ..socket(1, State::Established, "10.0.0.1:40000", "192.0.2.1:80", None)
    };
    table.open(&path, true);
    assert!(table.has_subflows());
    table.mptcp(&socket(77, State::Established, "10.0.0.1:40000", "192.0.2.1:80", None));
    table.mptcp(&socket(78, State::Established, "10.0.0.1:40001", "192.0.2.1:80", None));
    let one = group(&table, outgoing("192.0.2.1:80"));
    assert_eq!((one.ports_open(), one.on_ports()), (1, &[77][..]));
}

#[test]
fn of_too_many_destinations_those_that_take_many_ports_are_kept() {
    let mut table = table();
    for nth in 0..100_000_u32 {
        let remote = format!("10.{}.{}.{}:80", nth >> 16, (nth >> 8) & 255, nth & 255);
        let local = format!("10.0.0.1:{}", 32_768 + nth % 28_000);
        let is_of_the_one = nth % 20 == 0;
        let remote = if is_of_the_one { "192.0.2.1:80" } else { &remote };
        table.open(&socket(nth.into(), State::Established, &local, remote, None), true);
        assert!(table.groups().count() <= MAX_DESTINATIONS);
    }
    table.end_open();
    assert_eq!(table.groups().count(), 1);
    assert_eq!(group(&table, outgoing("192.0.2.1:80")).ports_open(), 5_000);
}

#[test]
fn minisockets_are_over_when_none_came_for_twice_their_longest_pause() {
    let is_over = |ages_ms: &[u32]| {
        let mut table = table();
        for (cookie, age) in (1..).zip(ages_ms) {
            let local = format!("10.0.0.1:{}", 40_000 + cookie);
            let left = Some(TIME_WAIT_MS - age);
            table.minisocket(&socket(cookie, State::TimeWait, &local, "192.0.2.1:80", left), true, None);
        }
        table.end_minisockets();
        let group = group(&table, outgoing("192.0.2.1:80"));
        assert_eq!(group.last_left_ms(), ages_ms.iter().map(|age| TIME_WAIT_MS - age).max());
        group.is_over(60_000)
    };
    for (ages_ms, expected) in [
        // A burst, just now and a while ago.
        (&[100, 200, 300][..], false),
        (&[5_900, 6_000], false),
        (&[6_100, 6_200, 6_300], true),
        // A trickle, and one that has stopped.
        (&[4_000, 9_000, 14_000], false),
        (&[11_000, 16_000, 21_000], true),
        // One burst every twenty seconds goes on.
        (&[18_000, 18_100, 38_000, 38_100, 58_000], false),
    ] {
        assert_eq!(is_over(ages_ms), expected, "{ages_ms:?}");
    }
}

#[test]
fn who_closes_at_present_is_known_beside_who_closed_most() {
    let mut table = table();
    let mut close = |cookie: u64, closer, left_ms| {
        let local = format!("10.0.0.1:{}", 40_000 + cookie);
        let one = socket(cookie, State::TimeWait, &local, "192.0.2.1:80", Some(left_ms));
        table.minisocket(&one, true, Some(CloserId(closer)));
    };
    (1..=90).for_each(|cookie| close(cookie, 7, 20_000));
    (91..=99).for_each(|cookie| close(cookie, 8, 59_000));
    table.end_minisockets();
    let group = group(&table, outgoing("192.0.2.1:80"));
    assert_eq!(group.closers.get(&CloserId(7)), Some(&90));
    assert_eq!(group.closers_lately, [(CloserId(8), 9)].into_iter().collect());
}
