//! Functions that clients' catalogue queries call, and our own functions as `\df` lists them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::catalog::TRACES;
use crate::pg::oid_of_name;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility, create_udf,
};

/// A function of ours as clients see it.
struct Listed {
    name: &'static str,
    arguments: &'static str,
    result: &'static str,
    aggregate: bool,
}

const fn aggregate(name: &'static str, arguments: &'static str, result: &'static str) -> Listed {
    Listed { name, arguments, result, aggregate: true }
}

const fn scalar(name: &'static str, arguments: &'static str, result: &'static str) -> Listed {
    Listed { name, arguments, result, aggregate: false }
}

/// Our functions; their place here gives their OIDs.
const OURS: &[Listed] = &[
    aggregate("quantile", "value double precision, q double precision", "double precision"),
    aggregate("quantiles", "value double precision, VARIADIC q double precision[]", "double precision[]"),
    aggregate("quantileexact", "value double precision, q double precision", "double precision"),
    aggregate("median", "value double precision", "double precision"),
    aggregate("percentile_cont", "q double precision ORDER BY value double precision", "double precision"),
    aggregate("percentile_disc", "q double precision ORDER BY value double precision", "double precision"),
    scalar("date_bin", "stride interval, at timestamp with time zone", "timestamp with time zone"),
    scalar("time_bucket", "stride interval, at timestamp with time zone", "timestamp with time zone"),
    aggregate("countif", "condition boolean", "bigint"),
    aggregate("sumif", "value double precision, condition boolean", "double precision"),
    aggregate("avgif", "value double precision, condition boolean", "double precision"),
    aggregate("minif", "value anyelement, condition boolean", "anyelement"),
    aggregate("maxif", "value anyelement, condition boolean", "anyelement"),
    aggregate("quantileif", "value double precision, condition boolean, q double precision", "double precision"),
    aggregate("uniq", "value anyelement", "bigint"),
    aggregate("any", "value anyelement", "anyelement"),
];

/// The first OID of our functions: above all of PostgreSQL's own, below all relations'.
const FIRST_OID: i32 = 16_000;

fn listed(oid: i32) -> Option<&'static Listed> {
    OURS.get(usize::try_from(oid.checked_sub(FIRST_OID)?).ok()?)
}

/// Appends our functions to the rows of `pg_proc`.
pub(super) fn add_ours(proc: &RecordBatch, namespace: i32) -> Result<RecordBatch> {
    let count = OURS.len();
    let ints = |value: &dyn Fn(usize) -> i32| Arc::new((0..count).map(value).collect::<Int32Array>()) as ArrayRef;
    let texts = |value: &dyn Fn(usize) -> &'static str| {
        Arc::new((0..count).map(|at| Some(value(at))).collect::<StringArray>()) as ArrayRef
    };
    let mut columns = Vec::new();
    for field in proc.schema().fields() {
        let values = match field.name().as_str() {
            "oid" => ints(&|at| FIRST_OID + at as i32),
            "proname" => texts(&|at| OURS[at].name),
            "pronamespace" => ints(&|_| namespace),
            "proowner" => ints(&|_| 10),
            "prolang" => ints(&|_| 12),
            "prokind" => texts(&|at| if OURS[at].aggregate { "a" } else { "f" }),
            "provolatile" => texts(&|_| "i"),
            "proparallel" => texts(&|_| "s"),
            // PostgreSQL's OIDs of double precision.
            "prorettype" => ints(&|_| 701),
            "prosrc" => texts(&|at| OURS[at].name),
            "pronargs" | "pronargdefaults" | "provariadic" => ints(&|_| 0),
            "proisstrict" | "proretset" | "prosecdef" | "proleakproof" => ints(&|_| 0),
            _ => new_null_array(field.data_type(), count),
        };
        columns.push(cast(&values, field.data_type())?);
    }
    // Where a column may not be NULL, the first row of PostgreSQL's own functions gives a value of the right kind.
    let ours = RecordBatch::try_new(nullable(proc), columns)?;
    let theirs = RecordBatch::try_new(ours.schema(), proc.columns().to_vec())?;
    Ok(concat_batches(&ours.schema(), [&theirs, &ours])?)
}

