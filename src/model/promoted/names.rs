//! Whose attributes, of which type, under which column name.

use std::fmt;

use datafusion::arrow::datatypes::{DataType, Field};

use crate::model::AttributeType;
use crate::model::schema;

/// Whose attributes a map holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Span,
    Resource,
    Scope,
}

impl Owner {
    /// All owners; each one's place here is its `as usize`.
    pub const ALL: [Self; 3] = [Self::Span, Self::Resource, Self::Scope];

    /// The map column.
    pub fn map_column(self) -> &'static str {
        match self {
            Self::Span => schema::ATTRIBUTES,
            Self::Resource => schema::RESOURCE_ATTRIBUTES,
            Self::Scope => schema::SCOPE_ATTRIBUTES,
        }
    }

    /// The column of the map's type letters.
    pub fn types_column(self) -> &'static str {
        match self {
            Self::Span => schema::ATTRIBUTE_TYPES,
            Self::Resource => schema::RESOURCE_ATTRIBUTE_TYPES,
            Self::Scope => schema::SCOPE_ATTRIBUTE_TYPES,
        }
    }
}

/// The attribute types that columns can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    String,
    Int,
    Double,
    Bool,
}

impl Scalar {
    /// All scalar types; each one's place here is its `as usize`.
    pub const ALL: [Self; 4] = [Self::String, Self::Int, Self::Double, Self::Bool];

    /// The scalar type of a letter in a types column.
    pub fn from_letter(letter: u8) -> Option<Self> {
        match AttributeType::from_letter(letter)? {
            AttributeType::String => Some(Self::String),
            AttributeType::Int => Some(Self::Int),
            AttributeType::Double => Some(Self::Double),
            AttributeType::Bool => Some(Self::Bool),
            _ => None,
        }
    }

    /// The type's letter in a types column.
    pub fn letter(self) -> u8 {
        match self {
            Self::String => AttributeType::String,
            Self::Int => AttributeType::Int,
            Self::Double => AttributeType::Double,
            Self::Bool => AttributeType::Bool,
        }
        .letter()
    }

    /// The column's type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::String => DataType::Utf8View,
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Bool => DataType::Boolean,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::String => "",
            Self::Int => ":int",
            Self::Double => ":double",
            Self::Bool => ":bool",
        }
    }
}

/// The longest key that gets columns.
const MAX_KEY_BYTES: usize = 128;

/// An attribute's owner and key. Its text is the name of its column of strings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeKey {
    pub owner: Owner,
    pub key: String,
}

impl AttributeKey {
    pub fn new(owner: Owner, key: impl Into<String>) -> Self {
        Self { owner, key: key.into() }
    }

    /// Whether the key may name a column: Delta forbids some characters, a colon begins a type's suffix, and the rest would be
    /// awkward in other programs.
    pub fn is_promotable(&self) -> bool {
        let key = self.key.as_bytes();
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b",;{}()=:`\"'\\".contains(byte);
        !key.is_empty() && key.len() <= MAX_KEY_BYTES && key.iter().all(is_plain)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Owner::ALL.into_iter().find_map(|owner| {
            let key = text.strip_prefix(owner.map_column())?.strip_prefix('.')?;
            Some(Self::new(owner, key))
        })
    }
}

impl fmt::Display for AttributeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner.map_column(), self.key)
    }
}

/// A column for the values of one key that are of one type: `attributes.http.route`, `attributes.http.status_code:int`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PromotedColumn {
    pub key: AttributeKey,
    pub scalar: Scalar,
}

impl PromotedColumn {
    /// The column's name in files and in the table.
    pub fn name(&self) -> String {
        format!("{}{}", self.key, self.scalar.suffix())
    }

    /// The column as Arrow has it.
    pub fn field(&self) -> Field {
        Field::new(self.name(), self.scalar.data_type(), true)
    }

    /// Reads a name that [`Self::name`] gave; `None` for any other column.
    pub fn parse(name: &str) -> Option<Self> {
        let (key, scalar) = match name.rsplit_once(':') {
            None => (name, Scalar::String),
            Some((key, suffix)) => {
                (key, Scalar::ALL.into_iter().find(|scalar| scalar.suffix().strip_prefix(':') == Some(suffix))?)
            }
        };
        let key = AttributeKey::parse(key).filter(AttributeKey::is_promotable)?;
        Some(Self { key, scalar })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_no_promoted_columns() {
        for owner in Owner::ALL {
            for scalar in Scalar::ALL {
                let column = PromotedColumn { key: AttributeKey::new(owner, "http.status_code"), scalar };
                assert_eq!(PromotedColumn::parse(&column.name()), Some(column));
            }
        }
        for other in ["attributes", "attributes.", "start_ns", "attributes.a:str", "attributes.a b", "x.attributes.a"] {
            assert_eq!(PromotedColumn::parse(other), None, "{other}");
        }
    }

    #[test]
    fn keys_that_no_column_can_be_named_after_stay_in_the_map() {
        let promotable = |key: &str| AttributeKey::new(Owner::Span, key).is_promotable();
        for key in ["a", "http.status_code", "Größe", "k8s.pod/name", "", "a b", "a:b", "a,b", "a\n", "a=b", "{a}"] {
            assert_eq!(promotable(key), ["a", "http.status_code", "k8s.pod/name"].contains(&key), "{key}");
        }
        assert!(promotable(&"k".repeat(MAX_KEY_BYTES)) && !promotable(&"k".repeat(MAX_KEY_BYTES + 1)));
    }
}
