//! Which PostgreSQL type an Arrow type is for clients, and the OIDs of both directions.

use std::collections::HashMap;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::error::{Error, Kind, Result};

/// A PostgreSQL type that a result column can have. Never an OID that a client would not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PgType {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric { precision: u8, scale: i8 },
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Jsonb,
    Array(Element),
}

/// The element types that have an array type of their own; lists of anything else are JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
}

/// Where a field says which extension type it has.
const EXTENSION_NAME: &str = "ARROW:extension:name";

/// What Arrow calls text that is JSON.
const JSON_TEXT: &str = "arrow.json";

/// A column of text that is JSON.
pub(crate) fn json_text_field(name: &str) -> Field {
    let mark = HashMap::from([(EXTENSION_NAME.to_owned(), JSON_TEXT.to_owned())]);
    Field::new(name, DataType::Utf8View, true).with_metadata(mark)
}

impl PgType {
    /// Returns the type that a column is shown as.
    pub fn of_field(field: &Field) -> Self {
        match field.extension_type_name() {
            Some(JSON_TEXT) => Self::Jsonb,
            _ => Self::of(field.data_type()),
        }
    }

    /// Returns the type that a column of `data_type` is shown as.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => Self::Int2,
            DataType::UInt16 | DataType::Int32 => Self::Int4,
            // PostgreSQL counts with 64 signed bits; a value beyond them is refused when it is sent.
            DataType::Int64 | DataType::UInt64 => Self::Int8,
            // Only what names objects of the catalogue is unsigned and of 32 bits.
            DataType::UInt32 => Self::Oid,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => Self::Numeric { precision: *precision, scale: *scale },
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytea
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            DataType::Map(_, _) | DataType::Struct(_) => Self::Jsonb,
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::FixedSizeList(field, _)
            | DataType::ListView(field)
            | DataType::LargeListView(field) => Self::list_of(field.data_type()),
            DataType::Dictionary(_, value) => Self::of(value),
            DataType::RunEndEncoded(_, value) => Self::of(value.data_type()),
            _ => Self::Text,
        }
    }

    fn list_of(element: &DataType) -> Self {
        let element = match Self::of(element) {
            Self::Bool => Element::Bool,
            Self::Int2 => Element::Int2,
            Self::Int4 => Element::Int4,
            Self::Int8 => Element::Int8,
            Self::Oid => Element::Oid,
            Self::Float4 => Element::Float4,
            Self::Float8 => Element::Float8,
            Self::Numeric { .. } => Element::Numeric,
            Self::Text => Element::Text,
            Self::Bytea => Element::Bytea,
            Self::Date => Element::Date,
            Self::Timestamp => Element::Timestamp,
            Self::Timestamptz => Element::Timestamptz,
            Self::Time | Self::Interval | Self::Jsonb | Self::Array(_) => return Self::Jsonb,
        };
        Self::Array(element)
    }

    /// Returns the type's OID in every PostgreSQL.
    pub fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Oid => 26,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Date => 1082,
            Self::Time => 1083,
            Self::Timestamp => 1114,
            Self::Timestamptz => 1184,
            Self::Interval => 1186,
            Self::Numeric { .. } => 1700,
            Self::Jsonb => 3802,
            Self::Array(element) => match element {
                Element::Bool => 1000,
                Element::Bytea => 1001,
                Element::Int2 => 1005,
                Element::Int4 => 1007,
                Element::Text => 1009,
                Element::Int8 => 1016,
                Element::Oid => 1028,
                Element::Float4 => 1021,
                Element::Float8 => 1022,
                Element::Timestamp => 1115,
                Element::Date => 1182,
                Element::Timestamptz => 1185,
                Element::Numeric => 1231,
            },
        }
    }

    /// Returns the name that SQL has for the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Oid => "oid",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric { .. } => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time without time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Interval => "interval",
            Self::Jsonb => "jsonb",
            Self::Array(element) => match element {
                Element::Bool => "boolean[]",
                Element::Int2 => "smallint[]",
                Element::Int4 => "integer[]",
                Element::Int8 => "bigint[]",
                Element::Oid => "oid[]",
                Element::Float4 => "real[]",
                Element::Float8 => "double precision[]",
                Element::Numeric => "numeric[]",
                Element::Text => "text[]",
                Element::Bytea => "bytea[]",
                Element::Date => "date[]",
                Element::Timestamp => "timestamp without time zone[]",
                Element::Timestamptz => "timestamp with time zone[]",
            },
        }
    }

    /// Returns the name with what the type's modifier says, as `format_type` does.
    pub fn full_name(self) -> String {
        match self {
            Self::Numeric { precision, scale } if self.modifier() >= 0 => format!("numeric({precision},{scale})"),
            other => other.name().to_owned(),
        }
    }

    /// Returns the size in bytes, or −1 when it varies.
    pub fn size_bytes(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Oid | Self::Float4 | Self::Date => 4,
            Self::Int8 | Self::Float8 | Self::Time | Self::Timestamp | Self::Timestamptz => 8,
            Self::Interval => 16,
            Self::Numeric { .. } | Self::Text | Self::Bytea | Self::Jsonb | Self::Array(_) => -1,
        }
    }

    /// Returns the type modifier of a column: a numeric's precision and scale as PostgreSQL packs them, else −1.
    pub fn modifier(self) -> i32 {
        match self {
            // A scale below zero and more digits than a client would expect are left open rather than misstated.
            Self::Numeric { precision, scale } if scale >= 0 && precision <= 38 => {
                ((i32::from(precision) << 16) | i32::from(scale)) + 4
            }
            _ => -1,
        }
    }
}

