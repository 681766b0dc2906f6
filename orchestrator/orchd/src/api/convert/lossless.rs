//! Proof that a conversion lost nothing: what came in is compared with what it became.
//!
//! Docker's clients send many fields that say nothing (`null`, `""`, `{}`, `[]`, `0`, `false`);
//! those need no counterpart. Anything else must come back equal.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ConvertError;

/// Parses a wire type from `input`, with the path of the offending field in the error.
pub fn parse<W: DeserializeOwned>(input: &Value) -> Result<W, ConvertError> {
    let mut pruned = input.clone();
    drop_nulls(&mut pruned);
    serde_path_to_error::deserialize(pruned).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner();
        ConvertError::Malformed(match path.as_str() {
            "." => reason.to_string(),
            _ => format!("{path}: {reason}"),
        })
    })
}

/// Refuses the first thing said in `input` that `kept` does not say.
pub fn ensure_kept(input: &Value, kept: &impl Serialize) -> Result<(), ConvertError> {
    let kept =
        serde_json::to_value(kept).map_err(|error| ConvertError::Malformed(error.to_string()))?;
    compare(input, Some(&kept), "")
}

/// A field without a value is a field that was not given.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn compare(input: &Value, kept: Option<&Value>, path: &str) -> Result<(), ConvertError> {
    if says_nothing(input) {
        return Ok(());
    }
    let Some(kept) = kept else {
        return Err(ConvertError::UnsupportedField {
            field: first_said(input, path),
        });
    };
    match (input, kept) {
        (Value::Object(fields), Value::Object(kept)) => fields.iter().try_for_each(|(name, v)| {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            compare(v, lookup(kept, name), &path)
        }),
        (Value::Array(items), Value::Array(kept)) if items.len() == kept.len() => items
            .iter()
            .zip(kept)
            .enumerate()
            .try_for_each(|(i, (item, kept))| compare(item, Some(kept), &format!("{path}[{i}]"))),
        _ if same_scalar(input, kept) => Ok(()),
        _ => Err(ConvertError::UnsupportedValue {
            field: path.to_owned(),
            value: input.to_string(),
        }),
    }
}

/// Field names are compared as Docker's decoder does: without regard to case.
fn lookup<'a>(fields: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).or_else(|| {
        fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    })
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
    }
}

/// The deepest field that stands for `value`: what the user looks for in the request.
fn first_said(value: &Value, path: &str) -> String {
    match value {
        Value::Object(fields) => match fields.iter().find(|(_, v)| !says_nothing(v)) {
            Some((name, inner)) => first_said(inner, &format!("{path}.{name}")),
            None => path.to_owned(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            path.to_owned()
        }
    }
}

/// Equal values; addresses may be spelled differently, and ratios are kept in millionths.
fn same_scalar(input: &Value, kept: &Value) -> bool {
    match (input, kept) {
        (Value::String(a), Value::String(b)) => a == b || same_address(a, b),
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if (a - b).abs() < 1e-6)
        }
        _ => input == kept,
    }
}

fn same_address(a: &str, b: &str) -> bool {
    let nets = a.parse::<IpNet>().ok().zip(b.parse::<IpNet>().ok());
    let addresses = a.parse::<IpAddr>().ok().zip(b.parse::<IpAddr>().ok());
    nets.is_some_and(|(a, b)| a == b) || addresses.is_some_and(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_nothing_needs_no_counterpart() {
        let input = json!({"A": null, "B": "", "C": {}, "D": [], "E": 0, "F": false,
                           "G": {"H": {"I": 0.0}}});
        assert_eq!(ensure_kept(&input, &json!({})), Ok(()));
    }

    #[test]
    fn a_lost_field_is_named_with_its_full_path() {
        let input = json!({"A": {"B": [{"C": {"D": "x"}}]}});
        let error = ensure_kept(&input, &json!({"A": {"B": [{}]}})).unwrap_err();
        assert_eq!(error.to_string(), "field A.B[0].C.D is not supported yet");
    }

    #[test]
    fn a_changed_value_is_shown() {
        let error = ensure_kept(&json!({"A": "hyperv"}), &json!({"A": "default"})).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"field A: value "hyperv" is not supported yet"#
        );
    }

    #[test]
    fn list_items_must_all_come_back() {
        assert!(ensure_kept(&json!({"A": ["x", "y"]}), &json!({"A": ["x"]})).is_err());
        assert_eq!(
            ensure_kept(&json!({"A": ["x", ""]}), &json!({"A": ["x", ""]})),
            Ok(())
        );
    }

    #[test]
    fn spelling_of_names_addresses_and_ratios_may_differ() {
        let input = json!({"HealthCheck": 1, "Net": "FD00::/64", "Ratio": 0.30000001192092896});
        let kept = json!({"Healthcheck": 1, "Net": "fd00::/64", "Ratio": 0.3});
        assert_eq!(ensure_kept(&input, &kept), Ok(()));
    }

    #[test]
    fn wrong_types_are_reported_with_their_path() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        #[derive(Default)]
        struct Outer {
            replicas: u64,
        }
        let error = parse::<Outer>(&json!({"Replicas": "three"}))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("invalid JSON: Replicas: invalid type"),
            "{error}"
        );
        assert!(parse::<Outer>(&json!({"Replicas": null})).is_ok());
    }
}
