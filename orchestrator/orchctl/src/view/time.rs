//! Ages of RFC 3339 timestamps.

use jiff::Timestamp;

/// Whole seconds from `then` to `now`; 0 when `then` is no timestamp.
pub fn seconds_since(then: &str, now: Timestamp) -> i64 {
    then.parse::<Timestamp>()
        .map_or(0, |then| now.as_second() - then.as_second())
}

/// `2024-05-04 12:00:00.123456789 +0000 UTC`, as Go prints times.
pub(super) fn go_time(text: &str) -> String {
    let Ok(stamp) = text.parse::<Timestamp>() else {
        return text.to_owned();
    };
    let whole = stamp.strftime("%Y-%m-%d %H:%M:%S");
    let nanos = stamp.subsec_nanosecond();
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{whole}{fraction} +0000 UTC")
}