impl Element {
    /// Returns the OID of the element type.
    pub fn oid(self) -> u32 {
        match self {
            Self::Bool => PgType::Bool.oid(),
            Self::Int2 => PgType::Int2.oid(),
            Self::Int4 => PgType::Int4.oid(),
            Self::Int8 => PgType::Int8.oid(),
            Self::Oid => PgType::Oid.oid(),
            Self::Float4 => PgType::Float4.oid(),
            Self::Float8 => PgType::Float8.oid(),
            Self::Numeric => 1700,
            Self::Text => PgType::Text.oid(),
            Self::Bytea => PgType::Bytea.oid(),
            Self::Date => PgType::Date.oid(),
            Self::Timestamp => PgType::Timestamp.oid(),
            Self::Timestamptz => PgType::Timestamptz.oid(),
        }
    }
}

/// Returns the Arrow type of a parameter that a client declares with `oid`; `None` for "unknown" and types that only have text.
pub fn arrow_of_oid(oid: u32) -> Option<DataType> {
    let list = |element: DataType| DataType::new_list(element, true);
    Some(match oid {
        16 => DataType::Boolean,
        17 => DataType::Binary,
        21 => DataType::Int16,
        23 => DataType::Int32,
        20 => DataType::Int64,
        // oid, and what is written by name and is one.
        26 | 24 | 2205 | 2206 | 4089 | 4096 => DataType::UInt32,
        18 | 19 | 25 | 114 | 1042 | 1043 | 2950 | 3802 => DataType::Utf8,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1082 => DataType::Date32,
        1083 => DataType::Time64(TimeUnit::Nanosecond),
        1114 => DataType::Timestamp(TimeUnit::Nanosecond, None),
        1184 => DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
        1186 => DataType::Interval(IntervalUnit::MonthDayNano),
        1700 => DataType::Decimal128(38, 10),
        1000 => list(DataType::Boolean),
        1005 => list(DataType::Int16),
        1007 => list(DataType::Int32),
        1016 => list(DataType::Int64),
        1028 => list(DataType::UInt32),
        1009 | 1015 => list(DataType::Utf8),
        1021 => list(DataType::Float32),
        1022 => list(DataType::Float64),
        1115 => list(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        1185 => list(DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))),
        1182 => list(DataType::Date32),
        _ => return None,
    })
}

/// Returns the OID of a type as SQL names it, for the parameters of `PREPARE`.
pub fn oid_of_name(name: &str) -> Result<u32> {
    let lower = name.to_lowercase();
    let plain = lower.split('(').next().unwrap_or_default().trim();
    Ok(match plain {
        "bool" | "boolean" => 16,
        "bytea" => 17,
        "int8" | "bigint" => 20,
        "int2" | "smallint" => 21,
        "int" | "int4" | "integer" => 23,
        "text" | "varchar" | "char" | "character varying" | "character" | "bpchar" | "name" => 25,
        "float4" | "real" => 700,
        "float8" | "double precision" | "float" => 701,
        "date" => 1082,
        "time" | "time without time zone" => 1083,
        "timestamp" | "timestamp without time zone" => 1114,
        "timestamptz" | "timestamp with time zone" => 1184,
        "interval" => 1186,
        "numeric" | "decimal" => 1700,
        "uuid" => 2950,
        "json" => 114,
        "jsonb" => 3802,
        "text[]" => 1009,
        "bigint[]" | "int8[]" => 1016,
        "int[]" | "integer[]" | "int4[]" => 1007,
        "oid" => 26,
        "unknown" => 0,
        _ => return Err(Error::new(Kind::NotFound, format!("type \"{name}\" does not exist"))),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Field;

    use super::*;

    #[test]
    fn every_type_has_an_oid_that_clients_know() {
        let item = |t| Arc::new(Field::new("item", t, true));
        let cases = [
            (DataType::UInt8, 21),
            (DataType::UInt16, 23),
            (DataType::UInt32, 26),
            (DataType::UInt64, 20),
            (DataType::List(item(DataType::UInt64)), 1016),
            (DataType::Utf8View, 25),
            (DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()), 25),
            (DataType::FixedSizeBinary(8), 17),
            (DataType::List(item(DataType::Utf8View)), 1009),
            (DataType::List(item(DataType::Float64)), 1022),
            (DataType::List(item(DataType::Struct(Default::default()))), 3802),
            (DataType::Struct(Default::default()), 3802),
            (DataType::Null, 25),
            (DataType::Duration(TimeUnit::Nanosecond), 1186),
        ];
        for (data_type, oid) in cases {
            assert_eq!(PgType::of(&data_type).oid(), oid, "{data_type}");
        }
    }

    #[test]
    fn a_declared_parameter_type_comes_back_as_its_own_oid() {
        for oid in
            [16, 17, 20, 21, 23, 25, 700, 701, 1082, 1083, 1114, 1184, 1186, 1700, 26, 1009, 1016, 1022, 1028, 1185]
        {
            let data_type = arrow_of_oid(oid).expect("known");
            assert_eq!(PgType::of(&data_type).oid(), oid, "{data_type}");
        }
    }
}
