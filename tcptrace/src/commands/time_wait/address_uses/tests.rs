//! Tests of what is collected, filled by hand in the order that the kernel lists.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use super::*;

fn socket(cookie: u64, state: State, local: &str, remote: &str) -> DiagSocket {
    let [local, remote] = [local, remote].map(|end| end.parse::<Endpoint>().unwrap());
    let inode = u32::try_from(cookie).unwrap();
    DiagSocket { inode, uid: 33, ..DiagSocket::example(cookie, state, local, remote) }
}

fn minisocket(cookie: u64, local: &str, remote: &str, left_ms: u32) -> DiagSocket {
    let minisocket_left_ms = Some(left_ms);
    DiagSocket { inode: 0, minisocket_left_ms, ..socket(cookie, State::TimeWait, local, remote) }
}

fn uses(ports: &[u16]) -> AddressUses {
    let settings = TcpSettings { ip_local_port_range: Some((32_768, 60_999)), ..TcpSettings::default() };
    AddressUses::new(ports.iter().copied(), &settings)
}

/// Address, role, sockets.
fn found(uses: &AddressUses) -> Vec<(String, AddressRole, u64)> {
    let count = |group: &UseGroup| group.by_state().iter().map(|(_, count)| count).sum();
    uses.groups().map(|(local, role, group)| (local.to_string(), role, count(group))).collect()
}

#[test]
fn what_has_an_asked_port_is_found_by_address_and_role() {
    let mut uses = uses(&[8080]);
    uses.bound(&DiagSocket { is_v6_only: Some(true), ..socket(1, State::Listen, "[::]:8080", "[::]:0") });
    uses.bound(&socket(2, State::Close, "10.0.0.1:8080", "0.0.0.0:0"));
    uses.bound(&socket(3, State::Listen, "0.0.0.0:80", "0.0.0.0:0"));
    uses.minisocket(&minisocket(4, "10.0.0.1:8080", "192.0.2.1:50000", 900), Some(CloserId(7)));
    uses.minisocket(&minisocket(5, "10.0.0.1:8080", "192.0.2.1:50001", 41_000), Some(CloserId(7)));
    uses.minisocket(&minisocket(6, "10.0.0.1:50002", "192.0.2.1:8080", 59_000), None);
    uses.open(&socket(7, State::CloseWait, "10.0.0.1:8080", "192.0.2.1:50003"));
    // Listed twice.
    uses.open(&socket(7, State::CloseWait, "10.0.0.1:8080", "192.0.2.1:50003"));
    let expected = [
        ("10.0.0.1:8080".to_owned(), AddressRole::Bound, 1),
        ("10.0.0.1:8080".to_owned(), AddressRole::Connection, 3),
        ("[::]:8080".to_owned(), AddressRole::Listener, 1),
    ];
    assert_eq!(found(&uses), expected);
    let groups: Vec<&UseGroup> = uses.groups().map(|(_, _, group)| group).collect();
    let connections = groups[1];
    assert_eq!(
        (connections.minisockets, connections.last_left_ms),
        (2, Some(41_000)),
        "the last, not the first"
    );
    assert_eq!((&connections.inodes[..], connections.uid), (&[7][..], Some(33)));
    assert_eq!(connections.samples, [Sample { cookie: 7, inode: 7 }]);
    assert_eq!(connections.closers.get(&CloserId(7)), Some(&2));
    assert_eq!(groups[2].is_v6_only, Some(true));
}

#[test]
fn nothing_is_kept_without_a_port_that_was_asked_for() {
    let mut uses = uses(&[]);
    uses.bound(&socket(1, State::Listen, "0.0.0.0:8080", "0.0.0.0:0"));
    uses.open(&socket(2, State::Established, "10.0.0.1:8080", "192.0.2.1:50000"));
    assert!(uses.is_idle() && uses.is_empty());
}

#[test]
fn a_connection_to_a_service_elsewhere_or_here_goes_out() {
    let mut uses = uses(&[40_000, 40_001, 40_002]);
    uses.bound(&socket(1, State::Listen, "127.0.0.1:50000", "0.0.0.0:0"));
    uses.open(&socket(2, State::Established, "10.0.0.1:40000", "192.0.2.1:443"));
    uses.open(&socket(3, State::Established, "127.0.0.1:40001", "127.0.0.1:50000"));
    for cookie in 4..8 {
        let client = format!("192.0.2.{cookie}:50000");
        uses.minisocket(&minisocket(cookie, "10.0.0.1:40002", &client, 9), None);
    }
    let roles: Vec<AddressRole> = uses.groups().map(|(_, role, _)| role).collect();
    assert_eq!(roles, [AddressRole::Outgoing, AddressRole::Connection, AddressRole::Outgoing]);
}

#[test]
fn what_nobody_has_accepted_goes_with_its_listener_and_mptcp_is_held_elsewhere() {
    let mut uses = uses(&[8080]);
    let queued =
        |cookie, state| DiagSocket { inode: 0, ..socket(cookie, state, "10.0.0.1:8080", "192.0.2.1:5") };
    for (cookie, state) in [(1, State::Established), (2, State::CloseWait), (3, State::SynRecv)] {
        uses.open(&queued(cookie, state));
    }
    assert!(uses.is_empty());
    uses.open(&queued(4, State::LastAck));
    uses.open(&DiagSocket { is_mptcp_subflow: true, ..queued(5, State::Established) });
    assert!(uses.has_subflows());
    uses.mptcp(&socket(6, State::Established, "10.0.0.1:8080", "192.0.2.1:5"));
    let (_, _, group) = uses.groups().next().unwrap();
    assert_eq!((group.by_state().len(), &group.inodes[..], group.orphans), (2, &[6][..], 1));
}

#[test]
fn what_strangers_can_make_many_of_is_bounded() {
    let mut uses = uses(&[8080]);
    for nth in 0..1_000_u64 {
        let local = format!("10.0.{}.{}:8080", nth / 250, nth % 250);
        uses.open(&socket(nth + 1, State::Established, &local, "192.0.2.1:50000"));
    }
    assert_eq!((uses.groups().count(), uses.crowded_out()), (MAX_GROUPS, 1_000 - MAX_GROUPS as u64));
    for nth in 0..70_000_u64 {
        uses.open(&socket(nth + 2_000, State::Established, "10.0.0.0:8080", "192.0.2.1:50000"));
    }
    let (_, _, group) = uses.groups().next().unwrap();
    assert_eq!((group.samples.len(), group.by_state()[0].1), (MAX_SAMPLES, 70_001));
    assert_eq!(uses.groups().map(|(_, _, group)| group.inodes.len()).sum::<usize>(), MAX_INODES);
}
