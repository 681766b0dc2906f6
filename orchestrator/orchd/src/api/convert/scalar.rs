//! Times, spans and small helpers that all nouns share.

use std::time::Duration;

use orch_core::objects::Meta;
use orch_core::time::Timestamp;
use serde_json::{Value, json};

/// A moment as Docker writes it: RFC 3339, UTC, up to nanoseconds.
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos()))
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// A span as Docker writes it: a whole number of nanoseconds, as far as its 63 bits reach.
pub fn nanos(span: Duration) -> u64 {
    const LIMIT: u64 = i64::MAX as u64;
    u64::try_from(span.as_nanos()).unwrap_or(LIMIT).min(LIMIT)
}

/// A span that Docker leaves out, or writes as 0, when it is not given.
pub fn nonzero_span(nanos: u64) -> Option<Duration> {
    (nanos != 0).then(|| Duration::from_nanos(nanos))
}

/// An optional text that Docker leaves empty when it is not given.
pub fn nonempty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// For `skip_serializing_if`: what says nothing is not written.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An object with the fields that all objects have, followed by `fields`.
pub fn object(id: &str, meta: &Meta, fields: Value) -> Value {
    let mut object = json!({
        "ID": id,
        "Version": { "Index": meta.version },
        "CreatedAt": rfc3339(meta.created_at),
        "UpdatedAt": rfc3339(meta.updated_at),
    });
    if let (Value::Object(into), Value::Object(fields)) = (&mut object, fields) {
        into.extend(fields);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_go_does() {
        let at = Timestamp::from_nanos(1_700_000_000_123_456_789);
        assert_eq!(rfc3339(at), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(rfc3339(Timestamp::from_nanos(0)), "1970-01-01T00:00:00Z");
        assert!(rfc3339(Timestamp::from_nanos(u64::MAX)).starts_with("2554-"));
    }

    #[test]
    fn spans_never_exceed_what_clients_can_read() {
        assert_eq!(nanos(Duration::from_secs(5)), 5_000_000_000);
        assert_eq!(nanos(Duration::MAX), i64::MAX as u64);
    }
}
