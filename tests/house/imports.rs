//! What each source file imports: `use` trees and paths in the code, resolved to files. Judges nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, ExprCall, ExprMethodCall, ImplItem, Item, ItemUse, UseTree,
    visit::{self, Visit},
};

/// A file of the crate.
pub(crate) struct SourceFile {
    /// Below `src`, with `/` between the parts.
    pub path: String,
    /// Files of the crate that it imports.
    pub imports: BTreeSet<String>,
    /// Paths into other crates.
    pub outside: BTreeSet<String>,
    /// Names of functions and methods that it calls.
    pub calls: BTreeSet<String>,
}

/// All files of the crate but its root, `main.rs` and those that are tests.
pub(crate) fn source_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&root, &root, &mut files);
    let read = |(module, path): (&Vec<String>, &PathBuf)| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut reader = Reader::default();
        reader.visit_file(&syntax);
        let Reader { found, calls, .. } = reader;
        let name = |path: &PathBuf| below(&root, path);
        let (mut imports, mut outside) = (BTreeSet::new(), BTreeSet::new());
        for (inside, used) in found {
            let module = [module.as_slice(), &inside].concat();
            match resolve(&module, &used, &files) {
                Some(target) => imports.insert(name(target)),
                None => outside.insert(used.join("::")),
            };
        }
        let path = name(path);
        imports.remove(&path);
        SourceFile { path, imports, outside, calls }
    };
    files.iter().map(read).collect()
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn collect(root: &Path, directory: &Path, files: &mut BTreeMap<Vec<String>, PathBuf>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for path in entries.map(|entry| entry.expect("an entry of a directory").path()) {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "tests") {
                collect(root, &path, files);
            }
            continue;
        }
        let name = below(root, &path);
        let is_source = path.extension().is_some_and(|ending| ending == "rs");
        let is_test = name.ends_with("tests.rs");
        if directory == root || !is_source || is_test {
            continue;
        }
        let module = name.trim_end_matches(".rs").trim_end_matches("/mod");
        files.insert(module.split('/').map(str::to_owned).collect(), path);
    }
}

/// The file that a path leads into; `None` when that is another crate.
fn resolve<'a>(
    module: &[String],
    used: &[String],
    files: &'a BTreeMap<Vec<String>, PathBuf>,
) -> Option<&'a PathBuf> {
    let supers = used.iter().take_while(|part| *part == "super").count();
    let mut absolute: Vec<String> = match used.first()?.as_str() {
        "crate" => used.get(1..)?.to_vec(),
        "self" => module.iter().chain(used.get(1..)?).cloned().collect(),
        "super" => module.get(..module.len() - supers)?.iter().chain(used.get(supers..)?).cloned().collect(),
        _ => return None,
    };
    while !absolute.is_empty() {
        if let Some(path) = files.get(&absolute) {
            return Some(path);
        }
        absolute.pop();
    }
    None
}

/// Gathers what a file names.
#[derive(Default)]
struct Reader {
    /// Modules inside of the file that are being read.
    inside: Vec<String>,
    /// Paths, each with the modules inside of the file that it stands in.
    found: Vec<(Vec<String>, Vec<String>)>,
    calls: BTreeSet<String>,
}

impl Reader {
    fn find(&mut self, path: Vec<String>) {
        self.found.push((self.inside.clone(), path));
    }

    fn flatten(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.flatten(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.find(with(&name.ident)),
            UseTree::Rename(rename) => self.find(with(&rename.ident)),
            UseTree::Glob(_) => self.find(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.flatten(tree, before)),
        }
    }
}

/// Whether code is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !matches!(item, ImplItem::Fn(function) if is_for_tests(&function.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inside.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inside.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.flatten(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.find(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            self.calls.extend(function.path.segments.last().map(|segment| segment.ident.to_string()));
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.calls.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }
}
