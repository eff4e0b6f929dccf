//! How an OpenTelemetry attribute value becomes text and stays what it was.
//!
//! SQL sees attributes as a map from text to text. Beside each map a *types* column holds one letter a value, in the map's
//! order, so that what came in can be given back. The types column is NULL when every value is a string, which is the
//! most frequent case.
//!
//! | letter | OTLP value | text in the map |
//! |---|---|---|
//! | `s` | string | itself |
//! | `b` | bool | `true` or `false` |
//! | `i` | int | decimal |
//! | `d` | double | shortest decimal that reads back equal; `NaN`, `Infinity`, `-Infinity` |
//! | `y` | bytes | base64, standard alphabet with padding |
//! | `a` | array | JSON array |
//! | `k` | key-value list | JSON object |
//! | `o` | array or key-value list that plain JSON cannot give back (bytes, a non-finite double, an empty value, or a repeated key in it) | the value as OTLP JSON |
//! | `n` | no value | NULL |

/// The OTLP type of an attribute value, as its letter in a types column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AttributeType {
    String = b's',
    Bool = b'b',
    Int = b'i',
    Double = b'd',
    Bytes = b'y',
    Array = b'a',
    KeyValueList = b'k',
    OtlpJson = b'o',
    Empty = b'n',
}

impl AttributeType {
    /// The letter in the types column.
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// Reads a letter of a types column.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b's' => Self::String,
            b'b' => Self::Bool,
            b'i' => Self::Int,
            b'd' => Self::Double,
            b'y' => Self::Bytes,
            b'a' => Self::Array,
            b'k' => Self::KeyValueList,
            b'o' => Self::OtlpJson,
            b'n' => Self::Empty,
            _ => return None,
        })
    }
}

/// Whether a types column may be NULL for these letters.
pub fn attribute_types_are_all_strings(letters: &[u8]) -> bool {
    letters.iter().all(|letter| *letter == AttributeType::String.letter())
}

/// Writes an int as a map has it.
pub fn write_int(value: i64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Writes a double as a map has it: the shortest decimal that reads back equal, or the name that OTLP JSON has for a
/// non-finite number.
pub fn write_double(value: f64, out: &mut String) {
    out.push_str(match value {
        value if value.is_finite() => return out.push_str(zmij::Buffer::new().format_finite(value)),
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    });
}

/// A bool as a map has it.
pub fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
