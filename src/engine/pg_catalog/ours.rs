//! Our own functions as `\df` lists them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt32Array, new_null_array};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;

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
    scalar("json_get", "json text, VARIADIC keys text[]", "text"),
    scalar("json_get_str", "json text, VARIADIC keys text[]", "text"),
    scalar("json_get_int", "json text, VARIADIC keys text[]", "bigint"),
    scalar("json_get_float", "json text, VARIADIC keys text[]", "double precision"),
    scalar("json_get_bool", "json text, VARIADIC keys text[]", "boolean"),
    scalar("json_get_json", "json text, VARIADIC keys text[]", "text"),
    scalar("json_as_text", "json text, VARIADIC keys text[]", "text"),
    scalar("json_length", "json text, VARIADIC keys text[]", "bigint"),
    scalar("json_contains", "json text, VARIADIC keys text[]", "boolean"),
    scalar("json_object_keys", "json text, VARIADIC keys text[]", "text[]"),
];

/// The first OID of our functions: above all of PostgreSQL's own, below all relations'.
const FIRST_OID: u32 = 16_000;

fn listed(oid: u32) -> Option<&'static Listed> {
    OURS.get(usize::try_from(oid.checked_sub(FIRST_OID)?).ok()?)
}

/// The arguments of a function of ours, as it is declared.
pub(super) fn arguments(oid: u32) -> Option<&'static str> {
    Some(listed(oid).map_or("", |function| function.arguments))
}

/// The result of a function of ours, as it is declared.
pub(super) fn result(oid: u32) -> Option<&'static str> {
    listed(oid).map(|function| function.result)
}

/// Appends our functions to the rows of `pg_proc`.
pub(super) fn add_ours(proc: &RecordBatch, namespace: u32) -> Result<RecordBatch> {
    let count = OURS.len();
    let ints = |value: &dyn Fn(usize) -> i32| Arc::new((0..count).map(value).collect::<Int32Array>()) as ArrayRef;
    let oids = |value: &dyn Fn(usize) -> u32| Arc::new((0..count).map(value).collect::<UInt32Array>()) as ArrayRef;
    let texts = |value: &dyn Fn(usize) -> &'static str| {
        Arc::new((0..count).map(|at| Some(value(at))).collect::<StringArray>()) as ArrayRef
    };
    let mut columns = Vec::new();
    for field in proc.schema().fields() {
        let values = match field.name().as_str() {
            "oid" => oids(&|at| FIRST_OID + at as u32),
            "proname" => texts(&|at| OURS[at].name),
            "pronamespace" => oids(&|_| namespace),
            "proowner" => ints(&|_| 10),
            "prolang" => ints(&|_| 12),
            "prokind" => texts(&|at| if OURS[at].aggregate { "a" } else { "f" }),
            "provolatile" => texts(&|_| "i"),
            "proparallel" => texts(&|_| "s"),
            // PostgreSQL's OIDs of double precision.
            "prorettype" => ints(&|_| 701),
            "proargtypes" => texts(&|_| ""),
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

fn nullable(batch: &RecordBatch) -> Arc<Schema> {
    let fields: Vec<_> =
        batch.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}
