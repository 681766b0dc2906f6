//! The `filters` parameter of lists: in both forms that clients send, with unknown names refused.

use std::collections::BTreeMap;

use orch_core::objects::Labels;
use serde_json::Value;

use super::error::ApiError;

/// What a list is narrowed to: per name, the values of which one must fit.
#[derive(Debug, Default, PartialEq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses `{"name": ["a", "b"]}` or, from old clients, `{"name": {"a": true}}`.
    pub fn parse(text: &str, accepted: &[&str]) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let malformed = || ApiError::bad_request(format!("invalid filter: {text}"));
        let fields: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| malformed())?;
        let mut filters = BTreeMap::new();
        for (name, values) in fields {
            if !accepted.contains(&name.as_str()) {
                return Err(ApiError::bad_request(format!("invalid filter '{name}'")));
            }
            let values = match values {
                Value::Array(items) => items
                    .into_iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<_>>()
                    .ok_or_else(malformed)?,
                Value::Object(set) => set
                    .into_iter()
                    .filter(|(_, wanted)| wanted.as_bool() == Some(true))
                    .map(|(value, _)| value)
                    .collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    return Err(malformed());
                }
            };
            filters.insert(name, values);
        }
        Ok(Self(filters))
    }

    /// The values of a filter; none means that it does not narrow.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether one of the filter's values fits, or the filter is not given.
    pub fn any(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(name);
        values.is_empty() || values.iter().any(|value| fits(value))
    }

    /// Whether all values of a label filter (`key` or `key=value`) are among `labels`.
    pub fn labels(&self, name: &str, labels: &Labels) -> bool {
        self.values(name)
            .iter()
            .all(|wanted| match wanted.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
                None => labels.contains_key(wanted),
            })
    }

    /// The one truth value of a filter, if it is given.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.values(name) {
            [] => Ok(None),
            [value] => match value.as_str() {
                "1" | "true" => Ok(Some(true)),
                "0" | "false" => Ok(Some(false)),
                other => Err(Self::invalid(name, other)),
            },
            [_, other, ..] => Err(Self::invalid(name, other)),
        }
    }

    /// Refuses values that are not among `accepted`.
    pub fn check(&self, name: &str, accepted: &[&str]) -> Result<(), ApiError> {
        match self
            .values(name)
            .iter()
            .find(|value| !accepted.contains(&value.as_str()))
        {
            Some(value) => Err(Self::invalid(name, value)),
            None => Ok(()),
        }
    }

    fn invalid(name: &str, value: &str) -> ApiError {
        ApiError::bad_request(format!("invalid filter '{name}={value}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let new = Filters::parse(r#"{"name":["a","b"]}"#, &["name"]).unwrap();
        let old = Filters::parse(r#"{"name":{"a":true,"b":true,"c":false}}"#, &["name"]).unwrap();
        assert_eq!(new, old);
        assert!(new.any("name", |value| value == "b"));
        assert!(!new.any("name", |value| value == "c"));
        assert!(new.any("id", |_| false));
    }

    #[test]
    fn labels_must_all_fit() {
        let labels = Labels::from([("a".to_owned(), "1".to_owned())]);
        let fits = |text| {
            Filters::parse(text, &["label"])
                .unwrap()
                .labels("label", &labels)
        };
        assert!(fits(r#"{"label":["a"]}"#));
        assert!(fits(r#"{"label":["a=1","a"]}"#));
        assert!(!fits(r#"{"label":["a=2"]}"#));
        assert!(!fits(r#"{"label":["a","b"]}"#));
    }

    #[test]
    fn unknown_filters_and_broken_json_are_refused() {
        for text in [
            r#"{"colour":["red"]}"#,
            "{",
            r#"{"name":"a"}"#,
            r#"{"name":[1]}"#,
            "[]",
        ] {
            assert_eq!(
                Filters::parse(text, &["name"]).unwrap_err().status(),
                400,
                "{text}"
            );
        }
        assert_eq!(Filters::parse("", &[]), Ok(Filters::default()));
    }
}
