//! Packages on Debian and Ubuntu, installed without letting them start a service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::tools::find;
use crate::cmd::Cmd;
use crate::wait::secs;

/// invoke-rc.d and deb-systemd-invoke ask this program whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_ASIDE: &str = "/usr/sbin/policy-rc.d.orchd-setup";
const MARK: &str = "# written by cargo xtask setup, which removes it";

/// True where apt-get installs packages.
pub fn is_available() -> bool {
    Path::new("/etc/debian_version").exists() && find("apt-get").is_some()
}

/// True where the distribution has a rustc with a core for the BPF target: Debian 12.
pub fn has_debian_bpf_toolchain() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let says = |wanted: &str| release.lines().any(|line| line == wanted);
    says("ID=debian") && says("VERSION_ID=\"12\"")
}

/// Installs packages; no service is started by it.
pub fn install(packages: &[&str]) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "not root: run as root, or first: apt-get install {}",
            packages.join(" ")
        );
    }
    let _policy = NoServices::begin()?;
    println!("setup: apt-get install {}", packages.join(" "));
    apt_get("update").ok()?;
    apt_get("install")
        .args(["-y", "--no-install-recommends"])
        .args(packages)
        .ok()?;
    Ok(())
}

fn apt_get(verb: &str) -> Cmd {
    Cmd::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", verb])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .limit(secs(1800))
}

/// While this lives, no package may start a service. An own policy of the machine is put back.
struct NoServices;

impl NoServices {
    fn begin() -> Result<Self> {
        restore().context("cannot restore the policy of an earlier setup that was killed")?;
        if Path::new(POLICY).exists() {
            fs::rename(POLICY, POLICY_ASIDE)?;
        }
        let guard = Self;
        fs::write(POLICY, format!("#!/bin/sh\n{MARK}\nexit 101\n"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = restore() {
            println!("setup: cannot restore {POLICY}: {error}");
        }
    }
}

fn restore() -> std::io::Result<()> {
    if fs::read_to_string(POLICY).is_ok_and(|text| text.contains(MARK)) {
        fs::remove_file(POLICY)?;
    }
    if Path::new(POLICY_ASIDE).exists() {
        fs::rename(POLICY_ASIDE, POLICY)?;
    }
    Ok(())
}
