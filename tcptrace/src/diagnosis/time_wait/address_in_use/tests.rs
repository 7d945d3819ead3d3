//! Tests that each answer follows from what has the port, and that its words match it.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::{slice, sync::Arc};

use super::*;
use crate::model::{
    examples::{self, SECOND},
    owner::Owner,
    owner_count::OwnerCount,
    pid::Pid,
    process::ProcessIdentity,
    state::State,
};

const PORT: u16 = 8080;

fn settings(reserved: &str) -> TcpSettings {
    TcpSettings {
        ip_local_port_range: Some((32_768, 60_999)),
        ip_local_reserved_ports: Some(reserved.to_owned()),
        ..TcpSettings::default()
    }
}

fn held_by(pid: u32, count: u64) -> OwnerCount {
    let process = ProcessIdentity {
        cmdline: ["shop", "--port", "8080"].map(str::to_owned).to_vec(),
        unit: Some("shop.service".to_owned()),
        ..ProcessIdentity::from_name(Pid::new(pid), "shop")
    };
    OwnerCount { owner: Owner { process: Arc::new(process), ..examples::owner() }, count, processes: 1 }
}

fn used(role: AddressRole, local: &str, by_state: &[(State, u64)]) -> AddressUse {
    let is_mini = |state: State| matches!(state, State::TimeWait);
    let minisockets = by_state.iter().filter(|(state, _)| is_mini(*state)).map(|(_, count)| count).sum();
    let open: u64 = by_state.iter().map(|(_, count)| count).sum::<u64>() - minisockets;
    let holders = (open > 0).then(|| held_by(71, open));
    AddressUse {
        local: local.parse().unwrap(),
        role,
        is_v6_only: None,
        by_state: by_state.to_vec(),
        minisockets,
        orphans: 0,
        last_left_ns: (minisockets > 0).then_some(57 * SECOND),
        remote: matches!(role, AddressRole::Connection | AddressRole::Outgoing)
            .then(|| "192.0.2.1:443".parse().unwrap()),
        uid: Some(1_000),
        has_reuseaddr: None,
        has_reuseport: None,
        held: Some(open),
        held_by: holders.into_iter().collect(),
        closed_first_by: Vec::new(),
    }
}

fn listener(local: &str) -> AddressUse {
    used(AddressRole::Listener, local, &[(State::Listen, 1)])
}

fn given(port: u16, uses: &[AddressUse]) -> Vec<(&'static str, String)> {
    let settings = settings("");
    let facts = BindFacts {
        ports: &[port],
        uses,
        settings: &settings,
        kernel: Some(KernelVersion(6, 18)),
        place: None,
    };
    advice(&facts).iter().map(|advice| (advice.id(), advice.to_string())).collect()
}

/// The only answer.
fn answer(one: AddressUse) -> (&'static str, String) {
    let mut given = given(one.local.port(), &[one]);
    assert_eq!(given.len(), 1, "{given:#?}");
    given.remove(0)
}

fn says((id, text): &(&str, String), of: &str, words: &[&str]) {
    assert_eq!(*id, of, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not said: {text}");
    }
}

#[test]
fn a_listener_stands_in_the_way_whatever_the_options_where_its_address_overlaps() {
    for (local, is_v6_only, overlap) in [
        ("0.0.0.0:8080", None, "port 8080 on any IPv4 address, or on [::], fails"),
        ("[::]:8080", Some(false), "port 8080 on any address fails"),
        ("[::]:8080", Some(true), "port 8080 on any IPv6 address fails"),
        ("10.0.0.1:8080", None, "10.0.0.1:8080, 0.0.0.0:8080 or [::]:8080 fails"),
        // What is bound to an address of IPv6 has the option (`__inet6_bind`).
        ("[2001:db8::1]:8080", Some(true), "[2001:db8::1]:8080 or [::]:8080 fails"),
    ] {
        // Its own option does not matter.
        for has_reuseaddr in [None, Some(false), Some(true)] {
            let listener = AddressUse { is_v6_only, has_reuseaddr, ..listener(local) };
            let who = format!("shop (71, \"shop --port 8080\") in shop.service listens on {local}");
            says(
                &answer(listener),
                "address_in_use",
                &[overlap, "with SO_REUSEADDR too", &who, "until it ends"],
            );
        }
    }
}

