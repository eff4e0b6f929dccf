//! Trace and span ids: 16 and 8 bytes, shown as lower-case hex.

use std::fmt;

/// A trace id: 16 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// A span id: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($name:ident, $len:literal) => {
        impl $name {
            /// The id's length in bytes.
            pub const LEN: usize = $len;

            /// Takes an id from its bytes; `None` when the length is wrong or all bytes are zero.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let bytes: [u8; $len] = bytes.try_into().ok()?;
                (bytes != [0; $len]).then_some(Self(bytes))
            }

            /// Reads an id from hex digits of either case; `None` when it is not exactly that.
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != 2 * $len {
                    return None;
                }
                let mut bytes = [0; $len];
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    let high = (pair[0] as char).to_digit(16)?;
                    let low = (pair[1] as char).to_digit(16)?;
                    *byte = (high << 4 | low) as u8;
                }
                Self::from_bytes(&bytes)
            }

            /// The id's bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_round_and_anything_else_is_refused() {
        let id = TraceId::from_hex("5B8EFFF798038103D269B633813FC60C").expect("valid");
        assert_eq!(id.to_string(), "5b8efff798038103d269b633813fc60c");
        for bad in ["", "0x", "5b8efff798038103d269b633813fc60", "5b8efff798038103d269b633813fc60g", &"0".repeat(32)] {
            assert_eq!(TraceId::from_hex(bad), None, "{bad}");
        }
        assert_eq!(SpanId::from_bytes(&[0; 8]), None);
        assert_eq!(SpanId::from_bytes(&[1; 2]), None);
    }
}
