//! Ctrl-C and SIGTERM: noticed here, acted upon wherever the task waits.
//!
//! A signal only raises a flag. Every wait in [`crate::cmd`] and [`crate::wait`] looks at it and
//! returns an error, so the task unwinds the ordinary way and its guards clean up. Must not know
//! what is being cleaned up.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Turns SIGINT, SIGTERM and SIGHUP into errors of the waits that are under way. More of them do
/// not cut the cleaning up short: it takes a second or two.
pub fn install() -> Result<()> {
    let flag = Arc::clone(FLAG.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .with_context(|| format!("cannot handle signal {signal}"))?;
    }
    Ok(())
}

/// True once a signal came.
pub fn raised() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error once a signal came.
pub fn check() -> Result<()> {
    if raised() {
        bail!("interrupted");
    }
    Ok(())
}
