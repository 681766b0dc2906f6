//! `key=value` lists: labels, environment, driver options, `service=replicas`, host mappings.

use std::{convert::Infallible, net::IpAddr, str::FromStr};

use super::FlagError;

/// A label or an option: `key=value`, or `key` alone for an empty value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEntry {
    /// Never empty.
    pub key: String,
    /// May be empty.
    pub value: String,
}

impl FromStr for LabelEntry {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.trim().is_empty() {
            return Err(FlagError::new(format!(
                "empty name on \"{text}\", expected key=value"
            )));
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// `key=value` where both are needed: `service scale web=3`, `--filter name=web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Left of the first `=`, trimmed, never empty.
    pub key: String,
    /// Right of it, trimmed.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err(FlagError::new(format!(
                "invalid format \"{text}\", expected key=value"
            ))),
        }
    }
}

/// One environment entry as the container will see it: `KEY=value`. A name without a value takes
/// the value from this process's own environment, and is dropped (`None`) when it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvEntry(pub Option<String>);

impl FromStr for EnvEntry {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let (name, value) = match text.split_once('=') {
            Some((name, _)) => (name, Some(text.to_owned())),
            None => (
                text,
                std::env::var(text)
                    .ok()
                    .map(|value| format!("{text}={value}")),
            ),
        };
        if name.is_empty() {
            return Err(FlagError::new(format!(
                "invalid environment variable: {text}"
            )));
        }
        Ok(Self(value))
    }
}

/// Reads the text of an `--env-file`: one entry a line, `#` starts a comment line.
pub fn parse_env_file(text: &str) -> Result<Vec<String>, FlagError> {
    let mut entries = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = raw.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.chars().any(char::is_whitespace) {
            return Err(FlagError::new(format!(
                "line {}: variable '{name}' contains whitespaces",
                index + 1
            )));
        }
        let EnvEntry(entry) = line
            .parse()
            .map_err(|error| FlagError::new(format!("line {}: {error}", index + 1)))?;
        entries.extend(entry);
    }
    Ok(entries)
}

/// `host:ip` (or `host=ip`), stored in the API as `ip host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMapping {
    /// The name that will resolve.
    pub host: String,
    /// Its address; `None` only in `--host-rm`, where the name alone removes every mapping.
    pub address: Option<IpAddr>,
}

impl HostMapping {
    /// Parses an addition, where the address is needed.
    pub fn parse_complete(text: &str) -> Result<Self, FlagError> {
        let mapping: Self = text
            .parse()
            .unwrap_or_else(|never: Infallible| match never {});
        match (&mapping.address, mapping.host.is_empty()) {
            (Some(_), false) => Ok(mapping),
            _ => Err(FlagError::new(format!(
                "bad format for add-host: \"{text}\""
            ))),
        }
    }

    /// The `/etc/hosts` order that the API uses.
    pub fn to_entry(&self) -> Option<String> {
        self.address
            .map(|address| format!("{address} {}", self.host))
    }
}

impl FromStr for HostMapping {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let split = text.split_once('=').or_else(|| text.split_once(':'));
        let parsed = split.and_then(|(host, address)| {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            Some(Self {
                host: host.to_owned(),
                address: Some(bare.parse().ok()?),
            })
        });
        Ok(parsed.unwrap_or_else(|| Self {
            host: text.to_owned(),
            address: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_lack_a_value_but_not_a_key() {
        assert_eq!(
            "a=b=c".parse(),
            Ok(LabelEntry {
                key: "a".into(),
                value: "b=c".into()
            })
        );
        assert_eq!(
            "a".parse(),
            Ok(LabelEntry {
                key: "a".into(),
                value: String::new()
            })
        );
        assert!("=b".parse::<LabelEntry>().is_err());
    }

    #[test]
    fn assignments_need_both_sides() {
        assert_eq!(
            "web=3".parse(),
            Ok(Assignment {
                key: "web".into(),
                value: "3".into()
            })
        );
        assert!("web".parse::<Assignment>().is_err());
        assert!("=3".parse::<Assignment>().is_err());
    }

    #[test]
    fn env_files_skip_comments_and_name_the_bad_line() {
        assert_eq!(
            parse_env_file("# c\n\nA=1\n  B=x y\n").unwrap(),
            ["A=1", "B=x y"]
        );
        let error = parse_env_file("A=1\nB C=2\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: variable 'B C' contains whitespaces");
    }

    #[test]
    fn host_mappings_take_both_families() {
        let entry = |text| {
            HostMapping::parse_complete(text)
                .unwrap()
                .to_entry()
                .unwrap()
        };
        assert_eq!(entry("db:10.0.0.1"), "10.0.0.1 db");
        assert_eq!(entry("db:::1"), "::1 db");
        assert_eq!(entry("db=[::1]"), "::1 db");
        assert!(HostMapping::parse_complete("db").is_err());
        assert!(HostMapping::parse_complete("db:nowhere").is_err());
    }
}