fn nullable(batch: &RecordBatch) -> Arc<datafusion::arrow::datatypes::Schema> {
    let fields: Vec<_> =
        batch.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(datafusion::arrow::datatypes::Schema::new(fields))
}

/// The scalar functions that the crate does not have.
pub(super) fn scalar_functions() -> Vec<ScalarUDF> {
    vec![
        of_oid("pg_get_function_arguments", |oid| Some(listed(oid).map_or("", |function| function.arguments))),
        of_oid("pg_get_function_identity_arguments", |oid| Some(listed(oid).map_or("", |function| function.arguments))),
        of_oid("pg_get_function_result", |oid| listed(oid).map(|function| function.result)),
        of_oid("pg_get_functiondef", |_| None),
        of_oid("pg_get_indexdef", |_| None),
        of_oid("pg_get_triggerdef", |_| None),
        of_oid("pg_get_ruledef", |_| None),
        of_oid("pg_get_function_sqlbody", |_| None),
        of_oid("pg_tablespace_location", |_| None),
        nothing("obj_description", 2, DataType::Utf8),
        nothing("shobj_description", 2, DataType::Utf8),
        nothing("col_description", 2, DataType::Utf8),
        encoding_number(),
        create_udf(
            "getdatabaseencoding",
            Vec::new(),
            DataType::Utf8,
            Volatility::Immutable,
            Arc::new(|_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from("UTF8")))),
        ),
        no_bytes("pg_table_size"),
        no_bytes("pg_tablespace_size"),
        no_bytes("pg_database_size"),
        size_pretty(),
        to_regtype(),
        visible("pg_function_is_visible"),
        visible("pg_type_is_visible"),
        visible("pg_operator_is_visible"),
        visible("pg_collation_is_visible"),
        visible("pg_conversion_is_visible"),
        visible("pg_statistics_obj_is_visible"),
        visible("pg_ts_config_is_visible"),
        visible("pg_ts_dict_is_visible"),
        visible("pg_ts_parser_is_visible"),
        visible("pg_ts_template_is_visible"),
        visible("pg_is_other_temp_schema"),
        current_schema(),
        current_schemas(),
    ]
}

/// A function of an object's OID that gives text.
fn of_oid(name: &str, value: fn(i32) -> Option<&'static str>) -> ScalarUDF {
    let implementation = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let oids = cast(&arrays[0], &DataType::Int32)?;
        let oids = oids.as_primitive::<Int32Type>();
        let texts: StringArray = oids.iter().map(|oid| oid.and_then(value)).collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    };
    create_udf(name, vec![DataType::Int32], DataType::Utf8, Volatility::Immutable, Arc::new(implementation))
}

/// The schema where names are looked up.
fn current_schema() -> ScalarUDF {
    let implementation = |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from(TRACES)));
    create_udf("current_schema", Vec::new(), DataType::Utf8, Volatility::Immutable, Arc::new(implementation))
}

/// All schemas where names are looked up, with or without PostgreSQL's own.
fn current_schemas() -> ScalarUDF {
    let implementation = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let with_own = arrays[0].as_boolean().iter().next().flatten().unwrap_or(false);
        let names: &[&str] = if with_own { &["pg_catalog", TRACES] } else { &[TRACES] };
        let names: Vec<ScalarValue> = names.iter().map(|name| ScalarValue::from(*name)).collect();
        let list = ScalarValue::new_list(&names, &DataType::Utf8, true);
        Ok(ColumnarValue::Scalar(ScalarValue::List(list)))
    };
    let result = DataType::new_list(DataType::Utf8, true);
    create_udf("current_schemas", vec![DataType::Boolean], result, Volatility::Immutable, Arc::new(implementation))
}

