//! `cargo xtask test vm`: the data plane on the oldest kernel that it must run on, Debian 12's.
//!
//! Machines in software emulation boot that kernel, run tests and turn themselves off; what they
//! print on their consoles is what the tests print. One sort holds nothing but test binaries, what
//! they call, and modules; the other sees this machine's files, so that engines run there as well.
//! Owns `target/vm`; must not know what the tests are about.

mod image;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd::{Background, Cmd};
use crate::setup;
use crate::wait::{self, secs};
use crate::workspace;

/// The package that depends on the newest kernel of the distribution's release.
const NEWEST: &str = "linux-image-cloud-amd64";
/// What the name of its kernel's package begins with, on Debian 12.
const KERNEL: &str = "linux-image-6.1.";
/// A machine that does not turn itself off in this time hangs.
const LIMIT_SECONDS: u64 = 7200;
/// What shares a folder with a machine; Debian keeps it out of `PATH`.
pub const FILE_SERVER: &str = "/usr/lib/qemu/virtiofsd";

/// Debian's kernel, unpacked and not installed.
struct Kernel {
    /// Folder with what its package holds.
    root: PathBuf,
    /// As `uname -r` says.
    version: String,
}

impl Kernel {
    fn image(&self) -> PathBuf {
        self.root
            .join("boot")
            .join(format!("vmlinuz-{}", self.version))
    }

    fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.version)
    }
}

/// Runs those of test binaries whose names contain the filter in a machine that holds nothing
/// else, and hands over each line of its console. `false` when a test failed; an error when the
/// machine did not get to its end.
pub fn run(tests: &[PathBuf], filter: Option<&str>, on_line: impl FnMut(&str)) -> Result<bool> {
    let mut chosen = Vec::new();
    for test in tests {
        if has_tests(test, filter)? {
            chosen.push(test.clone());
        }
    }
    if chosen.is_empty() {
        return Ok(true);
    }
    let (folder, kernel) = prepare()?;
    let image = image::of_programs(&folder, &kernel, &chosen, filter)?;
    let machine = qemu(&kernel, &image).words("-m 3072");
    let held = boot(machine, on_line);
    std::fs::remove_file(&image)?;
    held
}

/// As [`run`], for one binary whose tests need a lab: the machine has this one's files, what it
/// writes is gone with it, and all deadlines there are prolonged.
pub fn run_lab(test: &Path, filter: &str, on_line: impl FnMut(&str)) -> Result<bool> {
    if !has_tests(test, Some(filter))? {
        return Ok(true);
    }
    let (folder, kernel) = prepare()?;
    let image = image::of_this_machine(&folder, &kernel, test, filter)?;
    let socket = folder.join("files.sock");
    let server = serve_files(&socket)?;
    let machine = qemu(&kernel, &image)
        // The server reads and writes the machine's memory.
        .words("-m 8192 -object memory-backend-memfd,id=memory,size=8G,share=on")
        .words("-numa node,memdev=memory")
        .arg("-chardev")
        .arg(format!("socket,id=files,path={}", socket.display()))
        .words("-device vhost-user-fs-pci,chardev=files,tag=host");
    let held = boot(machine, on_line);
    drop(server);
    std::fs::remove_file(&image)?;
    held
}

/// Whether a test binary has a test whose name contains the filter.
fn has_tests(test: &Path, filter: Option<&str>) -> Result<bool> {
    let listed = Cmd::new(test).arg("--list").args(filter).ok()?;
    Ok(listed.lines().any(|line| line.ends_with(": test")))
}

/// Brings what emulation needs; returns the folder to work in and the kernel.
fn prepare() -> Result<(PathBuf, Kernel)> {
    setup::vm()?;
    let folder = workspace::target().join("vm");
    std::fs::create_dir_all(&folder)?;
    let kernel = fetch(&folder)?;
    Ok((folder, kernel))
}

/// Downloads the kernel's package unless it is there.
fn fetch(folder: &Path) -> Result<Kernel> {
    let depends = Cmd::new("apt-cache").args(["depends", NEWEST]).ok()?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|package| package.starts_with(KERNEL))
        .with_context(|| format!("apt knows no {KERNEL}*: is this Debian 12?"))?;
    let root = folder.join(package);
    let version = package.trim_start_matches("linux-image-").to_owned();
    let kernel = Kernel { root, version };
    if kernel.image().is_file() {
        return Ok(kernel);
    }
    println!("vm: apt-get download {package}");
    let fresh = folder.join("download");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    std::fs::create_dir(&fresh)?;
    Cmd::new("apt-get")
        .args(["-q", "download", package])
        .dir(&fresh)
        .limit(secs(600))
        .ok()?;
    for file in std::fs::read_dir(&fresh)? {
        Cmd::new("dpkg-deb")
            .arg("-x")
            .arg(file?.path())
            .arg(&kernel.root)
            .limit(secs(300))
            .ok()?;
    }
    std::fs::remove_dir_all(&fresh)?;
    Ok(kernel)
}

/// Offers this machine's files at a socket, until the value is dropped.
fn serve_files(socket: &Path) -> Result<Background> {
    if socket.exists() {
        std::fs::remove_file(socket)?;
    }
    let server = Cmd::new(FILE_SERVER)
        .arg(format!("--socket-path={}", socket.display()))
        .words("-o source=/ -o cache=auto -o sandbox=chroot -o log_level=err")
        .background()?;
    wait::until("the machine's files to be offered", secs(10), || {
        if socket.exists() {
            Ok(())
        } else {
            bail!("{} is not there", socket.display())
        }
    })?;
    Ok(server)
}

fn qemu(kernel: &Kernel, image: &Path) -> Cmd {
    Cmd::new("qemu-system-x86_64")
        .words("-accel tcg,thread=multi -cpu max -smp 2 -nic none -nographic -no-reboot")
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
}

fn boot(machine: Cmd, mut on_line: impl FnMut(&str)) -> Result<bool> {
    let mut done = None;
    let code = machine.limit(secs(LIMIT_SECONDS)).follow(|line| {
        let line = line.trim_end_matches('\r');
        if let Some(rest) = line.strip_prefix("vm: done with status ") {
            done = Some(rest.starts_with("0,"));
        }
        on_line(line);
    })?;
    match done {
        Some(held) if code == 0 => Ok(held),
        _ => bail!("the machine did not get to the end of its tests; its console is above"),
    }
}
