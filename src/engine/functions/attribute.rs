//! `attribute(map, key)`: what `map['key']` and `map->>'key'` mean; NULL when the key is absent.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StringViewBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExpressionPlacement, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

const NAME: &str = "attribute";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(Attribute { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The expression that reads `key` out of `map`.
pub(in crate::engine) fn attribute_of(map: Expr, key: Expr) -> Expr {
    udf().call(vec![map, key])
}

/// Whether an expression reads an attribute.
pub(in crate::engine) fn is_attribute(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => call.func.name() == NAME,
        Expr::Alias(alias) => is_attribute(&alias.expr),
        _ => false,
    }
}

/// The map and the key of a physical expression that reads an attribute by a constant key.
pub(in crate::engine) fn attribute_read(expr: &dyn PhysicalExpr) -> Option<(&Arc<dyn PhysicalExpr>, &str)> {
    let call = ScalarFunctionExpr::try_downcast_func::<Attribute>(expr)?;
    let [map, key] = call.args() else { return None };
    let key = key.downcast_ref::<Literal>()?.value().try_as_str()??;
    Some((map, key))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Attribute {
    signature: Signature,
}

impl ScalarUDFImpl for Attribute {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [map @ DataType::Map(entries, _), _] if is_text_map(entries.data_type()) => {
                Ok(vec![map.clone(), DataType::Utf8])
            }
            _ => plan_err!("attribute takes a map of text and a key"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    /// Files have columns for frequent keys: the scan must see which keys are read, and not only that the map is.
    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        match args {
            [ExpressionPlacement::Column, ExpressionPlacement::Literal] => ExpressionPlacement::MoveTowardsLeafNodes,
            _ => ExpressionPlacement::KeepInPlace,
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [maps, key] = args.args.as_slice() else { return exec_err!("attribute takes a map and a key") };
        let maps = maps.to_array(args.number_rows)?;
        let Some(maps) = maps.as_map_opt() else { return exec_err!("attribute takes a map") };
        let values: ArrayRef = match key {
            ColumnarValue::Scalar(ScalarValue::Utf8(key)) => Arc::new(lookup(maps, |_| key.as_deref())?),
            ColumnarValue::Scalar(_) => return exec_err!("an attribute's key is text"),
            ColumnarValue::Array(keys) => {
                let keys = keys.as_string::<i32>();
                Arc::new(lookup(maps, |row| keys.is_valid(row).then(|| keys.value(row)))?)
            }
        };
        Ok(ColumnarValue::Array(values))
    }
}

fn is_text_map(entries: &DataType) -> bool {
    match entries {
        DataType::Struct(fields) => matches!(
            fields.iter().map(|field| field.data_type()).collect::<Vec<_>>().as_slice(),
            [DataType::Utf8, DataType::Utf8]
        ),
        _ => false,
    }
}

/// Finds each row's key among the row's entries; the values are viewed where they lie and not copied.
fn lookup<'a>(
    maps: &MapArray,
    key: impl Fn(usize) -> Option<&'a str>,
) -> Result<datafusion::arrow::array::StringViewArray> {
    let (Some(keys), Some(values)) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>()) else {
        return exec_err!("attribute takes a map of text");
    };
    let mut out = StringViewBuilder::with_capacity(maps.len());
    let block = out.append_block(values.values().clone());
    for row in 0..maps.len() {
        let found = key(row).filter(|_| maps.is_valid(row)).and_then(|key| find(maps, keys, row, key));
        match found.filter(|entry| values.is_valid(*entry)) {
            Some(entry) => {
                let (start, end) = (values.value_offsets()[entry], values.value_offsets()[entry + 1]);
                out.try_append_view(block, start as u32, (end - start) as u32)?;
            }
            None => out.append_null(),
        }
    }
    Ok(out.finish())
}

pub(super) fn find(maps: &MapArray, keys: &StringArray, row: usize, key: &str) -> Option<usize> {
    let offsets = maps.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    let (bytes, ends) = (keys.value_data(), keys.value_offsets());
    (start..end).find(|entry| &bytes[ends[*entry] as usize..ends[entry + 1] as usize] == key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{MapBuilder, MapFieldNames, StringBuilder};

    #[test]
    fn a_key_is_found_in_its_own_row_only_and_absent_is_null() {
        let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for row in [
            vec![("a", Some("1")), ("b", Some("a value longer than a view holds inline"))],
            vec![],
            vec![("a", None)],
            vec![("b", Some(""))],
        ] {
            for (key, value) in row {
                maps.keys().append_value(key);
                maps.values().append_option(value);
            }
            maps.append(true).expect("valid");
        }
        let maps = maps.finish();
        let values = lookup(&maps, |_| Some("b")).expect("valid");
        assert_eq!(
            values.iter().collect::<Vec<_>>(),
            [Some("a value longer than a view holds inline"), None, None, Some("")]
        );
        let sliced = lookup(&maps.slice(2, 2), |_| Some("a")).expect("valid");
        assert_eq!(sliced.iter().collect::<Vec<_>>(), [None, None]);
    }
}
