//! `attributes_contain(map, json)`: what `map @> json` means; false when a key is absent or has another value.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use serde_json::Value;

use super::attribute::{attribute_of, find};
use crate::error::Error;

const NAME: &str = "attributes_contain";

/// Keys that an object is looked for by one by one, with a condition each: planning takes long for many, and scans gain nothing.
pub(in crate::engine) const MOST_CONDITIONS: usize = 64;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(Contains { signature: Signature::user_defined(Volatility::Immutable) })
}

/// Whether attributes contain an object that is known when the statement runs.
pub(in crate::engine) fn attributes_contain(map: Expr, object: Expr) -> Expr {
    udf().call(vec![map, object])
}

/// The keys of a JSON object and their values as attributes have them; `None` for what is none.
pub(in crate::engine) fn wanted_attributes(object: &str) -> Option<Vec<(String, String)>> {
    let Ok(Value::Object(wanted)) = serde_json::from_str(object) else { return None };
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(wanted.into_iter().map(|(key, value)| (key, text(value))).collect())
}

/// The error for what is no object.
pub(in crate::engine) fn no_object() -> DataFusionError {
    let error = Error::bad_input("attributes @> wants the text of a JSON object").with_sqlstate("22P02");
    DataFusionError::External(Box::new(error.with_hint("write attributes @> '{\"key\": \"value\"}'")))
}

/// Whether attributes have these values.
pub(in crate::engine) fn has_attributes(map: &Expr, wanted: Vec<(String, String)>) -> Expr {
    let is_equal = |(key, value): (String, String)| {
        let attribute = attribute_of(map.clone(), lit(key));
        // False and not NULL where the key is absent.
        attribute.clone().eq(lit(ScalarValue::Utf8View(Some(value)))).and(attribute.is_not_null())
    };
    conjunction(wanted.into_iter().map(is_equal)).unwrap_or_else(|| map.clone().is_not_null())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Contains {
    signature: Signature,
}

impl ScalarUDFImpl for Contains {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [map @ DataType::Map(..), _] => Ok(vec![map.clone(), DataType::Utf8]),
            _ => plan_err!("attributes @> wants the text of a JSON object"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    /// A constant says which keys are read.
    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let wanted = match args.as_slice() {
            [_, Expr::Literal(value, _)] => value.try_as_str().flatten().and_then(wanted_attributes),
            _ => None,
        };
        let wanted = wanted.filter(|wanted| wanted.len() <= MOST_CONDITIONS);
        match (wanted, args.first()) {
            (Some(wanted), Some(map)) => Ok(ExprSimplifyResult::Simplified(has_attributes(map, wanted))),
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [maps, objects] = args.args.as_slice() else { return exec_err!("attributes @> takes two values") };
        let (maps, objects) = (maps.to_array(args.number_rows)?, objects.to_array(args.number_rows)?);
        let (Some(maps), Some(objects)) = (maps.as_map_opt(), objects.as_string_opt::<i32>()) else {
            return exec_err!("attributes @> takes attributes and text");
        };
        let (Some(keys), Some(values)) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>())
        else {
            return exec_err!("attributes @> takes a map of text");
        };
        // Objects that follow each other are mostly one, which is read once.
        let mut last: Option<(&str, Vec<(String, String)>)> = None;
        let row = |row: usize| {
            if maps.is_null(row) || objects.is_null(row) {
                return Ok(None);
            }
            let object = objects.value(row);
            if last.as_ref().is_none_or(|(known, _)| *known != object) {
                last = Some((object, wanted_attributes(object).ok_or_else(no_object)?));
            }
            let wanted = last.as_ref().map(|(_, wanted)| wanted.as_slice()).unwrap_or_default();
            let has = |key: &str, value: &str| {
                find(maps, keys, row, key).is_some_and(|entry| values.is_valid(entry) && values.value(entry) == value)
            };
            Ok(Some(wanted.iter().all(|(key, value)| has(key, value))))
        };
        let contained = (0..args.number_rows).map(row).collect::<Result<BooleanArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(contained)))
    }
}
