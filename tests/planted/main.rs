//! The simulator finds every fault that is planted, within the seeds of an ordinary run.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use orch_core::planted::{self, Fault};
use orch_tests::sim::{self, Options, Violation};

/// Seeds in which a fault has to show.
const SEEDS: u64 = 300;

/// Runs a seed; a panic of the raft crate, which looks after itself, is a violation too.
fn violated(seed: u64) -> Option<String> {
    let run = AssertUnwindSafe(|| sim::run(Options::of_seed(seed)));
    match panic::catch_unwind(run) {
        Ok(Ok(_)) => None,
        Ok(Err(Violation(words))) => Some(words),
        Err(panic) => Some(match panic.downcast_ref::<String>() {
            Some(words) => format!("raft: {words}"),
            None => "raft panics".to_owned(),
        }),
    }
}

/// The first seed, as the threads come to them, in which a fault shows, and how.
fn found(fault: Fault) -> Option<(u64, String)> {
    let (next, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let work = || {
        planted::plant(Some(fault));
        while !done.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > SEEDS {
                break;
            }
            if let Some(words) = violated(seed) {
                done.store(true, Ordering::Relaxed);
                return Some((seed, words));
            }
        }
        None
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let found = workers.into_iter().filter_map(|w| w.join().ok().flatten());
        found.min_by_key(|(seed, _)| *seed)
    })
}

#[test]
fn every_planted_fault_is_found() {
    // What is caught is told below.
    panic::set_hook(Box::new(|_| {}));
    let found: Vec<_> = Fault::ALL
        .iter()
        .map(|fault| (fault, found(*fault)))
        .collect();
    drop(panic::take_hook());
    for (fault, found) in &found {
        match found {
            Some((seed, words)) => {
                let first = words.lines().last().unwrap_or_default();
                let words = words.lines().next().unwrap_or(first);
                println!("{fault:?}: seed {seed}: {words}");
            }
            None => println!("{fault:?}: not found in {SEEDS} seeds"),
        }
    }
    let missed: Vec<_> = found.iter().filter(|(_, found)| found.is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
