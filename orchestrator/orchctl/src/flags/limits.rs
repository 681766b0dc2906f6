//! Amounts: bytes, CPUs, ulimits and generic resources.

use std::str::FromStr;

use serde_json::{Value, json};

use super::FlagError;

/// A number of bytes; written with the binary suffixes `b k m g t p`, as `64m` or `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub i64);

impl FromStr for Bytes {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let invalid =
            || FlagError::new(format!("invalid size: '{text}' (examples: 512k, 64m, 1g)"));
        let number_end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(number_end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let suffix = suffix
            .strip_prefix(' ')
            .unwrap_or(suffix)
            .to_ascii_lowercase();
        let power = match suffix.as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            "p" | "pb" | "pib" => 5,
            _ => return Err(invalid()),
        };
        let bytes = number * 1024f64.powi(power);
        // 2^63 itself does not fit; every smaller double converts exactly or rounds down.
        if !(0.0..9_223_372_036_854_775_808.0).contains(&bytes) {
            return Err(invalid());
        }
        Ok(Self(bytes as i64))
    }
}

/// CPUs in billionths, written as a decimal such as `0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NanoCpus(pub i64);

impl FromStr for NanoCpus {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let invalid = || FlagError::new(format!("failed to parse {text} as a number of CPUs"));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 9 {
            return Err(FlagError::new(format!("value is too precise: {text}")));
        }
        let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return Err(invalid());
        }
        format!("{whole}{fraction:0<9}")
            .parse()
            .map(Self)
            .map_err(|_| invalid())
    }
}

/// `name=soft[:hard]`; `-1` means unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// The limit's name, such as `nofile`.
    pub name: String,
    soft: i64,
    hard: i64,
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl FromStr for Ulimit {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let invalid = || FlagError::new(format!("invalid ulimit argument: {text}"));
        let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
        if !ULIMITS.contains(&name) {
            return Err(FlagError::new(format!("invalid ulimit type: {name}")));
        }
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let soft: i64 = soft.parse().map_err(|_| invalid())?;
        let hard: i64 = hard.parse().map_err(|_| invalid())?;
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(FlagError::new(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            soft,
            hard,
        })
    }
}

impl Ulimit {
    /// The API's shape.
    pub fn to_json(&self) -> Value {
        json!({ "Name": self.name, "Soft": self.soft, "Hard": self.hard })
    }
}

/// `kind=amount`, a discrete generic resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenericResource {
    /// The resource's kind, such as `gpu`.
    pub kind: String,
    amount: i64,
}

impl FromStr for GenericResource {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let invalid = || {
            FlagError::new(format!(
                "invalid generic-resource format `{text}` expected `name=value`, value an integer"
            ))
        };
        let (kind, amount) = text.split_once('=').ok_or_else(invalid)?;
        let amount = amount.parse().map_err(|_| invalid())?;
        if kind.is_empty() || amount < 0 {
            return Err(invalid());
        }
        Ok(Self {
            kind: kind.to_owned(),
            amount,
        })
    }
}

impl GenericResource {
    /// The API's shape.
    pub fn to_json(&self) -> Value {
        json!({ "DiscreteResourceSpec": { "Kind": self.kind, "Value": self.amount } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_binary_suffixes() {
        assert_eq!("64m".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("1.5GiB".parse(), Ok(Bytes(3 << 29)));
        assert_eq!("512".parse(), Ok(Bytes(512)));
        for text in ["", "m", "-1m", "1x", "1 1", "9999999999p"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!("0.1".parse(), Ok(NanoCpus(100_000_000)));
        assert_eq!("2".parse(), Ok(NanoCpus(2_000_000_000)));
        assert_eq!(".5".parse(), Ok(NanoCpus(500_000_000)));
        for text in ["", ".", "-1", "1e3", "0.0000000001", "a"] {
            assert!(text.parse::<NanoCpus>().is_err(), "{text}");
        }
    }

    #[test]
    fn ulimits_check_name_and_order() {
        let ulimit: Ulimit = "nofile=1024:2048".parse().unwrap();
        assert_eq!(
            ulimit.to_json(),
            json!({"Name": "nofile", "Soft": 1024, "Hard": 2048})
        );
        for text in ["nofile", "bogus=1", "nofile=2:1", "nofile=a", "nofile=-1:5"] {
            assert!(text.parse::<Ulimit>().is_err(), "{text}");
        }
    }
}
