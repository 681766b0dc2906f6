//! Identifiers of cluster objects.
//!
//! An id is 25 characters of lower-case base 36, the form Docker Swarm uses, so that tools which
//! match ids by pattern or length keep working.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Characters in an id: enough base-36 digits for 128 random bits.
pub const ID_LEN: usize = 25;

/// The text is not an id (25 lower-case base-36 characters).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an id: expected 25 characters of 0-9 and a-z")]
pub struct InvalidId(pub String);

/// Renders 128 random bits as an id.
fn base36(mut bits: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut out = [b'0'; ID_LEN];
    for slot in out.iter_mut().rev() {
        *slot = DIGITS[(bits % 36) as usize];
        bits /= 36;
    }
    out.iter().map(|b| char::from(*b)).collect()
}

macro_rules! id_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id made of these random bits.
            pub fn from_random(bits: u128) -> Self {
                Self(base36(bits))
            }

            /// Parses an id as written in a certificate, a path or a label.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid = text.len() == ID_LEN
                    && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
                if valid { Ok(Self(text.to_owned())) } else { Err(InvalidId(text.to_owned())) }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

id_types! {
    /// Names the cluster; the organisation of every certificate.
    ClusterId,
    /// Names a host that joined; the common name of its certificate.
    NodeId,
    /// Names a service.
    ServiceId,
    /// Names one task: one run of one container.
    TaskId,
    /// Names an overlay network.
    NetworkId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_pattern_makes_a_parsable_id() {
        for bits in [0, 1, 35, 36, u128::MAX] {
            let id = TaskId::from_random(bits);
            assert_eq!(TaskId::parse(id.as_str()), Ok(id));
        }
    }

    #[test]
    fn wrong_lengths_and_characters_are_refused() {
        for text in [
            "",
            "abc",
            "ABCDEFGHIJKLMNOPQRSTUVWXY",
            "0123456789012345678901234_",
        ] {
            assert_eq!(TaskId::parse(text), Err(InvalidId(text.to_owned())));
        }
    }
}
