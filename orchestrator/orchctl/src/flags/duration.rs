//! Go's duration syntax (`1m30s`) and its inverse. The API carries durations as nanoseconds.

use std::{fmt, str::FromStr};

use super::FlagError;

/// A duration in nanoseconds, written and printed as Go's `time.Duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub i64);

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for GoDuration {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let invalid = || {
            FlagError::new(format!(
                "\"{text}\" is not a duration such as 300ms, 10s or 1m30s"
            ))
        };
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let (part, after) = take_part(rest).ok_or_else(invalid)?;
            total = total.checked_add(part).ok_or_else(invalid)?;
            rest = after;
        }
        Ok(Self(sign * total))
    }
}

/// Reads one `<decimal><unit>` and returns its nanoseconds and what follows it.
fn take_part(text: &str) -> Option<(i64, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        nanos = nanos.checked_add(i64::from(digit.to_digit(10)?) * place)?;
    }
    Some((nanos, after))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        match nanos {
            0 => write!(out, "0s"),
            1..1_000 => write!(out, "{sign}{nanos}ns"),
            1_000..1_000_000 => write!(out, "{sign}{}µs", fraction(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(out, "{sign}{}ms", fraction(nanos, 1_000_000)),
            _ => {
                let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000);
                let minutes = nanos / 60_000_000_000;
                match minutes {
                    0 => write!(out, "{sign}{seconds}s"),
                    1..60 => write!(out, "{sign}{minutes}m{seconds}s"),
                    _ => write!(out, "{sign}{}h{}m{seconds}s", minutes / 60, minutes % 60),
                }
            }
        }
    }
}

/// `nanos / unit` as a decimal without trailing zeros.
fn fraction(nanos: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_go_does() {
        for (text, nanos, printed) in [
            ("10s", 10_000_000_000, "10s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("2160h", 7_776_000_000_000_000, "2160h0m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("300ms", 300_000_000, "300ms"),
            ("-5us", -5_000, "-5µs"),
            (".5m", 30_000_000_000, "30s"),
            ("0", 0, "0s"),
        ] {
            let parsed: GoDuration = text.parse().unwrap();
            assert_eq!(parsed.0, nanos, "{text}");
            assert_eq!(parsed.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_duration() {
        for text in [
            "",
            "10",
            "s",
            "10x",
            "1m30",
            "-",
            ".s",
            "99999999999h",
            "1s ",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
