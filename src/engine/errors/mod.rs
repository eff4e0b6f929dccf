//! DataFusion's errors become ours: PostgreSQL's SQLSTATEs, and text for a person.

mod syntax;
mod unknown;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::object_store::Error as StoreError;
use parquet::errors::ParquetError;

use self::unknown::{unknown_column, unknown_function, unknown_relation};
use super::spill::{Refusal, refusal};
use super::wording::{between, in_postgres_words, known};
use crate::error::{Error, Kind};
use crate::store::missing_file;

pub(super) use self::syntax::advice;

/// Turns an error of planning or running a statement into one for its user. That a data file is missing stays known of it.
pub(super) fn from_datafusion(error: DataFusionError) -> Error {
    let missing = missing_file(&error).map(|file| file.to_error());
    let error = translated(error);
    match missing {
        Some(missing) => error.with_source(missing),
        None => error,
    }
}

fn translated(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translated(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => translated(errors.swap_remove(0)),
        DataFusionError::Shared(inner) => shared(&inner),
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => translated(*inner),
                Err(other) => execution(&other.to_string()),
            },
        },
        DataFusionError::SchemaError(inner, _) => schema_error(*inner),
        DataFusionError::ResourcesExhausted(text) => out_of_memory(&text),
        DataFusionError::ObjectStore(inner) => {
            Error::new(Kind::Io, format!("object store: {inner}")).with_source(*inner)
        }
        DataFusionError::ParquetError(inner) => parquet_error(&inner),
        DataFusionError::IoError(inner) => spilling(&inner).unwrap_or_else(|| Error::io("query", inner)),
        DataFusionError::ArrowError(inner, _) => arrow_error(*inner),
        DataFusionError::Plan(text) => planning(&text),
        DataFusionError::Execution(text) => execution(&text),
        DataFusionError::NotImplemented(text) => {
            if let Some(error) = nested_cast(&text).or_else(|| known(&text)) {
                return error;
            }
            // What follows a colon may be a syntax tree, as Rust shows it.
            let text = clean(&text);
            let text = if text.contains("span: Span(") { text.split(": ").next().unwrap_or_default() } else { &text };
            Error::bad_input(format!("not supported: {}", in_postgres_words(text))).with_sqlstate("0A000")
        }
        DataFusionError::Internal(text) if known(&text).is_some() => planning(&text),
        DataFusionError::Internal(text) => Error::internal(format!("the query engine failed: {}", clean(&text))),
        other => planning(&other.strip_backtrace()),
    }
}

/// An error that several readers of one stream share: what it says is all that can be taken from it.
fn shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => shared(inner),
        DataFusionError::Shared(inner) => shared(inner),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => Error::new(ours.kind, ours.message.clone()).with_sqlstate(ours.sqlstate()),
            None => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => shared(inner),
                None => Error::new(Kind::Io, inner.to_string()),
            },
        },
        DataFusionError::ResourcesExhausted(text) => out_of_memory(text),
        DataFusionError::IoError(inner) => {
            spilling(inner).unwrap_or_else(|| Error::new(Kind::Io, format!("query: {inner}")))
        }
        DataFusionError::Execution(text) => execution(text),
        DataFusionError::ObjectStore(inner) => Error::new(Kind::Io, format!("object store: {inner}")),
        DataFusionError::ParquetError(inner) => parquet_error(inner),
        DataFusionError::ArrowError(inner, _) => arrow_text(&inner.to_string()),
        other => execution(&other.strip_backtrace()),
    }
}

/// Why a statement may not spill more: a limit is reached, or the disk is full. Statements write nothing else.
fn spilling(error: &std::io::Error) -> Option<Error> {
    let is_full = || error.kind() == std::io::ErrorKind::StorageFull;
    refusal(error).map(Refusal::to_error).or_else(|| is_full().then(disk_is_full))
}

