//! Values as clients see them, for casts: `value_text(x)` is `x::text` of a map, list or row, `value_json(x)` is `x::json`, and `to_json(x)`
//! is PostgreSQL's.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde::de::IgnoredAny;

use super::bounded::within;
use crate::engine::bounds::StatementBounds;
use crate::error::Error;
use crate::pg::{ALL_SECOND_DIGITS, PgType, TextStyle, Values, json_text_field, put_json, put_text};

/// What a cast to JSON calls.
pub(in crate::engine) const VALUE_JSON: &str = "value_json";

/// The functions.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    vec![
        udf(Form::Text),
        udf(Form::CastToJson),
        udf(Form::Json).with_aliases(["to_jsonb", "array_to_json", "row_to_json"]),
    ]
}

/// The text of a map, list or row.
pub(in crate::engine) fn value_text(value: Expr) -> Expr {
    udf(Form::Text).call(vec![value])
}

/// The JSON of a value.
pub(in crate::engine) fn value_json(value: Expr) -> Expr {
    udf(Form::CastToJson).call(vec![value])
}

/// What is cast to JSON by an expression.
pub(in crate::engine) fn cast_to_json(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == VALUE_JSON => call.args.first(),
        _ => None,
    }
}

fn udf(form: Form) -> ScalarUDF {
    ScalarUDF::from(Shown { form, signature: Signature::any(1, Volatility::Immutable) })
}

/// Whether calls of this function count against a statement's bounds.
pub(super) fn is_shown(name: &str) -> bool {
    [Form::Text, Form::CastToJson, Form::Json].into_iter().any(|form| form.name() == name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// As the wire has it: JSON, and for lists of plain elements PostgreSQL's `{a,b}`.
    Text,
    /// JSON; text is JSON already.
    CastToJson,
    /// JSON; text becomes a JSON string.
    Json,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "value_text",
            Self::CastToJson => VALUE_JSON,
            Self::Json => "to_json",
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shown {
    form: Form,
    signature: Signature,
}

impl ScalarUDFImpl for Shown {
    fn name(&self) -> &str {
        self.form.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(match self.form {
            Form::Text => Field::new(self.name(), DataType::Utf8View, true),
            Form::CastToJson | Form::Json => json_text_field(self.name()),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return exec_err!("{} takes one value", self.name()) };
        let is_constant = matches!(value, ColumnarValue::Scalar(_));
        let array = value.to_array(if is_constant { 1 } else { args.number_rows })?;
        if array.data_type().is_null() {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(None)));
        }
        let bounds = StatementBounds::within(&args.config_options);
        let shown: ArrayRef = match (self.form, array.data_type().is_string()) {
            (Form::CastToJson, true) => checked(&array, is_constant)?,
            (Form::Text, _) => {
                let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
                let style = TextStyle::in_zone(zone, ALL_SECOND_DIGITS).map_err(external)?;
                let values = Values::new(&array, PgType::of(array.data_type()), style.zone).map_err(external)?;
                written(&array, self.name(), &bounds, |out, at| put_text(out, &values, at, &style))?
            }
            _ => written(&array, self.name(), &bounds, |out, at| put_json(out, array.as_ref(), at))?,
        };
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&shown, 0)?)),
            false => Ok(ColumnarValue::Array(shown)),
        }
    }
}

/// Writes each row that is not NULL, within what a call may make.
fn written(
    array: &ArrayRef,
    name: &str,
    bounds: &StatementBounds,
    put: impl Fn(&mut BytesMut, usize) -> crate::error::Result<()>,
) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(array.len());
    let (mut row, mut made) = (BytesMut::new(), 0_i128);
    for at in 0..array.len() {
        if array.is_null(at) {
            out.append_null();
            continue;
        }
        row.clear();
        put(&mut row, at).map_err(external)?;
        made += row.len() as i128;
        within(name, made, bounds)?;
        match std::str::from_utf8(&row) {
            Ok(text) => out.try_append_value(text)?,
            Err(cause) => return exec_err!("{name} made bytes that are no text: {cause}"),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Text as the JSON that it is; a column's text that is none is NULL, a constant's is an error.
fn checked(array: &ArrayRef, is_constant: bool) -> Result<ArrayRef> {
    let texts = cast(array, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        match text.map(|text| (text, serde_json::from_str::<IgnoredAny>(text))) {
            None => out.append_null(),
            Some((text, Ok(_))) => out.try_append_value(text)?,
            Some((_, Err(_))) if !is_constant => out.append_null(),
            Some((_, Err(cause))) => {
                let error = Error::bad_input("invalid input syntax for type json").with_sqlstate("22P02");
                return Err(external(error.with_hint(cause.to_string())));
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
