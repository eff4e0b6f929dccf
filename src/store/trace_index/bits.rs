//! Numbers in as few bits as they need, the lowest bit first.

/// Appends numbers to bytes.
pub(super) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    /// Bits that are no whole byte yet, and how many.
    open: u64,
    open_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, open: 0, open_bits: 0 }
    }

    /// Appends the lowest `bits` of a number, 32 at most.
    pub(super) fn put(&mut self, number: u32, bits: u32) {
        let number = u64::from(number) & ((1 << bits) - 1);
        self.open |= number << self.open_bits;
        self.open_bits += bits;
        while self.open_bits >= 8 {
            self.bytes.push(self.open as u8);
            self.open >>= 8;
            self.open_bits -= 8;
        }
    }

    /// Appends a number in Rice's code: what is above its lowest `bits` as so many ones and a zero, then these.
    pub(super) fn put_rice(&mut self, number: u32, bits: u32) {
        for _ in 0..u64::from(number) >> bits {
            self.put(1, 1);
        }
        self.put(0, 1);
        self.put(number, bits);
    }

    /// Fills the last byte with zeros.
    pub(super) fn finish(self) {
        if self.open_bits > 0 {
            self.bytes.push(self.open as u8);
        }
    }
}

/// Takes numbers off bytes; `None` where they end.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    open: u64,
    open_bits: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, open: 0, open_bits: 0 }
    }

    /// Takes a number of `bits`, 32 at most.
    pub(super) fn take(&mut self, bits: u32) -> Option<u32> {
        while self.open_bits < bits {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            self.open |= u64::from(*byte) << self.open_bits;
            self.open_bits += 8;
        }
        let number = self.open & ((1 << bits) - 1);
        self.open >>= bits;
        self.open_bits -= bits;
        Some(number as u32)
    }

    /// Takes a number in Rice's code; `None` also when it has more than 32 bits.
    pub(super) fn take_rice(&mut self, bits: u32) -> Option<u32> {
        let mut above = 0_u64;
        while self.take(1)? == 1 {
            above += 1;
        }
        u32::try_from(above << bits | u64::from(self.take(bits)?)).ok()
    }

    /// Whether only the zeros of a last byte are left.
    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty() && self.open_bits < 8 && self.open == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back_in_order(numbers in prop::collection::vec((0_u32..=32, any::<u32>(), 0_u32..300), 0..100)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for (bits, number, above) in &numbers {
                writer.put(*number, *bits);
                writer.put_rice(*above, *bits);
                writer.put_rice(*number, 31);
            }
            writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (bits, number, above) in &numbers {
                prop_assert_eq!(reader.take(*bits).map(u64::from), Some(u64::from(*number) & ((1_u64 << bits) - 1)));
                prop_assert_eq!(reader.take_rice(*bits), Some(*above));
                prop_assert_eq!(reader.take_rice(31), Some(*number));
            }
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..50), bits in 0_u32..=32) {
            let mut reader = BitReader::new(&bytes);
            let mut numbers = 0;
            while reader.take_rice(bits).is_some() {
                numbers += 1;
            }
            prop_assert!(numbers <= 8 * bytes.len());
        }
    }

    #[test]
    fn the_lowest_bit_comes_first() {
        let mut bytes = Vec::new();
        let mut writer = BitWriter::new(&mut bytes);
        writer.put(0b101, 3);
        writer.put_rice(0b1001, 2);
        writer.put(0x1ff, 9);
        writer.finish();
        assert_eq!(bytes, [0b0101_1101, 0b1111_1111, 0b0000_0001]);
    }
}
