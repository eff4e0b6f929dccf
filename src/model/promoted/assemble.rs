//! Whole maps again, out of columns and what is left in the maps.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};

use super::census::letter_at;
use super::names::{Owner, PromotedColumn, Scalar};
use super::split::RestBuilder;
use crate::error::{Error, Result};
use crate::model::schema::physical_schema;
use crate::model::{bool_text, write_double, write_int};

/// Turns a batch of a file into one in [`physical_schema`].
///
/// # Errors
/// An internal error when the batch lacks a column or has one of another type.
pub fn whole_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let find = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| Error::internal(format!("a data file lacks the column {name}")))
    };
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    let promoted = fields.filter_map(|(field, values)| Some((PromotedColumn::parse(field.name())?, values.clone())));
    let promoted: Vec<(PromotedColumn, ArrayRef)> = promoted.collect();
    let schema = physical_schema();
    let mut columns = schema.fields().iter().map(|field| find(field.name()).cloned()).collect::<Result<Vec<_>>>()?;
    for owner in Owner::ALL {
        let of_owner: Vec<_> = promoted.iter().filter(|(column, _)| column.key.owner == owner).cloned().collect();
        if of_owner.is_empty() {
            continue;
        }
        let (map, types) = (find(owner.map_column())?, find(owner.types_column())?);
        let (map, types) = assemble(&MapParts { columns: &of_owner, map, types: Some(types) })?;
        for (name, column) in [(owner.map_column(), map), (owner.types_column(), types)] {
            columns[schema.index_of(name).map_err(|error| Error::internal(error.to_string()))?] = column;
        }
    }
    RecordBatch::try_new(schema, columns).map_err(|error| Error::internal(format!("cannot read a data file: {error}")))
}

/// What an owner's attributes are made of in some rows of a file.
#[derive(Debug)]
pub struct MapParts<'a> {
    pub columns: &'a [(PromotedColumn, ArrayRef)],
    pub map: &'a ArrayRef,
    /// The letters of `map`; needed for types only.
    pub types: Option<&'a ArrayRef>,
}

/// The map with all attributes: those of the columns first.
///
/// # Errors
/// An internal error when a part has another type than its name says.
pub fn assemble_map(parts: &MapParts<'_>) -> Result<ArrayRef> {
    assemble(parts).map(|(map, _)| map)
}

/// The type letters of the map that [`assemble_map`] makes of the same parts.
///
/// # Errors
/// An internal error when a part has another type than its name says.
pub fn assemble_types(parts: &MapParts<'_>) -> Result<ArrayRef> {
    assemble(parts).map(|(_, types)| types)
}

fn assemble(parts: &MapParts<'_>) -> Result<(ArrayRef, ArrayRef)> {
    let wrong = || Error::internal("the attributes of a file are no map of text");
    let columns = parts.columns.iter().map(|(name, values)| Column::new(name, values)).collect::<Result<Vec<_>>>()?;
    let map = parts.map.as_map_opt().ok_or_else(wrong)?;
    let keys = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
    let values = map.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let types = parts.types.map(|types| types.as_string_view_opt().ok_or_else(wrong)).transpose()?;
    let mut builder = RestBuilder::with_capacity(map.len());
    let mut text = String::new();
    for row in 0..map.len() {
        for column in &columns {
            if let Some(text) = column.values.text(row, &mut text) {
                builder.push_text(column.key, Some(text), column.letter);
            }
        }
        let letters = types.filter(|types| types.is_valid(row)).map(|types| types.value(row).as_bytes());
        let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
        for (place, entry) in entries.enumerate() {
            let value = values.is_valid(entry).then(|| values.value(entry));
            builder.push_text(keys.value(entry), value, letter_at(letters, place));
        }
        builder.end_row();
    }
    builder.finish()
}

struct Column<'a> {
    key: &'a str,
    letter: u8,
    values: ScalarValues<'a>,
}

impl<'a> Column<'a> {
    fn new(name: &'a PromotedColumn, values: &'a ArrayRef) -> Result<Self> {
        let values = ScalarValues::new(name.scalar, values)?;
        Ok(Self { key: &name.key.key, letter: name.scalar.letter(), values })
    }
}

/// A promoted column's values.
pub enum ScalarValues<'a> {
    String(&'a StringViewArray),
    Int(&'a Int64Array),
    Double(&'a Float64Array),
    Bool(&'a BooleanArray),
}

impl<'a> ScalarValues<'a> {
    /// # Errors
    /// An internal error when the array is not of the type.
    pub fn new(scalar: Scalar, values: &'a ArrayRef) -> Result<Self> {
        match scalar {
            Scalar::String => values.as_string_view_opt().map(Self::String),
            Scalar::Int => values.as_primitive_opt::<Int64Type>().map(Self::Int),
            Scalar::Double => values.as_primitive_opt::<Float64Type>().map(Self::Double),
            Scalar::Bool => values.as_boolean_opt().map(Self::Bool),
        }
        .ok_or_else(|| Error::internal(format!("a column of {scalar:?} attributes is {}", values.data_type())))
    }

    /// The value as a map has it, written to `out` where it is not text already; `None` for NULL.
    #[inline]
    pub fn text<'o>(&self, row: usize, out: &'o mut String) -> Option<&'o str>
    where
        'a: 'o,
    {
        out.clear();
        match self {
            Self::String(values) => return values.is_valid(row).then(|| values.value(row)),
            Self::Bool(values) => return values.is_valid(row).then(|| bool_text(values.value(row))),
            Self::Int(values) if values.is_valid(row) => write_int(values.value(row), out),
            Self::Double(values) if values.is_valid(row) => write_double(values.value(row), out),
            Self::Int(_) | Self::Double(_) => return None,
        }
        Some(out)
    }
}
