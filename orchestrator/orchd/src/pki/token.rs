//! Join tokens: `SWMTKN-1-<digest of the root certificate>-<secret>`, both in base 36.
//!
//! The digest lets a host check the cluster before it trusts it, the secret lets the cluster
//! check the host. A [`JoinToken`] that exists is well-formed.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

use num_bigint::BigUint;
use orch_core::objects::cluster::JoinTokens;
use orch_core::objects::node::Role;

use super::RootDigest;

const PREFIX: &str = "SWMTKN";
const VERSION: &str = "1";
const DIGEST_CHARS: usize = 50;
const SECRET_CHARS: usize = 25;
const SECRET_LEN: usize = 16;

/// The text is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error("it must begin with \"SWMTKN-1-\"")]
    WrongPrefix,
    /// It is of another version.
    #[error("it is of version \"{0}\", this cluster software knows version 1")]
    UnknownVersion(String),
    /// It ends too early.
    #[error("the {part} has {found} of {expected} characters: the token is truncated")]
    Truncated {
        /// `CA digest` or `secret`.
        part: &'static str,
        /// Characters found.
        found: usize,
        /// Characters expected.
        expected: usize,
    },
    /// There is more than there should be.
    #[error("the {part} has {found} instead of {expected} characters")]
    TooLong {
        /// `CA digest` or `secret`.
        part: &'static str,
        /// Characters found.
        found: usize,
        /// Characters expected.
        expected: usize,
    },
    /// A character that base 36 has not.
    #[error("the {part} holds \"{character}\", which is not one of 0-9 and a-z")]
    NotBase36 {
        /// `CA digest` or `secret`.
        part: &'static str,
        /// The character.
        character: char,
    },
    /// A number that has too many bits.
    #[error("the {0} is out of range")]
    OutOfRange(&'static str),
}

/// A well-formed join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    digest: RootDigest,
    secret: [u8; SECRET_LEN],
}

impl JoinToken {
    /// A new token of the cluster whose root certificate has this digest.
    pub fn generate(digest: RootDigest) -> Self {
        Self {
            digest,
            secret: rand::random(),
        }
    }

    /// The digest that the cluster's root certificate must have.
    pub fn digest(&self) -> &RootDigest {
        &self.digest
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    fn same_as(&self, other: &Self) -> bool {
        let own = self.digest.0.iter().chain(&self.secret);
        let others = other.digest.0.iter().chain(&other.secret);
        let difference = own
            .zip(others)
            .fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        difference == 0
    }
}

/// The role that `presented` gives in a cluster with these tokens; `None` is a stranger.
pub fn role_of(presented: &JoinToken, tokens: &JoinTokens) -> Option<Role> {
    let matches = |text: &str| text.parse().is_ok_and(|t: JoinToken| t.same_as(presented));
    // Both are compared always: the time must not tell which one came close.
    let (worker, manager) = (matches(&tokens.worker), matches(&tokens.manager));
    match (worker, manager) {
        (_, true) => Some(Role::Manager),
        (true, false) => Some(Role::Worker),
        (false, false) => None,
    }
}

/// New tokens for a new cluster.
pub fn new_tokens(digest: RootDigest) -> JoinTokens {
    JoinTokens {
        worker: JoinToken::generate(digest).to_string(),
        manager: JoinToken::generate(digest).to_string(),
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().splitn(4, '-');
        if parts.next() != Some(PREFIX) {
            return Err(TokenError::WrongPrefix);
        }
        match parts.next() {
            Some(VERSION) => {}
            Some("") | None => return Err(TokenError::WrongPrefix),
            Some(other) => return Err(TokenError::UnknownVersion(other.to_owned())),
        }
        let digest = parse_part("CA digest", parts.next().unwrap_or(""), DIGEST_CHARS)?;
        let secret = parse_part("secret", parts.next().unwrap_or(""), SECRET_CHARS)?;
        Ok(Self {
            digest: RootDigest(digest),
            secret,
        })
    }
}

fn parse_part<const N: usize>(
    part: &'static str,
    text: &str,
    expected: usize,
) -> Result<[u8; N], TokenError> {
    let base36 = |c: &char| c.is_ascii_digit() || c.is_ascii_lowercase();
    if let Some(character) = text.chars().find(|c| !base36(c)) {
        return Err(TokenError::NotBase36 { part, character });
    }
    let found = text.len();
    if found < expected {
        return Err(TokenError::Truncated {
            part,
            found,
            expected,
        });
    }
    if found > expected {
        return Err(TokenError::TooLong {
            part,
            found,
            expected,
        });
    }
    let number = BigUint::parse_bytes(text.as_bytes(), 36).ok_or(TokenError::OutOfRange(part))?;
    let bytes = number.to_bytes_be();
    let pad = N
        .checked_sub(bytes.len())
        .ok_or(TokenError::OutOfRange(part))?;
    let mut out = [0; N];
    out[pad..].copy_from_slice(&bytes);
    Ok(out)
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = BigUint::from_bytes_be(&self.digest.0).to_str_radix(36);
        let secret = BigUint::from_bytes_be(&self.secret).to_str_radix(36);
        write!(
            f,
            "{PREFIX}-{VERSION}-{digest:0>DIGEST_CHARS$}-{secret:0>SECRET_CHARS$}"
        )
    }
}

impl fmt::Debug for JoinToken {
    /// Secrets do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::generate(RootDigest([7; 32]))
    }

    #[test]
    fn tokens_survive_their_text_form() {
        for digest in [[0; 32], [255; 32], [7; 32]] {
            let token = JoinToken {
                digest: RootDigest(digest),
                secret: [0; 16],
            };
            let text = token.to_string();
            assert_eq!(text.len(), "SWMTKN-1--".len() + DIGEST_CHARS + SECRET_CHARS);
            assert_eq!(text.parse(), Ok(token));
        }
    }

    #[test]
    fn every_truncation_is_refused_and_named() {
        let text = token().to_string();
        for cut in 0..text.len() {
            let error = text[..cut].parse::<JoinToken>().unwrap_err();
            let expected = match cut {
                0..8 => matches!(error, TokenError::WrongPrefix),
                _ => matches!(error, TokenError::Truncated { .. }),
            };
            assert!(expected, "{cut}: {error}");
        }
    }

    #[test]
    fn malformed_tokens_say_what_is_wrong() {
        let text = token().to_string();
        let cases = [
            ("", "must begin"),
            ("hello", "must begin"),
            (&text.replace("SWMTKN-1", "SWMTKN-2"), "version \"2\""),
            (&format!("{text}0"), "26 instead of 25"),
            (&text.to_uppercase(), "0-9 and a-z"),
            (
                &format!("SWMTKN-1-{}-{}", "z".repeat(50), "0".repeat(25)),
                "out of range",
            ),
            (
                &format!("SWMTKN-1-{}-{}", "0".repeat(50), "z".repeat(25)),
                "out of range",
            ),
        ];
        for (text, words) in cases {
            let error = text.parse::<JoinToken>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_token_decides_the_role() {
        let tokens = new_tokens(RootDigest([7; 32]));
        let role = |text: &str| role_of(&text.parse().unwrap(), &tokens);
        assert_eq!(role(&tokens.worker), Some(Role::Worker));
        assert_eq!(role(&tokens.manager), Some(Role::Manager));
        assert_eq!(role(&token().to_string()), None);
    }
}
