//! Keys, values and elements of JSON and of attributes, as lists: what `jsonb_each` and its kin make rows of.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, ListBuilder, StringViewArray, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde_json::Value;

pub(in crate::engine) const JSON_KEYS: &str = "json_keys_of";
pub(in crate::engine) const JSON_VALUES: &str = "json_values_of";
pub(in crate::engine) const JSON_VALUES_TEXT: &str = "json_texts_of";
pub(in crate::engine) const JSON_ELEMENTS: &str = "json_elements_of";
pub(in crate::engine) const JSON_ELEMENTS_TEXT: &str = "json_element_texts_of";

/// The functions.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    let function = |name, takes| {
        ScalarUDF::from(JsonList { name, takes, signature: Signature::user_defined(Volatility::Immutable) })
    };
    vec![
        function(JSON_KEYS, Takes::Keys),
        function(JSON_VALUES, Takes::Values { as_text: false }),
        function(JSON_VALUES_TEXT, Takes::Values { as_text: true }),
        function(JSON_ELEMENTS, Takes::Elements { as_text: false }),
        function(JSON_ELEMENTS_TEXT, Takes::Elements { as_text: true }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Takes {
    Keys,
    Values { as_text: bool },
    Elements { as_text: bool },
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonList {
    name: &'static str,
    takes: Takes,
    signature: Signature,
}

impl ScalarUDFImpl for JsonList {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [map @ DataType::Map(..)] if !matches!(self.takes, Takes::Elements { .. }) => Ok(vec![map.clone()]),
            [text] if text.is_string() || text.is_null() => Ok(vec![DataType::Utf8View]),
            _ => plan_err!("function {} wants JSON", self.name),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8View, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [json] = args.args.as_slice() else { return exec_err!("function {} wants JSON", self.name) };
        let json = json.to_array(args.number_rows)?;
        let lists =
            if matches!(json.data_type(), DataType::Map(..)) { self.of_map(&json)? } else { self.of_text(&json)? };
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

impl JsonList {
    fn of_map(&self, maps: &ArrayRef) -> Result<ListArray> {
        let maps = maps.as_map();
        let parts = if self.takes == Takes::Keys { maps.keys() } else { maps.values() };
        let mut parts = cast(parts, &DataType::Utf8View)?;
        if self.takes == (Takes::Values { as_text: false }) {
            let quoted = parts.as_string_view().iter().map(|text| text.map(|text| Value::from(text).to_string()));
            parts = Arc::new(quoted.collect::<StringViewArray>());
        }
        let element = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        Ok(ListArray::try_new(element, maps.offsets().clone(), parts, maps.nulls().cloned())?)
    }

    fn of_text(&self, texts: &ArrayRef) -> Result<ListArray> {
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for text in texts.as_string_view() {
            let json = text.and_then(|text| serde_json::from_str(text).ok());
            let found = match (self.takes, json) {
                (Takes::Keys, Some(Value::Object(object))) => {
                    object.keys().for_each(|key| lists.values().append_value(key));
                    true
                }
                (Takes::Values { as_text }, Some(Value::Object(object))) => {
                    object.values().for_each(|value| lists.values().append_option(shown(value, as_text)));
                    true
                }
                (Takes::Elements { as_text }, Some(Value::Array(elements))) => {
                    elements.iter().for_each(|value| lists.values().append_option(shown(value, as_text)));
                    true
                }
                _ => false,
            };
            lists.append(found);
        }
        Ok(lists.finish())
    }
}

/// A part of JSON as JSON or as text, where `null` is NULL and a string has no quotes.
fn shown(value: &Value, as_text: bool) -> Option<String> {
    match value {
        Value::Null if as_text => None,
        Value::String(text) if as_text => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
