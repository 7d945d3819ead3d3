//! Has a thread learn the names of interfaces, which transitions mention by their index. Never delays the caller: a
//! record that comes before the name has the index.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rustc_hash::FxHashSet;

use crate::{
    host::world::World,
    inspect::dump::NamespaceDumper,
    model::{interface::Interface, socket::Socket},
};

/// Most interfaces that wait to be asked for.
const QUEUE_LENGTH: usize = 64;

/// Most interfaces that are asked for in a session.
const MOST_INTERFACES: usize = 4_096;

/// What was asked for, and the thread that asks.
pub(crate) struct InterfaceNames {
    world: World,
    asked: FxHashSet<(u32, u32)>,
    /// `None` until the thread is wanted: most hosts use no link-local addresses.
    wanted: Option<SyncSender<(u32, u32)>>,
}

impl InterfaceNames {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), asked: FxHashSet::default(), wanted: None }
    }

    /// Has the names of what is there learned at once.
    pub(crate) fn begin(&mut self) {
        let (wanted, waiting) = sync_channel(QUEUE_LENGTH);
        let world = self.world.clone();
        let thread = thread::Builder::new().name("interfaces".to_owned());
        match thread.spawn(move || learn(world, &waiting)) {
            Ok(_ends_with_the_channel) => self.wanted = Some(wanted),
            Err(error) => log::debug!("the names of interfaces: {error}"),
        }
    }

    /// Asks for the name of the socket's interface, if it has one that nobody has asked for.
    #[inline]
    pub(crate) fn want(&mut self, socket: &Socket) {
        if let Some(interface) = socket.endpoints.interface()
            && !interface.has_name()
            && let Some(netns) = socket.netns
        {
            self.ask(netns, interface.index());
        }
    }

    #[cold]
    fn ask(&mut self, netns: u32, index: u32) {
        if self.asked.len() >= MOST_INTERFACES || !self.asked.insert((netns, index)) {
            return;
        }
        if self.wanted.is_none() {
            self.begin();
        }
        if let Some(wanted) = &self.wanted {
            // One that finds no room stays known by its index.
            let _ = wanted.try_send((netns, index));
        }
    }
}

fn learn(world: World, waiting: &Receiver<(u32, u32)>) {
    let mut dumper = NamespaceDumper::new(world);
    dumper.learn_interfaces();
    while let Ok((netns, index)) = waiting.recv() {
        if !Interface::of_namespace(netns, index).has_name() {
            dumper.learn_interface(netns, index);
        }
    }
}
