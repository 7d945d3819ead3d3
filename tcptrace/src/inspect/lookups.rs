//! Asks the kernel for single TCP sockets, in any network namespace: each is entered once, when it is first asked in.

use rustc_hash::FxHashMap;

use super::dump::NamespaceDumper;
use crate::{
    model::socket::TcpFlavour,
    netlink::{DiagSocket, SockDiag, SocketId},
};

/// The namespaces that were asked in during a look.
pub(super) struct Lookups<'a> {
    dumper: &'a NamespaceDumper,
    /// `None` where one cannot be entered.
    opened: FxHashMap<u32, Option<SockDiag>>,
}

impl<'a> Lookups<'a> {
    /// Nothing was asked yet.
    pub(super) fn new(dumper: &'a NamespaceDumper) -> Self {
        Self { dumper, opened: FxHashMap::default() }
    }

    /// The socket in that namespace; `None` when it is gone, or nobody can be asked.
    pub(super) fn socket(&mut self, netns: u32, id: &SocketId) -> Option<DiagSocket> {
        let Self { dumper, opened } = self;
        let diag = opened.entry(netns).or_insert_with(|| dumper.open(netns).ok()).as_mut()?;
        diag.lookup(TcpFlavour::Tcp, id, true).ok().flatten()
    }
}
