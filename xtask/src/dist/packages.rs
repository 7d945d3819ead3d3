//! Packs what is handed out: as an archive, for dpkg, for rpm. The same files make the same bytes.

use super::{
    Place, architecture::Architecture, binary::run, tree::Item, tree::PACKAGE, tree::installed,
    tree::unpacked,
};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// The version of everything in this workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What everybody may do with files and directories.
const READABLE: &str = "u=rwX,go=rX";

/// Makes all of them.
pub(crate) fn pack(place: &Place, architecture: Architecture, items: &[Item], epoch: &str) -> Result<()> {
    let stage = tempfile::tempdir_in(&place.build)?;
    // Not the directory itself: it is for its owner alone, and the packages would have that of the root.
    let root = stage.path().join("root");
    archive(place, architecture, items, epoch, stage.path())?;
    installed(items, &root)?;
    make_readable(&root)?;
    rpm(place, architecture, epoch, stage.path(), &root)?;
    // Last, because it puts files of its own there.
    deb(place, architecture, epoch, &root)
}

/// Whatever the umask of who builds, and the modes of the files that it was copied from.
fn make_readable(root: &Path) -> Result<()> {
    run(Command::new("chmod").args(["--recursive", READABLE]).arg(root)).map(drop)
}

fn archive(
    place: &Place,
    architecture: Architecture,
    items: &[Item],
    epoch: &str,
    stage: &Path,
) -> Result<()> {
    let name = format!("tcptrace-{VERSION}-linux-{}", architecture.name());
    unpacked(items, &stage.join(&name))?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=ustar", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mode={READABLE}")).arg(format!("--mtime=@{epoch}")).arg("--directory").arg(stage);
    tar.args(["--use-compress-program=gzip -9 --no-name", "--file"]);
    tar.arg(place.out.join(format!("{name}.tar.gz"))).arg(&name);
    run(&mut tar).map(drop)
}

fn deb(place: &Place, architecture: Architecture, epoch: &str, root: &Path) -> Result<()> {
    let templates = place.sources.join("xtask/packaging/deb");
    let documents = root.join("usr/share/doc").join(PACKAGE);
    fs::copy(templates.join("copyright"), documents.join("copyright"))?;
    let size = run(Command::new("du").args(["--apparent-size", "--summarize", "--block-size=1K"]).arg(root))?;
    let size = String::from_utf8_lossy(&size);
    let sums = run(Command::new("sh")
        .args(["-c", "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum"])
        .current_dir(root))?;
    let control = root.join("DEBIAN");
    fs::create_dir(&control)?;
    let text = fs::read_to_string(templates.join("control"))?
        .replace("@version@", VERSION)
        .replace("@architecture@", architecture.name())
        .replace("@size@", size.split_whitespace().next().context("du says no size")?);
    fs::write(control.join("control"), text)?;
    fs::write(control.join("md5sums"), sums)?;
    fs::copy(templates.join("prerm"), control.join("prerm"))?;
    fs::set_permissions(control.join("prerm"), fs::Permissions::from_mode(0o755))?;
    make_readable(root)?;
    let name = format!("{PACKAGE}_{VERSION}_{}.deb", architecture.name());
    // xz, by one thread: each dpkg reads it, and several threads would cut it into other blocks.
    run(Command::new("dpkg-deb")
        .args(["--build", "--root-owner-group", "-Zxz", "--threads-max=1"])
        .arg(root)
        .arg(place.out.join(name))
        .env("SOURCE_DATE_EPOCH", epoch))
    .map(drop)
}

fn rpm(place: &Place, architecture: Architecture, epoch: &str, stage: &Path, root: &Path) -> Result<()> {
    let spec = stage.join("tcptrace-ebpf.spec");
    let text = fs::read_to_string(place.sources.join("xtask/packaging/rpm/tcptrace-ebpf.spec"))?;
    let files = run(Command::new("find").args([".", "-type", "f", "-printf", "/%P\\n"]).current_dir(root))?;
    let files = String::from_utf8(files)?;
    let mut files: Vec<_> = files.lines().collect();
    files.sort_unstable();
    fs::write(&spec, format!("{text}{}\n", files.join("\n")))?;
    let topdir = stage.join("rpm");
    let defined = [
        ("version", VERSION),
        ("sources", &root.to_string_lossy()),
        ("_topdir", &topdir.to_string_lossy()),
        ("_rpmdir", &place.out.to_string_lossy()),
        ("_rpmfilename", "%{name}-%{version}-%{release}.%{arch}.rpm"),
        // It is stripped already, and its debug file is beside it.
        ("__os_install_post", "%{nil}"),
        ("debug_package", "%{nil}"),
        ("_build_id_links", "none"),
        // What each rpm since that of RHEL 8 reads.
        ("_binary_payload", "w9.xzdio"),
        ("_source_filedigest_algorithm", "8"),
        ("_binary_filedigest_algorithm", "8"),
        ("_buildhost", "localhost"),
        ("use_source_date_epoch_as_buildtime", "1"),
        ("clamp_mtime_to_source_date_epoch", "1"),
        ("source_date_epoch_from_changelog", "0"),
    ];
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--target", &format!("{}-linux", architecture.gnu_name())]);
    for (name, value) in defined {
        rpmbuild.args(["--define", &format!("{name} {value}")]);
    }
    run(rpmbuild.arg(spec).env("SOURCE_DATE_EPOCH", epoch)).map(drop)
}
