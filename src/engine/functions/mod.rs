//! SQL functions of ours, one file a family.

mod attribute;
mod ids;
mod nested;

use datafusion::logical_expr::ScalarUDF;

pub(super) use attribute::attribute_of;

/// The scalar functions that every session has.
pub(super) fn scalar_functions() -> Vec<ScalarUDF> {
    vec![attribute::udf(), ids::udf(), nested::events_udf(), nested::links_udf()]
}
