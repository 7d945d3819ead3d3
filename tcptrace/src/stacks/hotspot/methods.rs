//! Names a method and its lines: `Method` → `ConstMethod` → `ConstantPool` → class and source file. A pointer is believed
//! only where what it leads to points back, so that no garbage gets a name.

use std::sync::Arc;

use super::{
    compressed::Coding,
    layout::{MethodLayout, WORD},
};
use crate::stacks::{
    java::BOOT,
    memory::Look,
    point::{ScriptLanguage, ScriptLine},
};

/// Longest name, in bytes: a `Symbol` has a length of 16 bits.
const MAX_NAME: usize = 1024;

/// Most methods of a class (a u2 of the class file).
const MAX_METHODS: u64 = 65_535;

/// Most bytes of the line numbers of a method.
const MAX_TABLE: usize = 256 << 10;

/// A method that was found to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// `com.example.Ledger.open`.
    name: Arc<str>,
    source: Option<Arc<str>>,
    /// The bytecode.
    code: u64,
    code_size: u64,
    has_lines: bool,
}

impl Method {
    /// The index of a byte of its code; `None` where that is not in it.
    pub(super) fn bci(&self, bcp: u64) -> Option<u32> {
        let bci = bcp.checked_sub(self.code).filter(|bci| *bci < self.code_size)?;
        u32::try_from(bci).ok()
    }

    /// It is native, or abstract.
    pub(super) fn has_no_code(&self) -> bool {
        self.code_size == 0
    }

    /// Its line at an instruction.
    pub(super) fn at(&self, look: &Look<'_>, coding: Coding, bci: Option<u32>) -> ScriptLine {
        let line = bci.filter(|bci| self.has_lines && u64::from(*bci) < self.code_size).and_then(|bci| {
            let table = self.code.checked_add(self.code_size)?;
            coding.line(look.stream(table, MAX_TABLE), bci)
        });
        ScriptLine {
            language: ScriptLanguage::Java,
            function: self.name.to_string(),
            file: self.source.as_deref().map(str::to_owned),
            line,
            package: None,
        }
    }
}

impl MethodLayout {
    /// The method at an address; `None` if there is none.
    pub(super) fn method(&self, look: &Look<'_>, address: u64) -> Option<Method> {
        let aligned = |address: &u64| *address != 0 && address.is_multiple_of(WORD);
        let address = Some(address).filter(aligned)?;
        let const_method = self.const_method.of(look, address).filter(aligned)?;
        let pool = self.constants.of(look, const_method).filter(aligned)?;
        let class = self.pool_holder.of(look, pool).filter(aligned)?;
        // Both ways: the class has this pool, and this method.
        if self.class_pool.of(look, class)? != pool {
            return None;
        }
        self.is_of_class(look, class, address, self.idnum.of(look, const_method)?).then_some(())?;
        let class_name = self.symbol(look, self.class_name.of(look, class)?)?;
        let method_name = self.constant(look, pool, self.name_index.of(look, const_method)?)?;
        let source = self.source(look, class, pool);
        let package = class_name.rsplit_once('/').map_or("", |(package, _)| package);
        let source = source.map(|source| path(self.is_of_boot_loader(look, class), package, &source));
        let code = const_method.checked_add(self.const_method_size)?;
        Some(Method {
            name: format!("{}.{method_name}", readable(&class_name)).into(),
            source: source.map(Arc::from),
            code,
            code_size: self.code_size.of(look, const_method)?,
            has_lines: self.flags.of(look, const_method)? & self.has_lines != 0,
        })
    }

    /// Whether a class has this method. Methods are mostly where their number says; those of a class that was redefined may
    /// be elsewhere (`InstanceKlass::method_with_idnum`).
    fn is_of_class(&self, look: &Look<'_>, class: u64, method: u64, idnum: u64) -> bool {
        let is_there = || {
            let methods = self.class_methods.of(look, class)?;
            let length = self.array_length.of(look, methods)?.min(MAX_METHODS);
            let data = methods.checked_add(self.array_data)?;
            let at = |index: u64| look.u64(data.checked_add(WORD.checked_mul(index)?)?);
            if idnum < length && at(idnum)? == method {
                return Some(());
            }
            (0..length).map_while(at).find(|other| *other == method).map(drop)
        };
        is_there().is_some()
    }

    /// The boot loader has no object (`ClassLoaderData::is_the_null_class_loader_data`).
    fn is_of_boot_loader(&self, look: &Look<'_>, class: u64) -> bool {
        let loader = self.class_loader_data.of(look, class).filter(|data| *data != 0);
        loader.and_then(|data| self.class_loader.of(look, data)) == Some(0)
    }

    fn source(&self, look: &Look<'_>, class: u64, pool: u64) -> Option<String> {
        let of_pool = self.source_of_pool.and_then(|field| field.of(look, pool));
        let index = of_pool.or_else(|| self.source_of_class.and_then(|field| field.of(look, class)));
        self.constant(look, pool, index.filter(|index| *index > 0)?)
    }

    /// A text of a constant pool.
    fn constant(&self, look: &Look<'_>, pool: u64, index: u64) -> Option<String> {
        if index == 0 || index >= self.pool_length.of(look, pool)? {
            return None;
        }
        let entry = pool.checked_add(self.pool_size)?.checked_add(index.checked_mul(WORD)?)?;
        self.symbol(look, look.u64(entry)?)
    }

    /// A name: its length, then its bytes (src/hotspot/share/oops/symbol.hpp).
    fn symbol(&self, look: &Look<'_>, symbol: u64) -> Option<String> {
        let length = usize::try_from(self.symbol_length.of(look, symbol)?).ok()?;
        let bytes = look.bytes(symbol.checked_add(self.symbol_body)?, length, MAX_NAME)?;
        String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
    }
}

/// The path of a source file, as deep as the package of its class. Java's own classes have the scheme of its image.
fn path(is_of_boot_loader: bool, package: &str, source: &str) -> String {
    let scheme = if is_of_boot_loader { BOOT } else { "" };
    if package.is_empty() { format!("{scheme}{source}") } else { format!("{scheme}{package}/{source}") }
}

/// The name of a class as a stack trace has it, without what differs from run to run: hidden classes, such as those of
/// lambdas, have a number and an address in their names (`Leak$$Lambda$14+0x0000000800c03000`, JDK 21 without `$14`).
fn readable(class: &str) -> String {
    let class = class.split_once("+0x").or_else(|| class.split_once("/0x")).map_or(class, |(class, _)| class);
    let class = match class.split_once("$$Lambda$") {
        Some((outer, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{outer}$$Lambda")
        }
        _ => class.to_owned(),
    };
    class.replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hidden_classes_are_the_same_in_every_run() {
        for (class, expected) in [
            ("com/acme/Ledger", "com.acme.Ledger"),
            ("Leak$$Lambda$14+0x0000000800c03000", "Leak$$Lambda"),
            ("com/acme/Leak$$Lambda+0x00007f2b0c002000", "com.acme.Leak$$Lambda"),
            ("Leak$$Lambda$1/0x0000000840064840", "Leak$$Lambda"),
            ("java/lang/invoke/LambdaForm$DMH+0x0000000800c01400", "java.lang.invoke.LambdaForm$DMH"),
            ("Leak$Inner$1", "Leak$Inner$1"),
        ] {
            assert_eq!(readable(class), expected);
        }
    }

    #[test]
    fn a_source_file_lies_in_its_package() {
        assert_eq!(path(true, "java/net", "Socket.java"), "jrt:/java/net/Socket.java");
        assert_eq!(path(false, "", "Leak.java"), "Leak.java");
    }
}
