//! `cargo xtask build-ebpf`: the BPF programs, built for the BPF target with a toolchain of
//! their own.
//!
//! Owns the object's place under the target folder; must not know what is in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd::Cmd;
use crate::setup;
use crate::wait::secs;
use crate::workspace;

const TARGET: &str = "bpfel-unknown-none";

/// Builds the programs and returns the object. `ORCH_BPF_OBJECT` names a prebuilt one.
pub fn build() -> Result<PathBuf> {
    if let Some(prebuilt) = std::env::var_os("ORCH_BPF_OBJECT") {
        let prebuilt = PathBuf::from(prebuilt);
        if !prebuilt.is_file() {
            bail!(
                "ORCH_BPF_OBJECT names {}, which is no file",
                prebuilt.display()
            );
        }
        return Ok(prebuilt);
    }
    cargo("build")
        .args(["--release", "--quiet"])
        .limit(secs(900))
        .through_ok()
        .context("the BPF programs do not build")?;
    let built = workspace::target()
        .join("bpf")
        .join(TARGET)
        .join("release/orch-bpf");
    let object = workspace::bpf_object();
    copy_if_changed(&built, &object)?;
    Ok(object)
}

/// `cargo VERB` for the BPF target, in the folder of the programs.
pub fn cargo(verb: &str) -> Cmd {
    let programs = workspace::root().join("ebpf/programs");
    let target_dir = workspace::target().join("bpf");
    // cargo itself may be rustup's; only the compiler has to be the one with a core for BPF.
    let cargo = match setup::debian_rustc() {
        Some(rustc) => workspace::cargo()
            .arg(verb)
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1"),
        None => Cmd::new("rustup")
            .args(["run", "nightly", "cargo", verb])
            .args(["-Z", "build-std=core"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO"),
    };
    // Flags for the host's programs would reach these, and mean nothing to this target.
    cargo
        .dir(programs)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env("PATH", path_with_linker())
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir)
}

/// An unchanged object keeps its time, so that nothing that embeds it is rebuilt.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

fn path_with_linker() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let linker = setup::find("bpf-linker").and_then(|file| file.parent().map(Path::to_path_buf));
    let folders = std::env::split_paths(&path).chain(linker);
    std::env::join_paths(folders).unwrap_or(path)
}
