//! Finds the compiled BPF programs that the crate embeds.

use std::env;
use std::path::PathBuf;

/// Names a prebuilt object instead of the one that `cargo xtask build-ebpf` makes.
const OVERRIDE: &str = "ORCH_BPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let object = env::var_os(OVERRIDE).map_or_else(default_object, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env={OVERRIDE}={}", object.display());
    } else {
        println!(
            "cargo::error=there are no BPF programs at {}: run `cargo xtask build-ebpf`, or set \
             {OVERRIDE} to a prebuilt object",
            object.display()
        );
    }
}

fn default_object() -> PathBuf {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    manifest.join("../../target/bpf/orch-bpf.o")
}
