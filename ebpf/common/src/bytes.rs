//! Integers that lie in memory in network byte order.

/// A 16-bit integer in network byte order.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be16(u16);

impl Be16 {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// From the host's order.
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be())
    }

    /// To the host's order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From the bytes of a packet.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes))
    }

    /// The integer as it lies in memory, which is what checksum helpers take.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// With its two bytes exchanged.
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self(self.0.swap_bytes())
    }

    /// The bytes as they go into a packet.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }
}

/// A 32-bit integer in network byte order.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be32(u32);

impl Be32 {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// From the host's order.
    #[inline(always)]
    pub const fn new(value: u32) -> Self {
        Self(value.to_be())
    }

    /// To the host's order.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        u32::from_be(self.0)
    }

    /// From the bytes of a packet.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// From an integer that lies in memory in network byte order already.
    #[inline(always)]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The integer as it lies in memory, which is what checksum helpers take.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Its two halves in the order in which they lie in memory.
    #[inline(always)]
    pub const fn halves(self) -> [Be16; 2] {
        let [a, b, c, d] = self.bytes();
        [Be16::from_bytes([a, b]), Be16::from_bytes([c, d])]
    }

    /// The bytes as they go into a packet.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_lie_in_network_order() {
        assert_eq!(Be16::new(0x1234).bytes(), [0x12, 0x34]);
        assert_eq!(Be16::from_bytes([0x12, 0x34]).get(), 0x1234);
        assert_eq!(Be16::new(0x1234).swapped().get(), 0x3412);
        assert_eq!(Be32::new(0x1234_5678).bytes(), [0x12, 0x34, 0x56, 0x78]);
        assert_eq!(Be32::from_raw(Be32::new(7).raw()).get(), 7);
        let halves = Be32::new(0x1234_5678).halves();
        assert_eq!(halves.map(Be16::get), [0x1234, 0x5678]);
    }
}
