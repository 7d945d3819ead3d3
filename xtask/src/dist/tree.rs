//! What is handed out, file by file: where it comes from, and where it is in the archive and on a host where it is
//! installed. Knows no form of package.

use super::{Place, binary::Binary, binary::run};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian has another `tcptrace`, of which this package leaves everything alone.
pub(crate) const PACKAGE: &str = "tcptrace-ebpf";

/// A file.
pub(crate) struct Item {
    from: PathBuf,
    mode: u32,
    /// Its path in the archive.
    unpacked: String,
    /// Its path below the root of a host.
    installed: String,
}

/// Everything.
pub(crate) fn items(place: &Place, binary: &Binary) -> Result<Vec<Item>> {
    let documents = format!("usr/share/doc/{PACKAGE}");
    let shells = [
        ("tcptrace.bash", "usr/share/bash-completion/completions/tcptrace"),
        ("_tcptrace", "usr/share/zsh/vendor-completions/_tcptrace"),
        ("tcptrace.fish", "usr/share/fish/vendor_completions.d/tcptrace.fish"),
    ];
    let mut items = vec![
        Item::new(binary.stripped.clone(), "tcptrace", "usr/sbin/tcptrace").executable(),
        Item::new(binary.bill.clone(), "tcptrace.cdx.json", &format!("{documents}/tcptrace.cdx.json")),
        Item::new(
            place.sources.join("xtask/packaging/tcptrace.service"),
            "tcptrace.service",
            "usr/lib/systemd/system/tcptrace.service",
        ),
    ];
    for name in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        items.push(Item::new(place.sources.join(name), name, &format!("{documents}/{name}")));
    }
    for (name, installed) in shells {
        let unpacked = format!("completions/{name}");
        items.push(Item::new(place.manual().join(&unpacked), &unpacked, installed));
    }
    let mut pages: Vec<_> =
        fs::read_dir(place.manual().join("man"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    pages.sort();
    for page in pages {
        let name = page.file_name().context("a page has a name")?.to_string_lossy().into_owned();
        items.push(Item::new(page, &format!("man/{name}"), &format!("usr/share/man/man8/{name}.gz")));
    }
    Ok(items)
}

impl Item {
    fn new(from: PathBuf, unpacked: &str, installed: &str) -> Self {
        Self { from, mode: 0o644, unpacked: unpacked.to_owned(), installed: installed.to_owned() }
    }

    fn executable(self) -> Self {
        Self { mode: 0o755, ..self }
    }
}

/// Copies everything into `folder`, as it is in the archive.
pub(crate) fn unpacked(items: &[Item], folder: &Path) -> Result<()> {
    items.iter().try_for_each(|item| put(item, &folder.join(&item.unpacked)).map(drop))
}

/// Copies everything into `folder`, as it is on a host.
pub(crate) fn installed(items: &[Item], folder: &Path) -> Result<()> {
    for item in items {
        match item.installed.strip_suffix(".gz") {
            Some(plain) => {
                let page = put(item, &folder.join(plain))?;
                // Without the name and the time of the page.
                run(Command::new("gzip").args(["-9", "--no-name"]).arg(page))?;
            }
            None => drop(put(item, &folder.join(&item.installed))?),
        }
    }
    Ok(())
}

fn put(item: &Item, to: &Path) -> Result<PathBuf> {
    let folder = to.parent().context("a path below the root")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(&item.from, to).with_context(|| format!("cannot copy {}", item.from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(item.mode))?;
    Ok(to.to_owned())
}
