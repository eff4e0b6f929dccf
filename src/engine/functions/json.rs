//! JSON in text: `->`, `->>` and the `json_…` functions, for attributes whose value is a list or a key-value list.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, ScalarUDF};
use datafusion_functions_json::udfs;

/// The functions whose result has one type. Text that is no JSON, and a path that leads nowhere, give NULL.
pub(super) fn scalar_udfs() -> Vec<ScalarUDF> {
    [
        udfs::json_as_text_udf(),
        udfs::json_contains_udf(),
        udfs::json_get_bool_udf(),
        udfs::json_get_float_udf(),
        udfs::json_get_int_udf(),
        udfs::json_get_json_udf(),
        udfs::json_get_str_udf(),
        udfs::json_length_udf(),
        udfs::json_object_keys_udf(),
    ]
    .into_iter()
    .map(Arc::unwrap_or_clone)
    .collect()
}

/// `text -> key`: the part of JSON below a key or a position, as JSON.
pub(in crate::engine) fn json_part(json: Expr, key: Expr) -> Expr {
    json_part_at(json, vec![key])
}

/// `text #> path`: the part of JSON at the end of several keys and positions.
pub(in crate::engine) fn json_part_at(json: Expr, path: Vec<Expr>) -> Expr {
    udfs::json_get_json_udf().call([vec![json], path].concat())
}

/// `text ->> key`: the same as text.
pub(in crate::engine) fn json_text(json: Expr, key: Expr) -> Expr {
    json_text_at(json, vec![key])
}

/// `text #>> path`: the same as text.
pub(in crate::engine) fn json_text_at(json: Expr, path: Vec<Expr>) -> Expr {
    udfs::json_as_text_udf().call([vec![json], path].concat())
}
