//! The machine's file system: a folder that is packed for the kernel to unpack into memory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Kernel;
use crate::cmd::{Cmd, quote};
use crate::lab;
use crate::setup;
use crate::wait::secs;
use crate::workspace;

/// The first process of every machine; goes on with one of the others.
const INIT: &str = include_str!("init.sh");
const PROGRAMS: &str = include_str!("programs.sh");
const LAB: &str = include_str!("lab.sh");
const IN_TREE: &str = include_str!("in-tree.sh");
/// What tests call, besides what busybox has.
const CALLED: [&str; 3] = ["ip", "nsenter", "ping"];
/// What the data plane and its tests use. What is built in elsewhere is none; what modules depend
/// on comes along.
const MODULES: &[&str] = &[
    "bridge",
    "cls_bpf",
    "dummy",
    "sch_ingress",
    "sctp",
    "tun",
    "udp_diag",
    "veth",
    "vxlan",
];
/// What a machine with another's files and engines uses beyond that.
const LAB_MODULES: &[&str] = &[
    "br_netfilter",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_compat",
    "overlay",
    "virtio_pci",
    "virtiofs",
    "xt_MASQUERADE",
    "xt_addrtype",
    "xt_conntrack",
];
/// Empty folders that the first process mounts things on, and where it puts busybox' programs.
const FOLDERS: [&str; 8] = [
    "bin", "dev", "modules", "proc", "run", "sys", "tests", "tmp",
];

/// A machine that runs test binaries out of its image; returns the archive.
pub fn of_programs(
    folder: &Path,
    kernel: &Kernel,
    tests: &[PathBuf],
    filter: Option<&str>,
) -> Result<PathBuf> {
    let filter = filter.unwrap_or_default();
    let root = begin(folder, PROGRAMS, &[("filter", filter.as_ref())])?;
    copy(&workspace::bpf_object(), &root.join("orch-bpf.o"))?;
    let mut binaries = Vec::new();
    for program in CALLED {
        let found = setup::find(program).with_context(|| format!("no {program}"))?;
        let to = root.join("usr/bin").join(program);
        copy(&found, &to)?;
        binaries.push(to);
    }
    for test in tests {
        let to = root
            .join("tests")
            .join(test.file_name().unwrap_or_default());
        // Without what only a debugger reads, a tenth is left.
        Cmd::new("strip").arg("-o").arg(&to).arg(test).ok()?;
        binaries.push(to);
    }
    copy_libraries(&root, &binaries)?;
    copy_modules(&root, kernel, MODULES)?;
    pack(folder, &root)
}

/// A machine that sees this one's files and runs a test binary of the lab; returns the archive.
pub fn of_this_machine(
    folder: &Path,
    kernel: &Kernel,
    test: &Path,
    filter: &str,
) -> Result<PathBuf> {
    let (modules, target) = (kernel.modules(), workspace::target());
    // A lab removes its own folder, which cannot be one that something is mounted on.
    let disks = Path::new(lab::STATE).parent().context("a folder in one")?;
    let settings = [
        ("filter", filter.as_ref()),
        ("modules", modules.as_os_str()),
        ("disks", disks.as_os_str()),
        ("target", target.as_os_str()),
        ("test", test.as_os_str()),
    ];
    let root = begin(folder, LAB, &settings)?;
    fs::write(root.join("in-tree"), IN_TREE)?;
    copy_modules(&root, kernel, &[MODULES, LAB_MODULES].concat())?;
    pack(folder, &root)
}

/// Makes the folder that is packed, with what every machine has in it.
fn begin(folder: &Path, main: &str, settings: &[(&str, &OsStr)]) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in FOLDERS {
        fs::create_dir_all(root.join(name))?;
    }
    write_program(&root.join("init"), INIT)?;
    fs::write(root.join("main"), main)?;
    let settings = settings
        .iter()
        .map(|(name, value)| format!("{name}={}\n", quote(&value.to_string_lossy())));
    fs::write(root.join("settings"), settings.collect::<String>())?;
    copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    Ok(root)
}

/// Packs a folder for the kernel, and removes it.
fn pack(folder: &Path, root: &Path) -> Result<PathBuf> {
    let archive = folder.join("initrd");
    let script = "cd \"$0\" && find . | cpio --quiet -o -H newc | gzip -1 > \"$1\"";
    Cmd::new("sh")
        .args(["-c", script])
        .arg(root)
        .arg(&archive)
        .limit(secs(300))
        .ok()?;
    fs::remove_dir_all(root)?;
    Ok(archive)
}

/// Copies the shared libraries of programs to where the programs look for them.
fn copy_libraries(root: &Path, binaries: &[PathBuf]) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for binary in binaries {
        let listed = Cmd::new("ldd").arg(binary).ok()?;
        let paths = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        libraries.extend(paths.map(str::to_owned));
    }
    for library in libraries {
        copy(
            Path::new(&library),
            &root.join(library.trim_start_matches('/')),
        )?;
    }
    Ok(())
}

/// Copies modules, numbered in the order in which they load.
fn copy_modules(root: &Path, kernel: &Kernel, modules: &[&str]) -> Result<()> {
    let tree = &kernel.root;
    Cmd::new("depmod")
        .arg("-b")
        .arg(tree)
        .arg(&kernel.version)
        .ok()?;
    let mut ordered: Vec<String> = Vec::new();
    for module in modules {
        let lines = Cmd::new("modprobe")
            .args(["-S", &kernel.version, "--show-depends", "-d"])
            .arg(tree)
            .arg(module)
            .ok()?;
        // Options of this host's configuration may follow a module's file.
        let files = lines.lines().filter_map(|line| {
            let mut words = line.strip_prefix("insmod ")?.split_whitespace();
            words.next().map(str::to_owned)
        });
        for file in files {
            if !ordered.contains(&file) {
                ordered.push(file);
            }
        }
    }
    for (number, file) in ordered.iter().enumerate() {
        let name = Path::new(file).file_name().unwrap_or_default();
        let name = format!("{number:03}-{}", name.to_string_lossy());
        copy(Path::new(file), &root.join("modules").join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn write_program(to: &Path, text: &str) -> Result<()> {
    fs::write(to, text)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
