//! What the kernel lets BPF programs do, tried with programs of two instructions.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use super::{Check, text};
use crate::kernel::{self, ProgramKind};
use crate::{mounts, programs};

const FIX: &str = "use a newer kernel, and report this with the kernel's version";
/// `BPF_JMP | BPF_CALL`, `BPF_JMP | BPF_EXIT` and `BPF_ALU64 | BPF_MOV | BPF_K` of
/// `include/uapi/linux/bpf.h`, as the first byte of an instruction.
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const MOVE: u8 = 0xb7;
/// What a verifier says of a helper that it does not know or that a kind of program may not call.
/// It says other things of one that it knows and that was called with nonsense.
const UNKNOWN: [&str; 3] = ["unknown func", "invalid func", "cannot use helper"];

/// Whether the kernel has every helper that the programs call, and hooks sockets.
pub(super) fn checks() -> Vec<Check> {
    let helpers = match programs::called_helpers() {
        Ok(called) => [
            (
                "BPF helpers of tc programs",
                ProgramKind::Classifier,
                called.classifiers,
            ),
            (
                "BPF helpers of socket programs",
                ProgramKind::Connect4,
                called.sockets,
            ),
        ]
        .map(|(name, kind, numbers)| Check::new(name, helpers(kind, &numbers), FIX))
        .into(),
        Err(error) => vec![Check::new("BPF helpers", Err(text(error)), FIX)],
    };
    let hook = socket_hook()
        .map(|()| "a program can be attached to every process's sockets".to_owned())
        .map_err(text);
    let fix = "let orchd see the root of the cgroup2 hierarchy, and use a kernel built with \
               CONFIG_CGROUP_BPF=y";
    helpers
        .into_iter()
        .chain([Check::new("socket hooks", hook, fix)])
        .collect()
}

fn helpers(kind: ProgramKind, numbers: &BTreeSet<u32>) -> Result<String, String> {
    let mut lacking = Vec::new();
    for number in numbers {
        let program = [instruction(CALL, *number), instruction(EXIT, 0)];
        match kernel::load_program(kind, &program) {
            Ok(_) => {}
            Err((error, log)) if log.is_empty() => return Err(text(error)),
            Err((_, log)) => {
                let line = log
                    .lines()
                    .find(|line| UNKNOWN.iter().any(|u| line.contains(u)));
                lacking.extend(line.map(str::to_owned));
            }
        }
    }
    match lacking.is_empty() {
        true => Ok(format!("all {} that are called are known", numbers.len())),
        false => Err(lacking.join(", ")),
    }
}

/// Attaches a program that lets everything pass, and detaches it again.
fn socket_hook() -> io::Result<()> {
    let root = mounts::cgroup2_root().map_err(io::Error::other)?;
    let program = [instruction(MOVE, 1), instruction(EXIT, 0)];
    let program =
        kernel::load_program(ProgramKind::Connect4, &program).map_err(|(error, _)| error)?;
    kernel::attach_to_cgroup(&File::open(root)?, &program).map(drop)
}

/// An instruction on register 0.
fn instruction(code: u8, immediate: u32) -> u64 {
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, 0, 0, 0, a, b, c, d])
}
