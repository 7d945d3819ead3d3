//! The types of the kernel that programs attach by, as aya wants them: it looks a hook up by its name, in all types of a
//! kernel, of which only the hook's place matters to it. Here every other type is a filler: to read them all takes some
//! 20 ms and 20 MB.

use aya::Btf;
use aya_obj::btf::{BtfType, Func, FuncLinkage};

use super::{btf, error::LoadError};

/// The iterators' hooks, which are functions.
const ITERATORS: [&str; 2] = ["bpf_iter_task_file", "bpf_iter_tcp"];

/// The typed tracepoint's hook, which is a typedef.
const TRACEPOINT: &str = "btf_trace_inet_sock_set_state";

/// The ids of the hooks that a kernel has.
#[derive(Debug)]
pub(super) struct Hooks {
    /// In their order.
    iterators: Vec<(u32, &'static str)>,
    tracepoint: Option<u32>,
}

impl Hooks {
    /// The names of all.
    pub(super) fn names<'a>() -> impl Iterator<Item = &'a str> {
        ITERATORS.into_iter().chain([TRACEPOINT])
    }

    /// Finds them among types in which their names were asked for.
    pub(super) fn find(types: &btf::Btf<'_>) -> Self {
        let mut iterators: Vec<_> =
            ITERATORS.into_iter().filter_map(|name| Some((types.function(name)?, name))).collect();
        iterators.sort_unstable();
        Self { iterators, tracepoint: types.typedef(TRACEPOINT) }
    }

    /// Types among which the hooks of the iterators have their ids.
    pub(super) fn iterators(&self) -> Btf {
        let mut types = Btf::new();
        // Type 0 is there already.
        let mut next = 1;
        for (id, name) in &self.iterators {
            for _ in next..*id {
                types.add_type(BtfType::Unknown);
            }
            let name = types.add_string(name);
            types.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Static)));
            next = id + 1;
        }
        types
    }

    /// Types among which the hook of the typed tracepoint has its id. aya makes no typedef, but reads one.
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
        let hooks = Hooks::find(&btf::Btf::parse(&data, Hooks::names()).unwrap());
        let whole = Btf::parse(&data, aya::Endianness::default()).unwrap();
        let (iterators, tracepoint) = (hooks.iterators(), hooks.tracepoint().unwrap());
        let functions = ITERATORS.map(|name| (name, BtfKind::Func, &iterators));
        for (name, kind, types) in functions.into_iter().chain([(TRACEPOINT, BtfKind::Typedef, &tracepoint)])
        {
            let id = |types: &Btf| types.id_by_type_name_kind(name, kind).unwrap();
            assert_eq!(id(types), id(&whole), "{name}");
        }
    }

    #[test]
    fn a_kernel_without_hooks_has_none() {
        let hooks = Hooks { iterators: Vec::new(), tracepoint: None };
        assert!(hooks.iterators().id_by_type_name_kind(ITERATORS[0], BtfKind::Func).is_err());
        let types = hooks.tracepoint().unwrap();
        assert!(types.id_by_type_name_kind(TRACEPOINT, BtfKind::Typedef).is_err());
    }
}
