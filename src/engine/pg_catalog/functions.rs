//! Functions that clients' catalogue queries call.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, UInt32Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility, create_udf,
};

use super::callable;
use crate::engine::catalog::TRACES;

/// The owner of all there is, and its OID.
pub(super) const OWNER: (u32, &str) = (10, "spanhouse");

/// What a function says, whatever it is asked.
#[derive(Clone, Copy)]
enum Says {
    NoText,
    NoBytes,
    Nothing,
    Yes,
    No,
    Zero,
    NoNumbers,
}

/// Functions with one answer, by the number of their arguments. There are no comments, locks, notifications, indexes and partitions here.
const CONSTANT: &[(&str, RangeInclusive<usize>, Says)] = &[
    ("shobj_description", 2..=2, Says::NoText),
    ("pg_get_indexdef", 1..=3, Says::NoText),
    ("pg_get_triggerdef", 1..=2, Says::NoText),
    ("pg_get_ruledef", 1..=2, Says::NoText),
    ("pg_get_function_sqlbody", 1..=1, Says::NoText),
    ("pg_get_serial_sequence", 2..=2, Says::NoText),
    ("pg_tablespace_location", 1..=1, Says::NoText),
    ("pg_describe_object", 3..=3, Says::NoText),
    ("pg_indexes_size", 1..=1, Says::NoBytes),
    ("pg_tablespace_size", 1..=1, Says::NoBytes),
    ("pg_advisory_unlock_all", 0..=0, Says::Nothing),
    ("pg_advisory_unlock", 1..=2, Says::No),
    ("pg_advisory_unlock_shared", 1..=2, Says::No),
    ("pg_is_in_recovery", 0..=0, Says::No),
    ("pg_is_other_temp_schema", 1..=1, Says::No),
    ("pg_blocking_pids", 1..=1, Says::NoNumbers),
    ("pg_my_temp_schema", 0..=0, Says::Zero),
    ("pg_stat_get_numscans", 1..=1, Says::Zero),
    ("pg_relation_is_updatable", 2..=2, Says::Zero),
    ("pg_type_is_visible", 1..=1, Says::Yes),
    ("pg_operator_is_visible", 1..=1, Says::Yes),
    ("pg_opclass_is_visible", 1..=1, Says::Yes),
    ("pg_opfamily_is_visible", 1..=1, Says::Yes),
    ("pg_collation_is_visible", 1..=1, Says::Yes),
    ("pg_conversion_is_visible", 1..=1, Says::Yes),
    ("pg_statistics_obj_is_visible", 1..=1, Says::Yes),
    ("pg_ts_config_is_visible", 1..=1, Says::Yes),
    ("pg_ts_dict_is_visible", 1..=1, Says::Yes),
    ("pg_ts_parser_is_visible", 1..=1, Says::Yes),
    ("pg_ts_template_is_visible", 1..=1, Says::Yes),
];

/// Functions that ask for a privilege by its name in their last argument.
const PRIVILEGES: [&str; 8] = [
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "has_tablespace_privilege",
    "has_type_privilege",
];
/// What everybody may: SQL here only reads.
const GRANTED: [&str; 5] = ["select", "usage", "connect", "execute", "member"];