fn disk_is_full() -> Error {
    Error::new(Kind::OutOfResources, "the disk for temporary files is full")
        .with_sqlstate("53100")
        .with_hint("make room on it, or set TMPDIR to a larger one")
}

/// What stands in the text of an error of the object store that may pass.
const OUT_OF_REACH: &str = "Object Store error: Generic object store error: ";

/// A file that is not what was written, or one that could not be had.
fn parquet_error(error: &ParquetError) -> Error {
    let out_of_reach = match error {
        ParquetError::External(source) => source
            .downcast_ref::<StoreError>()
            .filter(|error| matches!(error, StoreError::Generic { store: "object store", .. })),
        _ => None,
    };
    match (out_of_reach, error) {
        (Some(error), _) => Error::new(Kind::Io, format!("a data file cannot be had: {error}")),
        // DataFusion makes a text of what keeps it from a file's footer.
        (None, ParquetError::General(text)) if text.contains(OUT_OF_REACH) => {
            Error::new(Kind::Io, format!("a data file cannot be had: {text}"))
        }
        (None, error) => Error::corrupt(format!("a data file cannot be read: {error}")),
    }
}

fn schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(&field, &valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::bad_input(format!("column reference \"{}\" is ambiguous", field.flat_name())).with_sqlstate("42702")
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::bad_input(format!("column \"{name}\" is given more than once")).with_sqlstate("42701")
        }
    }
}

/// What DataFusion says of a function that takes other arguments.
const NO_SIGNATURE: &str = "failed to match any signature";

fn wrong_arguments(text: &str) -> Error {
    let name = between(text, "Function '", "'").unwrap_or("of that name");
    let error = Error::bad_input(format!("function {name} does not take these arguments")).with_sqlstate("42883");
    match between(text, "requires ", ", but received ") {
        Some(wanted) => error.with_hint(format!("it takes {}; cast what it is given", wanted.to_lowercase())),
        None => error,
    }
}

/// A cast of a map, row or list, which the planner tells with whole Arrow types.
fn nested_cast(text: &str) -> Option<Error> {
    let from = between(text, "Unsupported CAST from ", "(")?;
    let what = match from {
        "Map" => "a map of attributes",
        "Struct" => "a row",
        "List" | "LargeList" | "FixedSizeList" => "an array",
        _ => return None,
    };
    let error = Error::bad_input(format!("not supported: a cast of {what}")).with_sqlstate("0A000");
    Some(
        error.with_hint(
            "cast it to text or jsonb, which gives its JSON, or take a part of it, such as attributes['key']",
        ),
    )
}

/// Functions that are over windows only.
const WINDOW_FUNCTIONS: [&str; 8] =
    ["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead"];

fn planning(text: &str) -> Error {
    let text = clean(text);
    if let Some(error) = known(&text) {
        return error;
    }
    if text.contains(NO_SIGNATURE) {
        return wrong_arguments(&text);
    }
    let lower = text.to_lowercase();
    if let Some(name) = between(&text, "table '", "' not found") {
        return unknown_relation(name);
    }
    if let Some(name) = between(&text, "Invalid function '", "'") {
        if WINDOW_FUNCTIONS.contains(&name.to_lowercase().as_str()) {
            let error = Error::bad_input(format!("window function {name} requires an OVER clause"));
            return error.with_sqlstate("42809");
        }
        return unknown_function(name, between(&text, "Did you mean '", "'"));
    }
    if let Some(name) = between(&text, "table function '", "' not found") {
        return unknown_function(name, None);
    }
    let sqlstate = if lower.contains("user-defined coercion failed") || lower.contains("no function matches") {
        "42883"
    } else if lower.contains("wants levels between") {
        "22023"
    } else if lower.contains("placeholder") && lower.contains("type") {
        "42P18"
    } else if lower.contains("group by") || lower.contains("aggregate") {
        "42803"
    } else if lower.contains("cannot infer common argument type")
        || lower.contains("cannot coerce")
        || lower.contains("type coercion")
        || lower.contains("incompatible")
        || lower.contains("must be boolean")
        || lower.contains("non-boolean")
    {
        "42804"
    } else {
        "42601"
    };
    // Of a function's own complaint, the part that a person needs stands in front.
    let text = match between(&text, "user-defined coercion failed with: ", ". No function matches") {
        Some(reason) => clean(reason),
        None => text.split("\n\tCandidate functions:").next().unwrap_or(&text).to_string(),
    };
    reworded(&text, sqlstate)
}

