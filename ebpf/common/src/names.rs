//! Names that are answered in the kernel.

use crate::address::{Address, Vni};

/// Longest name that is answered in the kernel, as it lies in a DNS message: length bytes and the
/// closing zero included. Longer names are the DNS listener's.
pub const NAME_BYTES: usize = 128;

/// How many addresses of a name are kept; of more, the loader keeps any.
pub const NAME_ADDRESSES: usize = 32;

/// Key of `NAMES`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameKey {
    /// The network.
    pub vni: Vni,
    /// The name in the wire form of RFC 1035 section 3.1, lower case, then zeros.
    pub name: [u8; NAME_BYTES],
}

impl NameKey {
    /// From a name in its usual form: labels joined by dots, with or without the final one.
    ///
    /// `None` for a name that is empty, has an empty label or one of more than 63 bytes, or is
    /// longer than [`NAME_BYTES`] on the wire: it cannot be answered in the kernel.
    pub fn new(vni: Vni, name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut wire = [0; NAME_BYTES];
        let mut at = 0;
        for label in name.split('.') {
            if label.is_empty() || label.len() > 63 || at + 1 + label.len() >= NAME_BYTES {
                return None;
            }
            wire[at] = u8::try_from(label.len()).ok()?;
            wire[at + 1..][..label.len()].copy_from_slice(label.as_bytes());
            wire[at + 1..][..label.len()].make_ascii_lowercase();
            at += 1 + label.len();
        }
        Some(Self { vni, name: wire })
    }
}

/// The addresses a name stands for.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameAddresses {
    /// How many of `addresses` count; 0 means that the name exists and has no address.
    pub count: u32,
    /// The addresses, all of the name's network.
    pub addresses: [Address; NAME_ADDRESSES],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_encoded_in_lower_case() {
        let key = NameKey::new(Vni::new(1), "Tasks.redis2.").unwrap();
        assert!(key.name.starts_with(b"\x05tasks\x06redis2\0"));
        assert!(key.name[14..].iter().all(|byte| *byte == 0));
        assert_eq!(NameKey::new(Vni::new(1), "tasks.redis2"), Some(key));
    }

    #[test]
    fn names_that_no_message_can_carry_are_refused() {
        use core::str::from_utf8;
        assert_eq!(NameKey::new(Vni::HOST, ""), None);
        assert_eq!(NameKey::new(Vni::HOST, "a..b"), None);
        assert_eq!(
            NameKey::new(Vni::HOST, from_utf8(&[b'a'; 64]).unwrap()),
            None
        );
        let mut long = [b'a'; 127];
        long[63] = b'.';
        // 63 + 63 bytes, two length bytes and the closing zero: one too many.
        assert_eq!(NameKey::new(Vni::HOST, from_utf8(&long).unwrap()), None);
        assert!(NameKey::new(Vni::HOST, from_utf8(&long[1..]).unwrap()).is_some());
    }
}
