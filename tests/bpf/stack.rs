//! Whether the programs fit the stack as kernels before 6.8 count it, without such a kernel.
//!
//! `check_max_stack_depth` of `kernel/bpf/verifier.c` in Linux 6.1: each frame on a chain of calls
//! counts with what its function uses, at least 1 byte, rounded up to 32 bytes.

use std::collections::{BTreeMap, BTreeSet};

use aya_obj::Object;
use aya_obj::generated::bpf_insn;

use crate::world::object;

/// `MAX_BPF_STACK`.
const STACK: i32 = 512;
/// `BPF_PSEUDO_CALL`.
const CALL_OF_FUNCTION: u8 = 1;
/// The register that points to the end of a frame.
const FRAME: u8 = 10;

/// What one function uses, and the functions that it calls, each by its first instruction.
#[derive(Debug, Default)]
struct Function {
    bytes: i32,
    calls: BTreeSet<usize>,
}

/// The functions of a program that was linked.
fn functions(program: &[bpf_insn]) -> BTreeMap<usize, Function> {
    let callee = |(at, insn): (usize, &bpf_insn)| {
        let is_call = insn.code == 0x85 && insn.src_reg() == CALL_OF_FUNCTION;
        is_call.then(|| at.strict_add_signed(insn.imm as isize + 1))
    };
    let starts: BTreeSet<usize> = program.iter().enumerate().filter_map(callee).collect();
    let mut functions = BTreeMap::from([(0, Function::default())]);
    functions.extend(starts.iter().map(|start| (*start, Function::default())));
    let mut copies = BTreeSet::new();
    for (at, insn) in program.iter().enumerate() {
        let (_, function) = functions.range_mut(..=at).next_back().unwrap();
        function.calls.extend(callee((at, insn)));
        let memory = match insn.code & 7 {
            1 => insn.src_reg() == FRAME,
            2 | 3 => insn.dst_reg() == FRAME,
            _ => false,
        };
        let from_end = match insn.code {
            // `a = r10`, and then `a += offset`.
            0xbf if insn.src_reg() == FRAME => {
                copies.insert(insn.dst_reg());
                continue;
            }
            0x07 if copies.contains(&insn.dst_reg()) => insn.imm,
            _ if memory => insn.off.into(),
            _ => 0,
        };
        if insn.code == 0xbf || insn.code == 0x07 {
            copies.remove(&insn.dst_reg());
        }
        function.bytes = function.bytes.max(-from_end);
    }
    functions
}

/// The most that a chain of calls takes, from the function that begins at `start`.
fn depth(functions: &BTreeMap<usize, Function>, start: usize) -> i32 {
    let function = &functions[&start];
    let below = function
        .calls
        .iter()
        .map(|callee| depth(functions, *callee));
    (function.bytes.max(1) + 31) / 32 * 32 + below.max().unwrap_or_default()
}

#[test]
fn every_chain_of_calls_fits_the_stack_of_older_kernels() {
    let data = std::fs::read(object()).unwrap();
    let mut object = Object::parse(&data).unwrap();
    let sections = object.functions.keys().map(|(section, _)| *section);
    object.relocate_calls(&sections.collect()).unwrap();
    let depths: BTreeMap<_, _> = object
        .programs
        .iter()
        .map(|(name, program)| (name, &object.functions[&program.function_key()]))
        .map(|(name, linked)| (name.as_str(), depth(&functions(&linked.instructions), 0)))
        .collect();
    assert!(depths["task_ingress"] > STACK / 4, "{depths:?}");
    assert!(depths.values().all(|depth| *depth <= STACK), "{depths:?}");
}
