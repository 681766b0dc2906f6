//! The client that connects anew every time.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ask::Connection;
use crate::target::Target;

/// Prints how many connections a second were opened, used for one exchange and closed.
pub fn measure(target: &Target, seconds: u32) -> Result<()> {
    let address = target.resolve()?;
    let started = Instant::now();
    let limit = Duration::from_secs(seconds.into());
    let mut count = 0u32;
    while started.elapsed() < limit {
        Connection::open(address)?.exchange()?;
        count += 1;
    }
    println!("{:.1}", f64::from(count) / started.elapsed().as_secs_f64());
    Ok(())
}