/// The OID of a type by its name; NULL when there is none, as drivers ask for types of extensions.
fn to_regtype() -> ScalarUDF {
    let implementation = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let names = arrays[0].as_string::<i32>();
        let oids: Int32Array =
            names.iter().map(|name| name.and_then(|name| oid_of_name(name).ok()).map(u32::cast_signed)).collect();
        Ok(ColumnarValue::Array(Arc::new(oids)))
    };
    create_udf("to_regtype", vec![DataType::Utf8], DataType::Int32, Volatility::Immutable, Arc::new(implementation))
}

/// A function that knows nothing, of whatever it is asked: comments do not exist here, and sizes belong to the store.
fn nothing(name: &str, arguments: usize, result: DataType) -> ScalarUDF {
    let answer = result.clone();
    let implementation = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::try_from(&answer)?));
    let signature = Signature::any(arguments, Volatility::Immutable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(name, signature, result, Arc::new(implementation)))
}

/// An object's size on disk, by its OID or name.
fn no_bytes(name: &str) -> ScalarUDF {
    nothing(name, 1, DataType::Int64)
}

/// The number of an encoding by its name; only UTF-8, which is 6, is known.
fn encoding_number() -> ScalarUDF {
    let implementation = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let names = arrays[0].as_string::<i32>();
        let is_utf8 = |name: &str| matches!(name.to_ascii_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE");
        let numbers: Int32Array =
            names.iter().map(|name| name.map(|name| if is_utf8(name) { 6 } else { -1 })).collect();
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    };
    let text = vec![DataType::Utf8];
    create_udf("pg_char_to_encoding", text, DataType::Int32, Volatility::Immutable, Arc::new(implementation))
}

/// The SQL of each of our relations, by OID.
pub(super) fn view_definition(definitions: BTreeMap<i32, &'static str>) -> ScalarUDF {
    let implementation = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let oids = cast(&arrays[0], &DataType::Int32)?;
        let oids = oids.as_primitive::<Int32Type>();
        let texts: StringArray = oids.iter().map(|oid| oid.and_then(|oid| definitions.get(&oid).copied())).collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    };
    let signature = Signature::one_of(vec![TypeSignature::Any(1), TypeSignature::Any(2)], Volatility::Immutable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(
        "pg_get_viewdef",
        signature,
        DataType::Utf8,
        Arc::new(implementation),
    ))
}

/// Bytes as PostgreSQL shows them to people: in the largest unit that leaves at most five digits.
fn size_pretty() -> ScalarUDF {
    let implementation = |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let sizes: StringArray = arrays[0].as_primitive::<Int64Type>().iter().map(|bytes| bytes.map(pretty)).collect();
        Ok(ColumnarValue::Array(Arc::new(sizes)))
    };
    create_udf("pg_size_pretty", vec![DataType::Int64], DataType::Utf8, Volatility::Immutable, Arc::new(implementation))
}

fn pretty(bytes: i64) -> String {
    let mut value = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if value.unsigned_abs() < 10 * 1024 {
            return format!("{value} {unit}");
        }
        value = (value + 512 * value.signum()) / 1024;
    }
    format!("{value} PB")
}

/// Whether an object is found without its schema: all are but temporary ones, of which there are none.
fn visible(name: &str) -> ScalarUDF {
    let answer = name != "pg_is_other_temp_schema";
    let implementation = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
        let answers: datafusion::arrow::array::BooleanArray =
            std::iter::repeat_n(Some(answer), arrays[0].len()).collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    };
    create_udf(name, vec![DataType::Int32], DataType::Boolean, Volatility::Immutable, Arc::new(implementation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_postgresql_writes_them() {
        for (bytes, text) in
            [(0, "0 bytes"), (10_239, "10239 bytes"), (10_240, "10 kB"), (-20_480, "-20 kB"), (5 << 30, "5120 MB")]
        {
            assert_eq!(pretty(bytes), text);
        }
    }
}
