//! Names that are answered in the kernel.

use crate::address::{Address, Vni};
use crate::bytes::Be32;

/// Longest name that is answered in the kernel, as it lies in a DNS message: length bytes and the
/// closing zero included. Longer names are the DNS listener's.
pub const NAME_BYTES: usize = 128;

/// How many addresses of a name are kept per family; of more, the loader keeps any.
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

/// The addresses a name stands for, all of its network. A family without any is answered with no
/// data: the name exists.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameAddresses {
    /// How many of `v4` count.
    pub count_v4: u32,
    /// How many of `v6` count.
    pub count_v6: u32,
    /// The IPv4 addresses.
    pub v4: [Be32; NAME_ADDRESSES],
    /// The IPv6 addresses.
    pub v6: [Address; NAME_ADDRESSES],
}

impl NameAddresses {
    /// Adds an address, unless its family has [`NAME_ADDRESSES`] already.
    pub fn add(&mut self, address: Address) {
        if address.is_v4() {
            if let Some(room) = self.v4.get_mut(self.count_v4 as usize) {
                *room = address.v4();
                self.count_v4 += 1;
            }
        } else if let Some(room) = self.v6.get_mut(self.count_v6 as usize) {
            *room = address;
            self.count_v6 += 1;
        }
    }
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
    fn addresses_are_kept_by_family_as_far_as_they_fit() {
        let mut addresses = NameAddresses::default();
        for last in 0..40 {
            addresses.add(Address::from_v4(Be32::new(last)));
        }
        addresses.add(Address::MESH_V6);
        assert_eq!((addresses.count_v4, addresses.count_v6), (32, 1));
        assert_eq!(addresses.v4[31], Be32::new(31));
        assert_eq!(addresses.v6[0], Address::MESH_V6);
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