#[test]
fn what_was_accepted_over_ipv6_stands_in_the_way_of_the_wildcard_of_ipv4_unless_it_is_of_ipv6_only() {
    for (is_v6_only, overlap) in [
        (Some(true), "[2001:db8::1]:8080 or [::]:8080 fails"),
        (Some(false), "[2001:db8::1]:8080, [::]:8080 or 0.0.0.0:8080 fails"),
        (None, "[::]:8080 or (unless its sockets have IPV6_V6ONLY) 0.0.0.0:8080 fails"),
    ] {
        let accepted = used(AddressRole::Connection, "[2001:db8::1]:8080", &[(State::Established, 1)]);
        says(&answer(AddressUse { is_v6_only, ..accepted }), "needs_so_reuseaddr", &[overlap]);
    }
}

#[test]
fn the_side_that_the_kernel_shows_counts_more_than_ports() {
    use AddressRole::{Connection, Outgoing};
    let range = Some((32_768, 60_999));
    for (accepted, connected, from_clients, expected) in
        [(2, 0, 2, Connection), (1, 4, 0, Connection), (0, 3, 3, Outgoing), (0, 1, 9, Outgoing)]
    {
        let connections = Connections { from_clients, to_services: 0, accepted, connected };
        assert_eq!(role(connections, false, 40_000, range), expected, "{connections:?}");
        assert_eq!(role(connections, false, 8_080, range), Connection, "connect() did not choose it");
    }
}

#[test]
fn what_shares_a_listening_address_is_told_with_the_option_and_the_user() {
    let alone = AddressUse { has_reuseport: Some(true), ..listener("0.0.0.0:8080") };
    says(&answer(alone), "address_in_use", &["SO_REUSEPORT is set", "user 1000"]);
    let bound = used(AddressRole::Bound, "0.0.0.0:8080", &[(State::Close, 1)]);
    let bound = AddressUse { has_reuseaddr: Some(false), has_reuseport: Some(true), ..bound };
    let words = ["SO_REUSEADDR does not help", "SO_REUSEPORT does the same for sockets of user 1000"];
    says(&answer(bound), "address_in_use", &words);
    let both = AddressUse {
        by_state: vec![(State::Listen, 2)],
        held_by: vec![held_by(71, 1), held_by(72, 1)],
        ..listener("0.0.0.0:8080")
    };
    let both = answer(both);
    says(&both, "address_in_use", &["listen on", "with 2 sockets", "they all end", "SO_REUSEPORT is set"]);
    let unseen = AddressUse { held_by: Vec::new(), held: Some(0), ..listener("0.0.0.0:8080") };
    says(
        &answer(unseen),
        "address_in_use",
        &["no process that can be looked into holds", "until it is closed"],
    );
}

#[test]
fn what_a_listener_has_accepted_is_said_with_it() {
    let accepted = |local: &str, count| {
        used(AddressRole::Connection, local, &[(State::Established, count), (State::TimeWait, 2)])
    };
    let all = |has_reuseaddr, listener: AddressUse| {
        let listener = AddressUse { has_reuseaddr, ..listener };
        given(PORT, &[listener, accepted("10.0.0.1:8080", 3), accepted("127.0.0.1:8080", 4)])
    };
    let answers = all(Some(true), listener("0.0.0.0:8080"));
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let words = ["7 connections", "4 minisockets (for another 57.0 s)", "then needs SO_REUSEADDR"];
    says(&answers[0], "address_in_use", &words);
    let answers = all(Some(false), listener("[::]:8080"));
    says(&answers[0], "address_in_use", &["7 connections", "still fails", "has not set it"]);
    // Of another address, and of a listener for IPv6 alone, they are not.
    assert_eq!(all(None, listener("10.0.0.9:8080")).len(), 3);
    assert_eq!(all(None, AddressUse { is_v6_only: Some(true), ..listener("[::]:8080") }).len(), 3);
}

