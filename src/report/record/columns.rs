//! The columns of a table: how they are kept, and how those of a run go with those that are there.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::error::{Error, Kind, Result};
use crate::pg::PgType;

/// The most columns of a table, as PostgreSQL has it: a report that names a column after its data would add some with each run.
const MOST_COLUMNS: usize = 1600;

/// The columns of a run's result as they are kept: each may be NULL, texts are of one type whatever they were made of, times are UTC.
pub(super) fn kept(table: &str, schema: &Schema) -> Result<Vec<Field>> {
    let mut names = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        return Err(refused(format!("the result has two columns \"{}\"", twice.name()), table)
            .with_hint("name each of them with AS"));
    }
    schema.fields().iter().map(|field| kept_field(table, field)).collect()
}

fn kept_field(table: &str, field: &Field) -> Result<Field> {
    let Some(data_type) = kept_type(field.data_type()) else {
        let pg_type = PgType::of(field.data_type()).name();
        return Err(refused(format!("column \"{}\" is {pg_type}, which no file keeps", field.name()), table)
            .with_hint("of an interval, keep extract(epoch FROM …)"));
    };
    Ok(Field::new(field.name(), data_type, true))
}

/// The type that values are kept as; `None` where Parquet has none.
fn kept_type(data_type: &DataType) -> Option<DataType> {
    let inner = |field: &FieldRef| {
        let kept = kept_type(field.data_type())?;
        Some(Arc::new(Field::new(field.name(), kept, field.is_nullable())))
    };
    Some(match data_type {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => kept_type(values)?,
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        DataType::List(field) | DataType::LargeList(field) | DataType::ListView(field) => DataType::List(inner(field)?),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Option<Fields>>()?),
        DataType::Map(entries, is_sorted) => DataType::Map(inner(entries)?, *is_sorted),
        DataType::Interval(_) | DataType::Union(..) | DataType::RunEndEncoded(..) => return None,
        other => other.clone(),
    })
}

/// The columns of a table and of a run together, those of the table first; `result` is the run's own schema.
///
/// # Errors
/// [`Kind::BadInput`] when a column has another type than before.
pub(super) fn united(table: &str, before: Option<&Schema>, result: &Schema) -> Result<SchemaRef> {
    let run = kept(table, result)?;
    let mut all: Vec<FieldRef> = before.map(|before| before.fields().to_vec()).unwrap_or_default();
    for (field, given) in run.into_iter().zip(result.fields()) {
        match all.iter().find(|known| known.name() == field.name()) {
            // Of nothing but NULL nobody said what it is.
            Some(_) if given.data_type().is_null() => {}
            Some(known) if known.data_type() == field.data_type() => {}
            Some(known) => return Err(changed(table, known, &field)),
            None => all.push(Arc::new(field)),
        }
    }
    match all.len() {
        0 => Err(refused("the result has no columns".to_owned(), table)),
        1..=MOST_COLUMNS => Ok(Arc::new(Schema::new(all))),
        columns => Err(refused(format!("it would have {columns} columns, and may have {MOST_COLUMNS}"), table)),
    }
}

fn changed(table: &str, known: &Field, now: &Field) -> Error {
    let name = |field: &Field| match (PgType::of(known.data_type()).name(), PgType::of(now.data_type()).name()) {
        (known, now) if known == now => field.data_type().to_string(),
        _ => PgType::of(field.data_type()).name().to_string(),
    };
    let message = format!("column \"{}\" is {} there and {} in the result", known.name(), name(known), name(now));
    refused(message, table).with_hint("cast it to what it was, or give it or the table another name")
}

fn refused(why: String, table: &str) -> Error {
    Error::new(Kind::BadInput, format!("cannot record into reports.{table}: {why}")).with_sqlstate("42804")
}

/// The rows with the columns of `schema`: NULL where they have none, in the type that is kept.
pub(super) fn aligned(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let failed = |error| Error::internal(format!("a result that cannot be kept: {error}"));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(failed)?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(failed)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray, Int64Array, NullArray, StringArray};
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, of)| Field::new(*name, of.clone(), false)).collect::<Vec<_>>())
    }

    #[test]
    fn columns_are_added_and_keep_their_types() {
        let zone = |name: &str| DataType::Timestamp(TimeUnit::Nanosecond, Some(name.into()));
        let before = schema(&[("time", zone("UTC")), ("name", DataType::Utf8View), ("n", DataType::Int64)]);
        let result = schema(&[
            ("n", DataType::Null),
            ("time", zone("Europe/Berlin")),
            ("name", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
            ("sketch", DataType::BinaryView),
            ("names", DataType::new_list(DataType::Utf8, true)),
        ]);
        let all = united("t", Some(&before), &result).expect("united");
        let shown: Vec<_> = all.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect();
        let texts = DataType::new_list(DataType::Utf8View, true);
        let wanted = [
            ("time", &zone("UTC")),
            ("name", &DataType::Utf8View),
            ("n", &DataType::Int64),
            ("sketch", &DataType::Binary),
            ("names", &texts),
        ];
        assert_eq!(shown, wanted);
        assert!(all.fields().iter().skip(3).all(|field| field.is_nullable()));
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let before = schema(&[("n", DataType::Int64)]);
        for (columns, wanted) in [
            (
                vec![("n", DataType::Float64)],
                "cannot record into reports.t: column \"n\" is bigint there and double precision in the result",
            ),
            (vec![("a", DataType::Int64), ("a", DataType::Int64)], "two columns \"a\""),
            (vec![("i", DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano))], "is interval"),
        ] {
            let error = united("t", Some(&before), &schema(&columns)).expect_err(wanted);
            assert!(error.message.contains(wanted) && error.hint.is_some(), "{error}");
        }
        assert!(united("t", None, &Schema::empty()).is_err());
        let many: Vec<_> = (0..=MOST_COLUMNS).map(|n| format!("c{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), DataType::Int64)).collect();
        assert!(united("t", None, &schema(&many)).is_err());
    }

    #[test]
    fn rows_get_the_columns_that_they_lack() {
        let kept = united("t", None, &schema(&[("a", DataType::Utf8), ("b", DataType::Int64)])).expect("united");
        let rows = RecordBatch::try_from_iter([
            ("b", Arc::new(NullArray::new(2)) as _),
            ("a", Arc::new(StringArray::from(vec!["x", "y"])) as _),
        ]);
        let aligned = aligned(&rows.expect("rows"), &kept).expect("aligned");
        assert_eq!(aligned.column(0).as_string_view().value(1), "y");
        assert_eq!(aligned.column(1).as_ref(), &Int64Array::from(vec![None, None]) as &dyn Array);
    }
}
