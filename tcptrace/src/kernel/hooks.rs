//! The hooks that programs attach by: types of the kernel, of which only their ids matter.

use aya::{Btf, BtfError};

use super::{
    btf::{self, Wanted},
    error::LoadError,
};

/// What an iterator goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IteratorHook {
    /// Every descriptor of every process.
    TaskFile,
    /// Every thread.
    Task,
    /// The TCP sockets of a network namespace.
    Tcp,
}

impl IteratorHook {
    const ALL: [Self; 3] = [Self::TaskFile, Self::Task, Self::Tcp];

    /// The function whose arguments the program gets.
    fn name(self) -> &'static str {
        match self {
            Self::TaskFile => "bpf_iter_task_file",
            Self::Task => "bpf_iter_task",
            Self::Tcp => "bpf_iter_tcp",
        }
    }
}

/// The typed tracepoint's hook, which is a typedef.
const TRACEPOINT: &str = "btf_trace_inet_sock_set_state";

/// The ids of the hooks that a kernel has.
#[derive(Debug)]
pub(super) struct Hooks {
    task_file: Option<u32>,
    task: Option<u32>,
    tcp: Option<u32>,
    tracepoint: Option<u32>,
}

impl Hooks {
    /// What to look for among the types.
    pub(super) fn wanted<'a>() -> impl Iterator<Item = Wanted<'a>> {
        let iterators = IteratorHook::ALL.map(|hook| Wanted::Function(hook.name()));
        iterators.into_iter().chain([Wanted::Typedef(TRACEPOINT)])
    }

    /// Finds them among types in which they were asked for.
    pub(super) fn find(types: &btf::Btf<'_>) -> Self {
        let id = |hook: IteratorHook| types.id(Wanted::Function(hook.name()));
        Self {
            task_file: id(IteratorHook::TaskFile),
            task: id(IteratorHook::Task),
            tcp: id(IteratorHook::Tcp),
            tracepoint: types.id(Wanted::Typedef(TRACEPOINT)),
        }
    }

    /// The id of an iterator's hook.
    ///
    /// # Errors
    /// When this kernel has no such hook.
    pub(super) fn iterator(&self, hook: IteratorHook) -> Result<u32, BtfError> {
        let id = match hook {
            IteratorHook::TaskFile => self.task_file,
            IteratorHook::Task => self.task,
            IteratorHook::Tcp => self.tcp,
        };
        id.ok_or_else(|| BtfError::UnknownBtfTypeName { type_name: hook.name().to_owned() })
    }

    /// Types as aya wants them, among which the hook of the typed tracepoint has its id: aya looks it up by its name. It
    /// makes no typedef, but reads one.
    ///
    /// # Errors
    /// When aya does not understand them.
    pub(super) fn tracepoint(&self) -> Result<Btf, LoadError> {
        Btf::parse(&btf::with_typedef(TRACEPOINT, self.tracepoint), aya::Endianness::default())
            .map_err(|error| LoadError::refused("describe its types", &error))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::host::world::KERNELS_BTF;

    #[test]
    fn hooks_have_the_ids_that_the_kernel_gives_them() {
        let data = std::fs::read(KERNELS_BTF).unwrap();
        let hooks = Hooks::find(&btf::Btf::parse(&data, Hooks::wanted()).unwrap());
        let whole = Btf::parse(&data, aya::Endianness::default()).unwrap();
        let id = |types: &Btf, name, kind| types.id_by_type_name_kind(name, kind).unwrap();
        for hook in IteratorHook::ALL {
            assert_eq!(hooks.iterator(hook).ok(), Some(id(&whole, hook.name(), BtfKind::Func)), "{hook:?}");
        }
        let tracepoint = id(&hooks.tracepoint().unwrap(), TRACEPOINT, BtfKind::Typedef);
        assert_eq!(tracepoint, id(&whole, TRACEPOINT, BtfKind::Typedef));
    }

    #[test]
    fn a_kernel_without_hooks_has_none() {
        let hooks = Hooks { task_file: None, task: None, tcp: None, tracepoint: None };
        let refusal = hooks.iterator(IteratorHook::Tcp).unwrap_err().to_string();
        assert!(refusal.contains("bpf_iter_tcp"), "{refusal}");
        let types = hooks.tracepoint().unwrap();
        assert!(types.id_by_type_name_kind(TRACEPOINT, BtfKind::Typedef).is_err());
    }
}
