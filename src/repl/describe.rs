//! `\d RELATION`: its columns and their types, in SQL's words.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::engine::Session;
use crate::error::{Error, Result};

/// The columns of a relation as rows of name, type and nullability.
pub async fn describe(session: &Session, relation: &str) -> Result<RecordBatch> {
    let sql = format!("SELECT * FROM {}", quoted(relation)?);
    let statements = session.prepare(&sql).await.map_err(|mut error| {
        // The position is in a text that the user did not write.
        error.position = None;
        error
    })?;
    let schema = statements.into_iter().next().and_then(|statement| statement.schema);
    let schema = schema.ok_or_else(|| Error::internal(format!("{relation} has no columns")))?;
    rows(&schema)
}

/// The name with each part in quotes, small unless it was quoted, so that it can only be a name.
fn quoted(relation: &str) -> Result<String> {
    let mut parts = vec![String::new()];
    let mut in_quotes = false;
    for c in relation.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            '.' if !in_quotes => parts.push(String::new()),
            c => {
                let small = if in_quotes { c.to_string() } else { c.to_lowercase().to_string() };
                parts.last_mut().into_iter().for_each(|part| part.push_str(&small));
            }
        }
    }
    match parts.iter().any(String::is_empty) || parts.len() > 3 {
        true => Err(Error::bad_input(format!("\"{relation}\" is not a relation's name"))),
        false => Ok(parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".")),
    }
}

fn rows(schema: &Schema) -> Result<RecordBatch> {
    let mut rows: Vec<(String, String, bool)> = Vec::new();
    for field in schema.fields() {
        rows.push((field.name().clone(), type_name(field.data_type()), field.is_nullable()));
        rows.extend(parts(field.name(), field.data_type()));
    }
    let names: StringArray = rows.iter().map(|(name, ..)| Some(name)).collect();
    let types: StringArray = rows.iter().map(|(_, name, _)| Some(name)).collect();
    let nulls: StringArray = rows.iter().map(|(.., nullable)| Some(if *nullable { "" } else { "not null" })).collect();
    let columns = [("Column", names), ("Type", types), ("Nullable", nulls)];
    RecordBatch::try_from_iter(columns.map(|(name, column)| (name, Arc::new(column) as ArrayRef)))
        .map_err(|error| Error::internal(error.to_string()))
}

/// The parts of a column that is a row or a list of rows, as `events[].name`.
fn parts(column: &str, data_type: &DataType) -> Vec<(String, String, bool)> {
    let (prefix, data_type) = match data_type {
        DataType::List(item) | DataType::LargeList(item) => (format!("{column}[]"), item.data_type()),
        other => (column.to_owned(), other),
    };
    let DataType::Struct(parts) = data_type else { return Vec::new() };
    let part =
        |part: &Arc<Field>| (format!("{prefix}.{}", part.name()), type_name(part.data_type()), part.is_nullable());
    parts.iter().map(part).collect()
}

/// The type as PostgreSQL names it, where PostgreSQL has it.
fn type_name(data_type: &DataType) -> String {
    use DataType::*;
    match data_type {
        Boolean => "boolean".to_owned(),
        Int8 | Int16 | UInt8 => "smallint".to_owned(),
        Int32 | UInt16 => "integer".to_owned(),
        Int64 | UInt32 | UInt64 => "bigint".to_owned(),
        Float16 | Float32 => "real".to_owned(),
        Float64 => "double precision".to_owned(),
        Utf8 | LargeUtf8 | Utf8View => "text".to_owned(),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "bytea".to_owned(),
        Date32 | Date64 => "date".to_owned(),
        Time32(_) | Time64(_) => "time".to_owned(),
        Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            format!("{}({digits})", if zone.is_some() { "timestamptz" } else { "timestamp" })
        }
        Interval(_) | Duration(_) => "interval".to_owned(),
        Decimal128(precision, scale) | Decimal256(precision, scale) => format!("numeric({precision},{scale})"),
        Dictionary(_, value) => type_name(value),
        Map(entries, _) => match entries.data_type() {
            Struct(parts) if parts.len() == 2 => {
                format!("map({}, {})", type_name(parts[0].data_type()), type_name(parts[1].data_type()))
            }
            other => format!("map({})", type_name(other)),
        },
        List(item) | LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
            format!("{}[]", type_name(item.data_type()))
        }
        Struct(_) => "row".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{attribute_map_type, event_fields, link_fields, physical_schema};

    #[test]
    fn a_name_can_only_be_a_name() {
        assert_eq!(quoted("Traces.Spans").expect("a name"), r#""traces"."spans""#);
        assert_eq!(quoted(r#""A.b".c"#).expect("a name"), r#""A.b"."c""#);
        assert_eq!(quoted("spans;drop").expect("a name"), r#""spans;drop""#);
        for wrong in ["", ".", "a.", "a.b.c.d"] {
            assert!(quoted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_have_their_postgres_names() {
        assert_eq!(type_name(&attribute_map_type()), "map(text, text)");
        assert_eq!(type_name(&DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))), "timestamptz(9)");
        let batch = rows(&physical_schema()).expect("rows");
        let parts = event_fields().len() + link_fields().len();
        assert_eq!(batch.num_rows(), physical_schema().fields().len() + parts);
    }
}
