//! `events_of(events)` and `links_of(links)`: the physical lists in the form that SQL shows, without copying attributes.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, TimestampNanosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, TimeUnit};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::ids::id_text_array;
use crate::model::schema::{LIST_ELEMENT, event_fields, link_fields};

/// `events_of`.
pub(super) fn events_udf() -> ScalarUDF {
    ScalarUDF::from(ShapeList {
        name: "events_of",
        links: false,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// `links_of`.
pub(super) fn links_udf() -> ScalarUDF {
    ScalarUDF::from(ShapeList {
        name: "links_of",
        links: true,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ShapeList {
    name: &'static str,
    links: bool,
    signature: Signature,
}

impl ShapeList {
    fn shown_element(&self) -> FieldRef {
        let physical = if self.links { link_fields() } else { event_fields() };
        Arc::new(Field::new(LIST_ELEMENT, DataType::Struct(shown_fields(&physical)), false))
    }
}

impl ScalarUDFImpl for ShapeList {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::List(_)] => Ok(types.to_vec()),
            _ => plan_err!("{} takes one list", self.name),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(self.shown_element()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(list) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
            return exec_err!("{} takes a list", self.name);
        };
        let Some(elements) = list.values().as_struct_opt() else {
            return exec_err!("{} takes a list of structs", self.name);
        };
        let elements = shown_struct(elements)?;
        let shown = ListArray::try_new(self.shown_element(), list.offsets().clone(), elements, list.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(shown)))
    }
}

fn shown_fields(physical: &Fields) -> Fields {
    physical.iter().map(|field| Arc::new(shown_field(field))).collect()
}

fn shown_field(field: &Field) -> Field {
    match field.data_type() {
        DataType::FixedSizeBinary(_) => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
        DataType::Int64 => {
            Field::new("timestamp", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), field.is_nullable())
        }
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
        other => Field::new(field.name(), other.clone(), field.is_nullable()),
    }
}

fn shown_struct(elements: &StructArray) -> Result<ArrayRef> {
    let columns = elements.columns().iter().map(|column| shown_column(column)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(
        shown_fields(elements.fields()),
        columns,
        elements.nulls().cloned(),
        elements.len(),
    )?))
}

fn shown_column(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::FixedSizeBinary(_) => Arc::new(id_text_array(column.as_fixed_size_binary())?),
        DataType::Int64 => {
            let times = column.as_primitive::<Int64Type>();
            Arc::new(TimestampNanosecondArray::new(times.values().clone(), times.nulls().cloned()).with_timezone("UTC"))
        }
        DataType::Utf8 => cast(column, &DataType::Utf8View)?,
        _ => column.clone(),
    })
}
