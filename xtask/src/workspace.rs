//! Where things are in the workspace, and cargo as a clean child process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cmd::Cmd;

/// The folder of the root `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The BPF object that `build-ebpf` makes.
pub fn bpf_object() -> PathBuf {
    target().join("bpf/orch-bpf.o")
}

/// A binary of the workspace, built without optimisation unless [`use_released`] was called.
pub fn binary(name: &str) -> PathBuf {
    let profile = if RELEASED.load(Ordering::Relaxed) {
        "release"
    } else {
        "debug"
    };
    target().join(profile).join(name)
}

/// Whether the lab runs the binaries that users would.
static RELEASED: AtomicBool = AtomicBool::new(false);

/// From now on [`binary`] is the one of a release build.
pub fn use_released() {
    RELEASED.store(true, Ordering::Relaxed);
}

/// `cargo` in the workspace's root, freed of what the outer `cargo run` put into the environment:
/// those variables describe xtask, and some would force a rebuild of everything.
pub fn cargo() -> Cmd {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let outer = std::env::vars().map(|(name, _)| name).filter(|name| {
        name.starts_with("CARGO_PKG_")
            || matches!(
                name.as_str(),
                "CARGO"
                    | "CARGO_MANIFEST_DIR"
                    | "CARGO_MANIFEST_PATH"
                    | "CARGO_CRATE_NAME"
                    | "CARGO_BIN_NAME"
                    | "CARGO_PRIMARY_PACKAGE"
                    | "LD_LIBRARY_PATH"
            )
    });
    outer.fold(Cmd::new(cargo).dir(root()), |cmd, name| {
        cmd.env_remove(&name)
    })
}