/// The functions that know no object by name.
pub(super) fn scalar_functions() -> Vec<ScalarUDF> {
    let mut functions = vec![
        of_oid("pg_get_function_arguments", 1..=1, callable::arguments),
        of_oid("pg_get_function_identity_arguments", 1..=1, callable::identity_arguments),
        of_oid("pg_get_function_result", 1..=1, callable::result),
        of_oid("pg_get_functiondef", 1..=1, callable::definition),
        of_oid("pg_get_userbyid", 1..=1, |oid| Some(if oid == OWNER.0 { OWNER.1 } else { "unknown" })),
        visible("pg_function_is_visible", callable::is_visible),
        encoding_number(),
        constant("getdatabaseencoding", 0..=0, DataType::Utf8, ScalarValue::from("UTF8")),
        size_pretty(),
        current_schema(),
        current_schemas(),
    ];
    functions.extend(CONSTANT.iter().map(|(name, arguments, says)| {
        let value = match says {
            Says::NoText => ScalarValue::Utf8(None),
            Says::NoBytes => ScalarValue::from(0i64),
            Says::Nothing => ScalarValue::from(""),
            Says::Yes => ScalarValue::from(true),
            Says::No => ScalarValue::from(false),
            Says::Zero => ScalarValue::from(0i32),
            Says::NoNumbers => ScalarValue::List(ScalarValue::new_list(&[], &DataType::Int32, true)),
        };
        constant(name, arguments.clone(), value.data_type(), value)
    }));
    functions.extend(PRIVILEGES.iter().map(|name| privilege(name)));
    functions
}

/// A function of any arguments.
pub(super) fn function(
    name: &str,
    arguments: RangeInclusive<usize>,
    result: DataType,
    implementation: impl Fn(&[ColumnarValue]) -> Result<ColumnarValue> + Send + Sync + 'static,
) -> ScalarUDF {
    let counts = arguments.map(|count| if count == 0 { TypeSignature::Nullary } else { TypeSignature::Any(count) });
    let signature = Signature::one_of(counts.collect(), Volatility::Stable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(name, signature, result, Arc::new(implementation)))
}

fn constant(name: &str, arguments: RangeInclusive<usize>, result: DataType, value: ScalarValue) -> ScalarUDF {
    function(name, arguments, result, move |_| Ok(ColumnarValue::Scalar(value.clone())))
}

/// A function of an object's OID that gives text.
pub(super) fn of_oid<T: Into<String>>(
    name: &str,
    arguments: RangeInclusive<usize>,
    value: impl Fn(u32) -> Option<T> + Send + Sync + 'static,
) -> ScalarUDF {
    function(name, arguments, DataType::Utf8, move |arguments| {
        let oids = oids(arguments)?;
        let texts: StringArray =
            oids.as_primitive::<UInt32Type>().iter().map(|oid| oid.and_then(&value).map(Into::into)).collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    })
}

/// The first argument as OIDs.
fn oids(arguments: &[ColumnarValue]) -> Result<ArrayRef> {
    let arrays = ColumnarValue::values_to_arrays(&arguments[..1])?;
    Ok(cast(&arrays[0], &DataType::UInt32)?)
}

/// Whether the names in the last argument are among the privileges that everybody has.
fn privilege(name: &str) -> ScalarUDF {
    function(name, 2..=4, DataType::Boolean, |arguments| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let Some(wanted) = arrays.last() else { return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None))) };
        let wanted = cast(wanted, &DataType::Utf8)?;
        let granted = |names: &str| {
            names.split(',').any(|name| GRANTED.iter().any(|granted| granted.eq_ignore_ascii_case(name.trim())))
        };
        let answers: BooleanArray = wanted.as_string::<i32>().iter().map(|names| names.map(granted)).collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    })
}

/// Whether a relation is found without its schema.
pub(super) fn table_is_visible(of: Vec<u32>) -> ScalarUDF {
    visible("pg_table_is_visible", move |oid| of.contains(&oid))
}

/// A function that tells whether an object is found without its schema.
fn visible(name: &str, is_visible: impl Fn(u32) -> bool + Send + Sync + 'static) -> ScalarUDF {
    function(name, 1..=1, DataType::Boolean, move |arguments| {
        let oids = oids(arguments)?;
        let found = oids.as_primitive::<UInt32Type>().iter().map(|oid| oid.map(&is_visible));
        Ok(ColumnarValue::Array(Arc::new(found.collect::<BooleanArray>())))
    })
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
pub(super) fn view_definition(definitions: BTreeMap<u32, &'static str>) -> ScalarUDF {
    of_oid("pg_get_viewdef", 1..=2, move |oid| definitions.get(&oid).copied())
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
