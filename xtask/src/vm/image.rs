//! The machine's file system: a folder that is packed for the kernel to unpack into memory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Kernel;
use crate::cmd::Cmd;
use crate::setup;
use crate::wait::secs;
use crate::workspace;

/// The first process.
const INIT: &str = include_str!("init.sh");
/// What tests call, besides what busybox has.
const PROGRAMS: [&str; 3] = ["ip", "nsenter", "ping"];
/// What is built in elsewhere. What they depend on comes along.
const MODULES: [&str; 9] = [
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
/// Empty folders that the first process mounts things on, and where it puts busybox' programs.
const FOLDERS: [&str; 8] = [
    "bin", "dev", "modules", "proc", "run", "sys", "tests", "tmp",
];

/// Packs the machine's file system; returns the archive.
pub fn pack(
    folder: &Path,
    kernel: &Kernel,
    tests: &[PathBuf],
    arguments: &[&str],
) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in FOLDERS {
        fs::create_dir_all(root.join(name))?;
    }
    write_program(&root.join("init"), INIT)?;
    fs::write(root.join("arguments"), arguments.join(" "))?;
    copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    copy(&workspace::bpf_object(), &root.join("orch-bpf.o"))?;
    let mut binaries = Vec::new();
    for program in PROGRAMS {
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
    copy_modules(&root, kernel)?;
    let archive = folder.join("initrd");
    let script = "cd \"$0\" && find . | cpio --quiet -o -H newc | gzip -1 > \"$1\"";
    Cmd::new("sh")
        .args(["-c", script])
        .arg(&root)
        .arg(&archive)
        .limit(secs(300))
        .ok()?;
    fs::remove_dir_all(&root)?;
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
fn copy_modules(root: &Path, kernel: &Kernel) -> Result<()> {
    let tree = &kernel.root;
    Cmd::new("depmod")
        .arg("-b")
        .arg(tree)
        .arg(&kernel.version)
        .ok()?;
    let mut ordered: Vec<String> = Vec::new();
    for module in MODULES {
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
