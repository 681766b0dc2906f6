//! `cargo xtask setup`: what has to be on the machine, and how it gets there.
//!
//! Knows Debian and Ubuntu; elsewhere it names what lacks. Quick when nothing does.

mod apt;
mod tools;

use std::path::Path;

use anyhow::{Result, bail};

use crate::vm;

pub use tools::{LLVM_PREFIX, debian_rustc, find};

/// One thing that must be there, and the packages that bring it.
struct Need {
    what: &'static str,
    present: fn(&str) -> bool,
    packages: &'static [&'static str],
}

const fn program(what: &'static str, packages: &'static [&'static str]) -> Need {
    Need {
        what,
        present: |name| find(name).is_some(),
        packages,
    }
}

const fn file(what: &'static str, packages: &'static [&'static str]) -> Need {
    Need {
        what,
        present: |path| Path::new(path).exists(),
        packages,
    }
}

/// The lab: engines, images, namespaces.
const LAB: &[Need] = &[
    program("dockerd", &["docker.io"]),
    program("docker", &["docker.io"]),
    program("ip", &["iproute2"]),
    program("ping", &["iputils-ping"]),
    program("nsenter", &["util-linux"]),
    program("ps", &["procps"]),
    program("redis-cli", &["redis-tools"]),
    file("/bin/busybox", &["busybox-static"]),
];

/// Building BPF objects with Debian's rustc, which brings a core for the BPF target.
const BPF_ON_DEBIAN: &[Need] = &[
    file("/usr/lib/llvm-22/bin/llvm-config", &["llvm-22-dev"]),
    file("/usr/lib/llvm-22/include/llvm-c/Core.h", &["llvm-22-dev"]),
    file(
        "/usr/lib/rustlib/bpfel-unknown-none/lib",
        &["rustc-web", "libstd-rust-web-dev-bpf"],
    ),
];

/// Linking Rust at all, and bpf-linker against LLVM.
const COMPILERS: &[Need] = &[
    program("cc", &["gcc", "libc6-dev"]),
    program("c++", &["g++"]),
    file("/usr/include/zlib.h", &["zlib1g-dev"]),
    file("/usr/include/zstd.h", &["libzstd-dev"]),
];

/// Measuring: only `xtask bench` wants these.
const BENCH: &[Need] = &[
    program("sockperf", &["sockperf"]),
    program("iperf3", &["iperf3"]),
    program("nft", &["nftables"]),
    program("haproxy", &["haproxy"]),
];

/// Booting another kernel: only `xtask test vm` wants these.
const VM: &[Need] = &[
    program("qemu-system-x86_64", &["qemu-system-x86"]),
    program("cpio", &["cpio"]),
    program("depmod", &["kmod"]),
    program("strip", &["binutils"]),
    file(vm::FILE_SERVER, &["qemu-system-common"]),
];

/// Brings everything that is missing.
pub fn run() -> Result<()> {
    let debian_bpf = apt::has_debian_bpf_toolchain();
    bring(
        LAB.iter()
            .chain(COMPILERS)
            .chain(if debian_bpf { BPF_ON_DEBIAN } else { &[] }),
    )?;
    tools::bpf_linker()?;
    if !debian_bpf {
        tools::nightly_with_source()?;
    }
    Ok(())
}

/// Brings what measuring needs beyond [`run`].
pub fn bench() -> Result<()> {
    bring(BENCH)
}

/// Brings what booting another kernel needs beyond [`run`].
pub fn vm() -> Result<()> {
    bring(VM)
}

fn bring(needs: impl IntoIterator<Item = &'static Need>) -> Result<()> {
    let missing: Vec<&Need> = needs
        .into_iter()
        .filter(|need| !(need.present)(need.what))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let whats: Vec<&str> = missing.iter().map(|need| need.what).collect();
    println!("setup: missing: {}", whats.join(", "));
    let mut packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if !apt::is_available() {
        bail!(
            "this is neither Debian nor Ubuntu: please install {} yourself (their Debian \
             packages: {}), then run this again",
            whats.join(", "),
            packages.join(" ")
        );
    }
    apt::install(&packages)
}