fn execution(text: &str) -> Error {
    let text = clean(text);
    if let Some(error) = known(&text) {
        return error;
    }
    let lower = text.to_lowercase();
    let sqlstate = if lower.contains("divide by zero") || lower.contains("division by zero") {
        "22012"
    } else if lower.contains("square root of a negative") {
        "2201F"
    } else if lower.contains("overflow") || lower.contains("out of range") {
        "22003"
    } else if lower.contains("regex") || lower.contains("regular expression") {
        "2201B"
    } else if lower.contains("cannot cast") || lower.contains("error parsing") || lower.contains("parse") {
        "22P02"
    } else if lower.contains("returned more than one row") {
        "21000"
    } else {
        "22000"
    };
    reworded(&text, sqlstate)
}

fn arrow_error(error: ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::bad_input("division by zero").with_sqlstate("22012"),
        ArrowError::ArithmeticOverflow(text) => {
            Error::bad_input(format!("number out of range: {}", lower_first(&clean(&text)))).with_sqlstate("22003")
        }
        ArrowError::CastError(text) => {
            let text = clean(&text);
            known(&text).unwrap_or_else(|| reworded(&text, "22P02"))
        }
        ArrowError::IoError(text, inner) => spilling(&inner).unwrap_or_else(|| arrow_text(&text)),
        ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => from_datafusion(*inner),
            Err(other) => Error::new(Kind::Io, other.to_string()),
        },
        other => arrow_text(&other.to_string()),
    }
}

fn arrow_text(text: &str) -> Error {
    let lower = text.to_lowercase();
    if lower.contains("offset overflow") || lower.contains("too large") {
        return Error::new(Kind::TooLarge, "a value of the result is too large");
    }
    execution(text)
}

/// The reason, which names operators, is for who runs the server.
fn out_of_memory(reason: &str) -> Error {
    tracing::debug!(reason, "a statement is out of memory");
    Error::new(Kind::OutOfResources, "the statement needs more memory than it may use")
        .with_hint("narrow it by time or service, select fewer columns, or allow more query memory in the settings")
}

/// A message without the wrappings that DataFusion puts around it.
fn clean(text: &str) -> String {
    let mut text = text.trim();
    loop {
        let before = text;
        for wrapping in [
            "Error during planning: ",
            "Execution error: ",
            "Arrow error: ",
            "SQL error: ",
            "Schema error: ",
            "Optimizer rule 'simplify_expressions' failed",
            "caused by",
            "External error: ",
            "Cast error: ",
            "Parser error: ",
            "Compute error: ",
            "Invalid argument error: ",
            "This feature is not implemented: ",
            "type_coercion",
        ] {
            text = text.strip_prefix(wrapping).unwrap_or(text).trim_start();
        }
        if text == before {
            break;
        }
    }
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    text.split("This issue was likely caused by a bug").next().unwrap_or(text).trim().trim_end_matches('.').to_string()
}

/// What is left of a message that PostgreSQL has no sentence for.
fn reworded(text: &str, sqlstate: &'static str) -> Error {
    Error::bad_input(in_postgres_words(&lower_first(text))).with_sqlstate(sqlstate)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // A word in capitals stays one.
        (Some(_), Some(second)) if second.is_uppercase() => text.to_string(),
        (Some(first), _) => first.to_lowercase().chain(chars).collect(),
        (None, _) => String::new(),
    }
}
