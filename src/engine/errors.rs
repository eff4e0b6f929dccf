//! DataFusion's errors become ours: PostgreSQL's SQLSTATEs, and text for a person.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::error::{Error, Kind};

/// Turns an error of planning or running a statement into one for its user.
pub(super) fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) => from_datafusion(*inner),
        DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0)),
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::new(Kind::Io, other.to_string()),
        },
        DataFusionError::SchemaError(inner, _) => schema_error(*inner),
        DataFusionError::ResourcesExhausted(text) => Error::new(Kind::OutOfResources, text),
        DataFusionError::ObjectStore(inner) => {
            Error::new(Kind::Io, format!("object store: {inner}")).with_source(*inner)
        }
        DataFusionError::IoError(inner) => Error::io("query", inner),
        other => Error::bad_input(other.strip_backtrace()).with_sqlstate("XX000"),
    }
}

fn schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            Error::bad_input(format!("column \"{}\" does not exist", field.flat_name())).with_sqlstate("42703")
        }
        SchemaError::AmbiguousReference { field } => {
            Error::bad_input(format!("column reference \"{}\" is ambiguous", field.flat_name())).with_sqlstate("42702")
        }
        other => Error::bad_input(other.to_string()).with_sqlstate("42P10"),
    }
}
