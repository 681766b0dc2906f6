//! The client that connects anew every time.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ask::Connection;
use crate::target::Target;

/// Prints how many connections a second were opened, used for one exchange and reset: one that is
/// closed keeps its port for a minute, and the next measurement would be of how ports are found.
pub fn measure(target: &Target, seconds: u32) -> Result<()> {
    let address = target.resolve()?;
    let started = Instant::now();
    let limit = Duration::from_secs(seconds.into());
    let mut count = 0u32;
    while started.elapsed() < limit {
        let mut connection = Connection::open(address)?;
        connection.exchange()?;
        connection.reset()?;
        count += 1;
    }
    println!("{:.1}", f64::from(count) / started.elapsed().as_secs_f64());
    Ok(())
}
