//! How far a manager's clock is from this host's.

use std::time::{Duration, SystemTime};

/// How far a manager's clock is ahead of this host's, in milliseconds; negative: behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset(pub i64);

impl ClockOffset {
    /// From a call that was `sent` and answered (`received`) by this host's clock, and in which the
    /// manager read its own as `theirs`. On average the manager is asked half-way.
    pub fn of_call(sent: SystemTime, received: SystemTime, theirs: u64) -> Self {
        let took = received.duration_since(sent).unwrap_or_default();
        let ours = milliseconds(sent + took / 2);
        let ahead = i128::from(theirs) - i128::from(ours);
        Self(i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX }))
    }

    /// How far apart the clocks are.
    pub fn distance(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

/// Milliseconds since 1970, as they go over the wire.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_asked_half_way() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let offset = |theirs| ClockOffset::of_call(at(10_000), at(10_200), theirs);
        assert_eq!(offset(10_100), ClockOffset(0));
        assert_eq!(offset(12_100), ClockOffset(2000));
        assert_eq!(offset(9_100), ClockOffset(-1000));
        assert_eq!(offset(9_100).distance(), Duration::from_secs(1));
        assert_eq!(offset(u64::MAX), ClockOffset(i64::MAX));
        // A clock that was set back meanwhile.
        let back = ClockOffset::of_call(at(10_000), at(5_000), 10_000);
        assert_eq!(back, ClockOffset(0));
    }
}
