//! The two images that every lab engine has, made from Debian's packages.
//!
//! There is no registry to pull from; the programs inside are the real ones all the same.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::host::{Daemon, Host};
use crate::cmd::Cmd;
use crate::setup;
use crate::wait::secs;
use crate::workspace;

/// An image as users name it, with what `docker import` has to set.
#[derive(Debug)]
pub struct Image {
    /// Name and tag.
    pub name: &'static str,
    file: &'static str,
    command: &'static str,
    fill: fn(&Path) -> Result<()>,
}

/// busybox, and Redis with its command line client and a `ping` that reports what ICMP says.
pub const IMAGES: [Image; 2] = [
    Image {
        name: "busybox:1.35",
        file: "busybox-1.35-v1.tar",
        command: r#"CMD ["sh"]"#,
        fill: busybox,
    },
    Image {
        name: "redis:7",
        file: "redis-7-v2.tar",
        command: r#"CMD ["redis-server", "--protected-mode", "no"]"#,
        fill: redis,
    },
];

/// Makes the images' files unless earlier labs did.
pub fn prepare() -> Result<()> {
    for image in &IMAGES {
        let tar = image.tar();
        if tar.exists() {
            continue;
        }
        let tree = tar.with_extension("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        skeleton(&tree)?;
        (image.fill)(&tree).with_context(|| format!("cannot make the image {}", image.name))?;
        let partial = tar.with_extension("partial");
        Cmd::new("tar")
            .words("--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf")
            .arg(&partial)
            .arg("-C")
            .arg(&tree)
            .arg(".")
            .ok()?;
        fs::rename(&partial, &tar)?;
        fs::remove_dir_all(&tree)?;
    }
    Ok(())
}

/// Gives both images to a host's engine, unless it has them.
pub fn import(host: Host) -> Result<()> {
    for image in &IMAGES {
        let (status, _) = host
            .api(Daemon::Engine)
            .get(&format!("/images/{}/json", image.name))?;
        if status == 200 {
            continue;
        }
        Cmd::new("docker")
            .arg("-H")
            .arg(format!("unix://{}", host.socket(Daemon::Engine).display()))
            .args(["import", "--change", image.command])
            .args([
                "--change",
                "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            ])
            .arg(image.tar())
            .arg(image.name)
            .limit(secs(120))
            .ok()?;
    }
    Ok(())
}

impl Image {
    fn tar(&self) -> PathBuf {
        workspace::target().join("lab/images").join(self.file)
    }
}

fn skeleton(tree: &Path) -> Result<()> {
    for folder in [
        "bin",
        "data",
        "etc",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/local/bin",
        "www",
    ] {
        fs::create_dir_all(tree.join(folder))?;
    }
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(tree.join("etc/group"), "root:x:0:\n")?;
    fs::write(tree.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    Ok(())
}

fn busybox(tree: &Path) -> Result<()> {
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    for applet in Cmd::new("/bin/busybox").arg("--list").ok()?.lines() {
        if applet != "busybox" {
            symlink("busybox", tree.join("bin").join(applet))?;
        }
    }
    Ok(())
}

fn redis(tree: &Path) -> Result<()> {
    busybox(tree)?;
    let mut libraries = BTreeSet::new();
    // Debian's server and checker are one program that looks at its name; the checker comes in
    // redis-tools, which brings no service to the machine. Busybox's ping is silent about ICMP
    // errors, so the one of iputils goes before it in the PATH.
    let programs = [
        ("redis-check-rdb", "redis-server"),
        ("redis-cli", "redis-cli"),
        ("ping", "ping"),
    ];
    for (program, name) in programs {
        let file = setup::find(program).with_context(|| format!("{program} is missing"))?;
        fs::copy(&file, tree.join("usr/local/bin").join(name))?;
        libraries.extend(shared_libraries(&file)?);
    }
    for library in libraries {
        let inside = tree.join(library.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("a library has a folder")?)?;
        fs::copy(&library, &inside)?;
    }
    Ok(())
}

/// The files that the dynamic loader would load, the loader among them.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listing = Cmd::new("ldd").arg(program).ok()?;
    let files = listing
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    Ok(files.map(PathBuf::from).collect())
}
