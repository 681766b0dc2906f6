//! Programs that no package brings: bpf-linker, and nightly Rust where Debian's rustc lacks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cmd::Cmd;
use crate::wait::secs;
use crate::workspace;

const BPF_LINKER: &str = "0.13.0";

/// Where Debian's llvm-22-dev puts LLVM.
pub const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Debian's rustc, when it can build for the BPF target without nightly.
pub fn debian_rustc() -> Option<&'static Path> {
    let core = Path::new("/usr/lib/rustlib/bpfel-unknown-none/lib");
    let rustc = Path::new("/usr/bin/rustc");
    (core.exists() && rustc.exists()).then_some(rustc)
}

/// A program on the PATH, in cargo's bin folder, or where only root looks.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([cargo_bin(), "/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Installs bpf-linker by cargo when it is missing.
pub fn bpf_linker() -> Result<()> {
    if find("bpf-linker").is_some() {
        return Ok(());
    }
    println!("setup: cargo install bpf-linker {BPF_LINKER} (about a minute)");
    let install = workspace::cargo().args([
        "install",
        "bpf-linker",
        "--version",
        BPF_LINKER,
        "--locked",
        "--quiet",
    ]);
    let install = if Path::new(LLVM_PREFIX).exists() {
        install
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", LLVM_PREFIX)
    } else {
        // Its default links the LLVM that comes with rustc.
        install
    };
    install
        .limit(secs(1800))
        .through_ok()
        .context("bpf-linker cannot be built; it links the BPF programs")
}

/// Installs nightly Rust with its source, from which core is built for the BPF target.
pub fn nightly_with_source() -> Result<()> {
    let sysroot = Cmd::new("rustc")
        .args(["+nightly", "--print", "sysroot"])
        .output();
    let present = sysroot.is_ok_and(|output| {
        output.success()
            && Path::new(output.stdout.trim())
                .join("lib/rustlib/src/rust/library/core")
                .exists()
    });
    if present {
        return Ok(());
    }
    println!("setup: rustup toolchain install nightly --component rust-src");
    Cmd::new("rustup")
        .words("toolchain install nightly --profile minimal --component rust-src")
        .limit(secs(1800))
        .through_ok()
        .context("building BPF programs here needs nightly Rust with rust-src")
}

fn cargo_bin() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default()
        .join("bin")
}
