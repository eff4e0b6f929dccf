//! Protobuf's wire format, read in place.

use super::limits::MAX_GROUP_LEVELS;

/// The fields of one message, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// One field: its number and its value as the wire has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub value: WireValue<'a>,
}

/// A value as the wire has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Group,
    Fixed32(u32),
}

/// Why bytes are not the message that they should be, and where: the address of the byte, so that the reader need not carry a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireError {
    pub what: WireFault,
    address: usize,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireFault {
    Truncated,
    VarintTooLong,
    FieldNumber,
    WireType,
    UnexpectedType,
    GroupEnd,
    GroupsTooDeep,
    ValuesTooDeep,
}

impl WireFault {
    /// The fault as the end of a sentence about the request.
    pub fn text(self) -> &'static str {
        match self {
            Self::Truncated => "a field runs past the end",
            Self::VarintTooLong => "a varint is longer than 64 bits",
            Self::FieldNumber => "a field number is out of range",
            Self::WireType => "a field has a wire type that does not exist",
            Self::UnexpectedType => "a field has another wire type than the schema says",
            Self::GroupEnd => "a group does not end where it should",
            Self::GroupsTooDeep => "groups are nested too deeply",
            Self::ValuesTooDeep => "attribute values are nested more than 32 levels deep",
        }
    }
}

impl WireError {
    pub fn at(what: WireFault, place: &[u8]) -> Self {
        Self { what, address: place.as_ptr() as usize }
    }

    /// The offset of the fault in `message`, when it lies there.
    pub fn offset_in(&self, message: &[u8]) -> Option<usize> {
        self.address.checked_sub(message.as_ptr() as usize).filter(|offset| *offset <= message.len())
    }
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What follows the fields read so far.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads the next field; `None` at the end of the message.
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            0 => WireValue::Varint(self.varint()?),
            1 => WireValue::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => WireValue::Bytes(self.delimited()?),
            3 => {
                self.skip_group(number, MAX_GROUP_LEVELS)?;
                WireValue::Group
            }
            5 => WireValue::Fixed32(u32::from_le_bytes(self.array()?)),
            4 => return Err(self.fault(WireFault::GroupEnd)),
            _ => return Err(self.fault(WireFault::WireType)),
        };
        Ok(Some(Field { number, value }))
    }

    #[inline(always)]
    fn key(&mut self) -> Result<(u32, u8), WireError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        match number {
            Some(number) => Ok((number, (key & 7) as u8)),
            None => Err(self.fault(WireFault::FieldNumber)),
        }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest.split_first() {
            Some((first, rest)) if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                if index == 9 && *byte > 1 {
                    return Err(self.fault(WireFault::VarintTooLong));
                }
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(self.fault(if self.rest.len() < 10 { WireFault::Truncated } else { WireFault::VarintTooLong }))
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.rest.split_first_chunk::<N>() {
            Some((value, rest)) => {
                self.rest = rest;
                Ok(*value)
            }
            None => Err(self.fault(WireFault::Truncated)),
        }
    }

    #[inline(always)]
    fn delimited(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.varint()?;
        match usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len)) {
            Some((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            None => Err(self.fault(WireFault::Truncated)),
        }
    }

    #[cold]
    fn skip_group(&mut self, group: u32, levels_left: usize) -> Result<(), WireError> {
        if levels_left == 0 {
            return Err(self.fault(WireFault::GroupsTooDeep));
        }
        loop {
            let (number, wire_type) = self.key()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.delimited()?),
                3 => self.skip_group(number, levels_left - 1)?,
                4 if number == group => return Ok(()),
                4 => return Err(self.fault(WireFault::GroupEnd)),
                5 => drop(self.array::<4>()?),
                _ => return Err(self.fault(WireFault::WireType)),
            }
        }
    }

    #[cold]
    fn fault(&self, what: WireFault) -> WireError {
        WireError::at(what, self.rest)
    }
}

/// Reads the value of a field whose type the schema gives; the error's place is what follows the field.
macro_rules! typed {
    ($name:ident, $variant:ident, $type:ty) => {
        #[inline(always)]
        pub fn $name(&self, fields: &Fields<'a>) -> Result<$type, WireError> {
            match self.value {
                WireValue::$variant(value) => Ok(value),
                _ => Err(fields.fault(WireFault::UnexpectedType)),
            }
        }
    };
}

impl<'a> Field<'a> {
    typed!(varint, Varint, u64);
    typed!(fixed64, Fixed64, u64);
    typed!(fixed32, Fixed32, u32);
    typed!(bytes, Bytes, &'a [u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, String)>, WireFault> {
        let mut fields = Fields::of(bytes);
        let mut seen = Vec::new();
        while let Some(field) = fields.next().map_err(|error| error.what)? {
            seen.push((field.number, format!("{:?}", field.value)));
        }
        Ok(seen)
    }

    #[test]
    fn each_wire_type_is_read_and_groups_are_skipped() {
        let bytes = [8, 0x96, 1, 0x12, 1, 7, 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0, 0x2b, 8, 1, 0x2c, 0x30, 5];
        let expected = ["Varint(150)", "Bytes([7])", "Fixed32(1)", "Fixed64(2)", "Group", "Varint(5)"];
        let seen = read(&bytes).expect("valid");
        assert_eq!(seen.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(seen.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn each_fault_is_named() {
        let deep: Vec<u8> = [0x0b; 200].into();
        let cases: &[(&[u8], WireFault)] = &[
            (&[8], WireFault::Truncated),
            (&[8, 0x80], WireFault::Truncated),
            (&[0x12, 2, 0], WireFault::Truncated),
            (&[0x1d, 0, 0], WireFault::Truncated),
            (&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], WireFault::VarintTooLong),
            (&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0], WireFault::VarintTooLong),
            (&[0, 0], WireFault::FieldNumber),
            (&[0x0e, 0], WireFault::WireType),
            (&[0x0c], WireFault::GroupEnd),
            (&[0x0b, 0x14], WireFault::GroupEnd),
            (&deep, WireFault::GroupsTooDeep),
        ];
        for (bytes, fault) in cases {
            assert_eq!(read(bytes), Err(*fault), "{bytes:?}");
        }
        assert_eq!(read(&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).map(|seen| seen.len()), Ok(1));
    }
}
