//! `exception_text(events)`: type and message of the first exception among a span's events, `type: message`; NULL where there is none.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, ListArray, StringViewBuilder, StructArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::attribute::find;
use crate::model::schema::ATTRIBUTES;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(ExceptionText { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExceptionText {
    signature: Signature,
}

impl ScalarUDFImpl for ExceptionText {
    fn name(&self) -> &str {
        "exception_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::List(_) | DataType::Null] => Ok(types.to_vec()),
            _ => plan_err!("function exception_text wants the events of a span"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let mut texts = StringViewBuilder::new();
        match arrays.first().and_then(|events| events.as_list_opt::<i32>()) {
            Some(events) => add_texts(events, &mut texts)?,
            None => (0..args.number_rows).for_each(|_| texts.append_null()),
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

fn add_texts(events: &ListArray, texts: &mut StringViewBuilder) -> Result<()> {
    let Some(all) = events.values().as_struct_opt() else { return exec_err!("exception_text wants events") };
    let names = all.column_by_name("name").and_then(|names| names.as_string_view_opt());
    let Some(names) = names else { return exec_err!("exception_text wants events with names") };
    for (row, ends) in events.value_offsets().windows(2).enumerate() {
        let of_row = (ends[0] as usize..ends[1] as usize).filter(|_| events.is_valid(row));
        let exception = of_row.into_iter().find(|event| names.is_valid(*event) && names.value(*event) == "exception");
        texts.append_option(exception.and_then(|event| text(all, event)));
    }
    Ok(())
}

fn text(events: &StructArray, event: usize) -> Option<String> {
    let attributes = events.column_by_name(ATTRIBUTES)?.as_map_opt()?;
    let (keys, values) = (attributes.keys().as_string_opt::<i32>()?, attributes.values().as_string_opt::<i32>()?);
    let value = |key| {
        let entry = find(attributes, keys, event, key).filter(|entry| values.is_valid(*entry))?;
        Some(values.value(entry)).filter(|value| !value.is_empty())
    };
    match (value("exception.type"), value("exception.message")) {
        (Some(of_type), Some(message)) => Some(format!("{of_type}: {message}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}