#[test]
fn without_a_listener_it_depends_on_both_having_so_reuseaddr() {
    let open = [(State::Established, 2), (State::CloseWait, 1)];
    for (role, states, how_long) in [
        (AddressRole::Connection, &open[..], "until the last of them is closed"),
        (AddressRole::Connection, &[(State::TimeWait, 5)], "for another 57.0 s"),
        (AddressRole::Bound, &[(State::Close, 1)], "until it is closed"),
    ] {
        let with =
            |has_reuseaddr| answer(AddressUse { has_reuseaddr, ..used(role, "10.0.0.1:8080", states) });
        // Those in TIME_WAIT cannot be asked.
        let succeeds = if states[0].0 == State::TimeWait { "those that a process holds do" } else { "too" };
        says(&with(Some(true)), "needs_so_reuseaddr", &["without SO_REUSEADDR", succeeds, how_long]);
        says(&with(None), "needs_so_reuseaddr", &["without SO_REUSEADDR", " if ", how_long]);
        says(&with(Some(false)), "address_in_use", &["SO_REUSEADDR too", "does not help", "lack", how_long]);
    }
}

#[test]
fn connections_that_outlived_their_listener_are_told_with_states_holders_and_time() {
    let mixed = [(State::Established, 2), (State::TimeWait, 4), (State::CloseWait, 1)];
    let mixed = used(AddressRole::Connection, "10.0.0.1:8080", &mixed);
    let words = [
        "7 connections have it (2 in ESTABLISHED, 4 in TIME_WAIT, 1 in CLOSE_WAIT)",
        "held by shop (71, \"shop --port 8080\")",
        "those in TIME_WAIT stay for another 57.0 s (its timer may be up to 5 s late)",
        "This side closed first",
    ];
    says(&answer(mixed.clone()), "needs_so_reuseaddr", &words);
    let seen = AddressUse { closed_first_by: vec![held_by(9, 4)], ..mixed };
    says(&answer(seen), "needs_so_reuseaddr", &["shop (9, ", "closed 4 of 4 first"]);
    let orphan = used(AddressRole::Connection, "10.0.0.1:8080", &[(State::LastAck, 1)]);
    let unseen = AddressUse { held_by: Vec::new(), held: Some(0), ..orphan };
    says(&answer(unseen.clone()), "needs_so_reuseaddr", &["held by no process that can be looked into"]);
    let orphan = AddressUse { orphans: 1, ..unseen };
    says(&answer(orphan), "needs_so_reuseaddr", &["process has closed", "LAST_ACK", "kernel gives up"]);
    let waiting = used(AddressRole::Connection, "10.0.0.1:8080", &[(State::FinWait2, 3)]);
    let waiting = AddressUse { minisockets: 3, last_left_ns: Some(9 * SECOND), ..waiting };
    says(
        &answer(waiting),
        "needs_so_reuseaddr",
        &["for another 9.0 s", "a minute from when the peer closes"],
    );
}

#[test]
fn a_port_that_connect_has_chosen_is_told_with_its_process_and_the_remedy() {
    let one = used(AddressRole::Outgoing, "10.0.0.1:40000", &[(State::Established, 1)]);
    let all = given(40_000, &[AddressUse { has_reuseaddr: Some(false), ..one.clone() }]);
    let words = ["shop (71, ", "has it as the local port of a connection to 192.0.2.1:443 (ESTABLISHED)"];
    says(&all[0], "address_in_use", &words);
    says(&all[1], "ip_local_reserved_ports", &["lacks port 40000", "32768-60999", "\"40000\" keeps it"]);
    // That connect() has sockets without SO_REUSEADDR is the rule, but no law.
    says(&given(40_000, slice::from_ref(&one))[0], "address_in_use", &["only if it has it too"]);
    let shared = AddressUse { has_reuseaddr: Some(true), ..one };
    says(&given(40_000, &[shared])[0], "needs_so_reuseaddr", &["succeeds now"]);
    let over = used(AddressRole::Outgoing, "10.0.0.1:40000", &[(State::TimeWait, 1)]);
    says(
        &given(40_000, slice::from_ref(&over))[0],
        "address_in_use",
        &["for another 57.0 s", "192.0.2.1:443"],
    );
    let settings = settings("40000,50000-50010");
    let facts = BindFacts { ports: &[40_000], uses: &[over], settings: &settings, kernel: None, place: None };
    assert_eq!(advice(&facts).len(), 1, "it is reserved already: it was chosen before");
}

