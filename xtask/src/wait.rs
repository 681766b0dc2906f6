//! Waiting for a condition with a deadline: the only way anything here waits.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::interrupt;

const PAUSE: Duration = Duration::from_millis(50);
/// A variable of the environment: how many times more patient to be than on a usual machine.
const SLOWNESS: &str = "ORCH_SLOWNESS";

/// A limit that is meant for a usual machine, on this one.
pub fn patient(limit: Duration) -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| {
        let told = std::env::var(SLOWNESS).ok();
        told.and_then(|factor| factor.parse().ok()).unwrap_or(1)
    });
    limit.saturating_mul((*FACTOR).max(1))
}

/// Tries `attempt` until it succeeds or `limit` has passed. The error then is that of the last
/// attempt, under a line that says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    until_always(what, limit, || {
        if interrupt::raised() {
            return Ok(Err(anyhow!("interrupted while waiting for {what}")));
        }
        attempt().map(Ok)
    })?
}

/// As [`until`], but goes on after Ctrl-C: for cleaning up.
pub fn until_always<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let limit = patient(limit);
    let deadline = Instant::now() + limit;
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            return Err(error)
                .with_context(|| format!("waited {} s for {what}", limit.as_secs_f32()));
        }
        thread::sleep(PAUSE);
    }
}

/// Seconds, for readable call sites.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
