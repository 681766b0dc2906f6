//! `cargo xtask test vm`: the data plane on the oldest kernel that it must run on, Debian 12's.
//!
//! A machine in software emulation boots that kernel with nothing but the test binaries, what they
//! call, and the modules they need; what it prints on its console is what the tests print. Owns
//! `target/vm`; must not know what the tests are about.

mod image;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd::Cmd;
use crate::setup;
use crate::wait::secs;
use crate::workspace;

/// The package that depends on the newest kernel of the distribution's release.
const NEWEST: &str = "linux-image-cloud-amd64";
/// What the name of its kernel's package begins with, on Debian 12.
const KERNEL: &str = "linux-image-6.1.";
/// A machine that does not turn itself off in this time hangs.
const LIMIT_SECONDS: u64 = 7200;

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
}

/// Boots the machine, runs test binaries with `arguments` there, and hands over each line of its
/// console. `false` when a test failed; an error when the machine did not get to its end.
pub fn run(tests: &[PathBuf], arguments: &[&str], on_line: impl FnMut(&str)) -> Result<bool> {
    setup::vm()?;
    let folder = workspace::target().join("vm");
    std::fs::create_dir_all(&folder)?;
    let kernel = fetch(&folder)?;
    let image = image::pack(&folder, &kernel, tests, arguments)?;
    let booted = boot(&kernel, &image, on_line);
    std::fs::remove_file(&image)?;
    booted
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

fn boot(kernel: &Kernel, image: &Path, mut on_line: impl FnMut(&str)) -> Result<bool> {
    let mut done = None;
    let code = Cmd::new("qemu-system-x86_64")
        .words("-accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nic none -nographic -no-reboot")
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .limit(secs(LIMIT_SECONDS))
        .follow(|line| {
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