#[test]
fn a_port_that_nothing_has_is_free_as_far_as_the_kernel_tells() {
    let settings = settings("9000");
    let of = |port, kernel| {
        let facts =
            BindFacts { ports: &[port], uses: &[], settings: &settings, kernel: Some(kernel), place: None };
        let advice = advice(&facts);
        assert_eq!((advice.len(), advice[0].id()), (1, "address_free"));
        advice[0].to_string()
    };
    assert_eq!(of(8_080, KernelVersion(6, 18)), "no TCP socket has port 8080: bind() to it succeeds");
    assert!(of(80, KernelVersion(6, 18)).contains("with CAP_NET_BIND_SERVICE"));
    assert!(of(8_080, KernelVersion(6, 1)).contains("Linux before 6.8 does not list"));
    assert!(of(40_000, KernelVersion(6, 18)).contains("until connect() chooses it"));
}

#[test]
fn the_most_lasting_comes_first_and_many_addresses_are_counted() {
    let at = |nth: u64, states: &[(State, u64)]| {
        let one = used(AddressRole::Connection, &format!("10.0.0.{nth}:8080"), states);
        AddressUse { last_left_ns: one.last_left_ns.map(|left| left - nth * SECOND), ..one }
    };
    let mut uses: Vec<AddressUse> = (1..=5).map(|nth| at(nth, &[(State::TimeWait, 1)])).collect();
    uses.push(at(6, &[(State::Established, 1)]));
    uses.push(listener("10.0.0.7:8080"));
    let all = given(PORT, &uses);
    let first: Vec<&str> = all.iter().map(|(_, text)| text.split([':', ',']).next().unwrap()).collect();
    let expected = ["10.0.0.7", "10.0.0.6", "10.0.0.1", "10.0.0.2"].map(|ip| format!("bind() to {ip}"));
    assert_eq!(first, expected);
    assert!(all[3].1.ends_with("3 other addresses of this host have it too"), "{}", all[3].1);
    assert!(!all[2].1.contains("other address"));
    // Two ports are two questions.
    let settings = settings("");
    let facts = BindFacts { ports: &[80, PORT], uses: &uses, settings: &settings, kernel: None, place: None };
    let ids: Vec<_> = advice(&facts).iter().map(Advice::id).collect();
    assert_eq!(ids[..2], ["address_free", "address_in_use"]);
}

#[test]
fn connections_are_those_of_a_service_unless_connect_may_have_chosen_the_port() {
    use AddressRole::{Connection, Outgoing};
    let role = |from_clients, to_services, is_served, port| {
        role(
            Connections { from_clients, to_services, ..Connections::default() },
            is_served,
            port,
            Some((32_768, 60_999)),
        )
    };
    for (from_clients, to_services, is_served, port, expected) in [
        (1, 0, true, 40_000, Connection),
        (0, 1, false, 8_080, Connection),
        (3, 0, false, 40_000, Connection),
        (2, 0, false, 40_000, Outgoing),
        (0, 1, false, 40_000, Outgoing),
        // One local port may lead to many destinations.
        (3, 3, false, 40_000, Outgoing),
    ] {
        assert_eq!(
            role(from_clients, to_services, is_served, port),
            expected,
            "{from_clients} {to_services}"
        );
    }
}
