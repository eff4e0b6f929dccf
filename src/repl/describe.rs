//! `\d RELATION`: its columns and their types, in SQL's words.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::backend::{Backend, literal};
use super::query;
use crate::error::{Error, Kind, Result};
use crate::pg::PgType;

/// The columns of a relation as rows of name, type and nullability.
pub async fn describe(backend: &Backend, relation: &str) -> Result<Vec<RecordBatch>> {
    let parts = parts_of(relation)?;
    if !backend.is_local() {
        return of_server(backend, relation, &parts).await;
    }
    let name = parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".");
    let schema = backend.columns(&format!("SELECT * FROM {name}")).await.map_err(|mut error| {
        // The position is in a text that the user did not write.
        error.position = None;
        error
    })?;
    Ok(vec![rows(&schema)?])
}

/// What a server's catalogue says of a relation.
async fn of_server(backend: &Backend, relation: &str, parts: &[String]) -> Result<Vec<RecordBatch>> {
    let schema = match parts {
        [.., schema, _] => literal(schema),
        _ => "any(current_schemas(true))".to_owned(),
    };
    let name = parts.last().map(String::as_str).unwrap_or_default();
    let batches =
        backend.batches(&query::filled(query::RELATION_COLUMNS, &[("schema", schema.as_str())]), &[name]).await?;
    match batches.iter().all(|batch| batch.num_rows() == 0) {
        true => {
            Err(Error::new(Kind::NotFound, format!("relation \"{relation}\" does not exist")).with_sqlstate("42P01"))
        }
        false => Ok(batches),
    }
}

/// The parts of a name, small unless they were quoted, which in quotes can only be names.
fn parts_of(relation: &str) -> Result<Vec<String>> {
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
        false => Ok(parts),
    }
}

fn rows(schema: &Schema) -> Result<RecordBatch> {
    let mut rows: Vec<(String, String, bool)> = Vec::new();
    for field in schema.fields() {
        rows.push((field.name().clone(), PgType::of_field(field).full_name(), field.is_nullable()));
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
    let part = |part: &Arc<Field>| {
        (format!("{prefix}.{}", part.name()), PgType::of_field(part).full_name(), part.is_nullable())
    };
    parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::model::schema::{event_fields, link_fields, physical_schema};
    use crate::render::cell_text;

    #[test]
    fn a_name_can_only_be_a_name() {
        assert_eq!(parts_of("Traces.Spans").expect("a name"), ["traces", "spans"]);
        assert_eq!(parts_of(r#""A.b".c"#).expect("a name"), ["A.b", "c"]);
        assert_eq!(parts_of("spans;drop").expect("a name"), ["spans;drop"]);
        for wrong in ["", ".", "a.", "a.b.c.d"] {
            assert!(parts_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_have_the_names_that_psql_shows() {
        let schema = physical_schema();
        let batch = rows(&schema).expect("rows");
        let parts = event_fields().len() + link_fields().len();
        assert_eq!(batch.num_rows(), schema.fields().len() + parts);
        let text = |column: usize, row: usize| cell_text(batch.column(column), row).expect("text");
        let types: HashMap<String, String> = (0..batch.num_rows()).map(|row| (text(0, row), text(1, row))).collect();
        for (column, name) in [
            ("start_ns", "bigint"),
            ("trace_id", "bytea"),
            ("attributes", "jsonb"),
            ("events", "jsonb"),
            ("events[].name", "text"),
            ("events[].attributes", "jsonb"),
        ] {
            assert_eq!(types[column], name, "{column}");
        }
    }
}
