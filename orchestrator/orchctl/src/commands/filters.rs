//! `-f key=value` to the API's `filters` parameter.

use serde_json::{Value, json};

use crate::flags::Assignment;

/// The JSON that the API takes; `None` when nothing was typed.
pub fn encode(filters: &[Assignment]) -> Option<String> {
    if filters.is_empty() {
        return None;
    }
    let mut encoded = json!({});
    for filter in filters {
        put(&mut encoded, &filter.key.to_lowercase(), &filter.value);
    }
    Some(encoded.to_string())
}

/// The filters with one more set of values for `key`.
pub fn encode_with(filters: &[Assignment], key: &str, values: &[String]) -> String {
    let mut encoded = json!({});
    for filter in filters {
        put(&mut encoded, &filter.key.to_lowercase(), &filter.value);
    }
    for value in values {
        put(&mut encoded, key, value);
    }
    encoded.to_string()
}

fn put(encoded: &mut Value, key: &str, value: &str) {
    if !encoded[key].is_object() {
        encoded[key] = json!({});
    }
    encoded[key][value] = json!(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_key_come_together() {
        let filters: Vec<Assignment> = ["name=a", "Name=b", "label=x=y"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(
            encode(&filters).unwrap(),
            r#"{"name":{"a":true,"b":true},"label":{"x=y":true}}"#
        );
        assert_eq!(encode(&[]), None);
        assert_eq!(
            encode_with(&[], "service", &["s".into()]),
            r#"{"service":{"s":true}}"#
        );
    }
}
