//! Holds the criteria to the rules that the programs run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use tcptrace_ebpf::filter;

use super::*;
use crate::model::{
    criteria::Family,
    endpoints::{Endpoint, Endpoints},
    socket::Socket,
    state::{State, StateSet},
};

/// Few enough that criteria and connections meet.
fn port() -> impl Strategy<Value = u16> {
    select(vec![0, 1, 80, 8080, 65_535])
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        select(vec![Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST]),
        (0..4_u8, 0..4_u8).prop_map(|(net, host)| Ipv4Addr::new(10, net, 0, host)),
        any::<u32>().prop_map(Ipv4Addr::from_bits),
    ]
}

/// Addresses of IPv6 only: none is v4-mapped.
fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let any = prop_oneof![
        select(vec![Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST]),
        (0..4_u16, 0..4_u16).prop_map(|(net, host)| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host)),
        any::<u128>().prop_map(Ipv6Addr::from_bits),
    ];
    any.prop_filter("mapped", |address| address.to_ipv4_mapped().is_none())
}

/// Both ends of one family, as of every connection. An IPv4 end is v4-mapped in what the kernel side reads.
fn endpoints() -> impl Strategy<Value = Endpoints> {
    let ips = prop_oneof![
        (v4(), v4()).prop_map(|(local, remote)| (IpAddr::V4(local), IpAddr::V4(remote))),
        (v4(), v4()).prop_map(|(local, remote)| {
            (IpAddr::V6(local.to_ipv6_mapped()), IpAddr::V6(remote.to_ipv6_mapped()))
        }),
        (v6(), v6()).prop_map(|(local, remote)| (IpAddr::V6(local), IpAddr::V6(remote))),
    ];
    (ips, port(), port()).prop_map(|((local, remote), local_port, remote_port)| Endpoints {
        local: Endpoint::new(local, local_port),
        remote: Endpoint::new(remote, remote_port),
    })
}

fn range() -> impl Strategy<Value = IpNet> {
    let net = |(address, prefix): (IpAddr, u8)| IpNet::new(address, prefix).unwrap_or_default();
    prop_oneof![
        (v4().prop_map(IpAddr::V4), 0..=32_u8).prop_map(net),
        (v4().prop_map(|address| IpAddr::V6(address.to_ipv6_mapped())), 0..=128_u8).prop_map(net),
        (v6().prop_map(IpAddr::V6), 0..=128_u8).prop_map(net),
    ]
}

fn states() -> impl Strategy<Value = StateSet> {
    vec(select(State::ALL.to_vec()), 0..4).prop_map(|states| states.into_iter().collect())
}

fn criteria() -> impl Strategy<Value = Criteria> {
    let family = option::of(select(vec![Family::V4, Family::V6]));
    let ports = vec((port(), select(Side::ALL.to_vec())), 0..=MAX_RULES);
    let addresses = vec(range(), 0..=MAX_RULES);
    let netns = vec(netns(), 0..=2);
    (states(), family, ports, addresses, netns).prop_map(|(states, family, ports, addresses, netns)| {
        Criteria { states, family, ports, addresses, netns, ..Criteria::default() }
    })
}

fn netns() -> impl Strategy<Value = u32> {
    select(vec![4_026_531_840, 4_026_532_100])
}

/// Whether the programs admit a connection.
fn programs_admit(filter: &Filter, netns: Option<u32>, endpoints: &Endpoints) -> bool {
    filter::admits_endpoints(filter, &read_by_programs(endpoints))
        && filter::admits_netns(filter, netns.unwrap_or(0))
}

/// As the programs read them.
fn read_by_programs(endpoints: &Endpoints) -> filter::Endpoints {
    let address = |end: Endpoint| match end.ip() {
        IpAddr::V4(address) => words(address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => words(address.octets()),
    };
    let Endpoints { local, remote } = *endpoints;
    filter::Endpoints {
        laddr: address(local),
        raddr: address(remote),
        lport: local.port(),
        rport: remote.port(),
    }
}

proptest! {
    #[test]
    fn user_space_and_the_programs_admit_the_same_sockets(
        criteria in criteria(),
        endpoints in vec(endpoints(), 16),
        netns in option::of(netns()),
    ) {
        let filter = compile(&criteria).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for endpoints in endpoints {
            let socket = Socket { cookie: None, netns, endpoints };
            let is_admitted = programs_admit(&filter, netns, &endpoints);
            prop_assert_eq!(criteria.admits_socket(&socket), is_admitted, "{:?}", endpoints);
            prop_assert!(is_admitted || filter::restricts_sockets(&filter));
            // Whatever port it gets, its opener is kept if it may be asked for.
            let mut unbound = read_by_programs(&endpoints);
            unbound.lport = 0;
            prop_assert!(
                !is_admitted || filter::may_admit_connecting(&filter, &unbound),
                "before a port is chosen: {:?}", endpoints
            );
        }
    }

    #[test]
    fn user_space_and_the_programs_admit_the_same_transitions(
        criteria in criteria(),
        old in select(State::ALL.to_vec()),
        new in select(State::ALL.to_vec()),
        endpoints in endpoints(),
        netns in option::of(netns()),
    ) {
        let filter = compile(&criteria).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let admits = filter::admits_states(&filter, old as i32, new as i32)
            && programs_admit(&filter, netns, &endpoints);
        let socket = Socket { cookie: None, netns, endpoints };
        prop_assert_eq!(criteria.admits_transition(old, new, &socket), admits);
    }
}

#[test]
fn more_rules_than_fit_are_an_error() {
    let with_ports = |count| Criteria { ports: vec![(1, Side::Local); count], ..Criteria::default() };
    assert_eq!(compile(&with_ports(MAX_RULES)).map(|filter| filter.port_count as usize), Ok(MAX_RULES));
    assert_eq!(
        compile(&with_ports(MAX_RULES + 1)).map_err(|error| error.to_string()),
        Err("at most 8 ports can be asked for at once, not 9".to_owned())
    );
    let addresses = vec![IpNet::default(); MAX_RULES + 1];
    let error = compile(&Criteria { addresses, ..Criteria::default() }).err();
    assert_eq!(error, Some(TooManyRules { what: "addresses", count: MAX_RULES + 1 }));
}

#[test]
fn a_socket_that_has_a_port_is_judged_by_it() {
    let criteria = Criteria { ports: vec![(80, Side::Local)], ..Criteria::default() };
    let filter = compile(&criteria).unwrap_or_default();
    let connecting = |lport| filter::Endpoints { laddr: [0; 2], raddr: [0; 2], lport, rport: 5432 };
    let is_kept = |lport| filter::may_admit_connecting(&filter, &connecting(lport));
    assert_eq!([0, 80, 81].map(is_kept), [true, true, false]);
}

#[test]
fn very_many_namespaces_are_left_to_user_space() {
    let of = |count| compile(&Criteria { netns: vec![7; count], ..Criteria::default() });
    let counts = [MAX_RULES, MAX_RULES + 1].map(|count| of(count).map(|filter| filter.netns_count));
    assert_eq!(counts, [Ok(8), Ok(0)]);
}
