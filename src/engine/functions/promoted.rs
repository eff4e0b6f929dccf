//! What a scan computes from a file's columns of promoted attributes. No statement can name these functions.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringViewBuilder, new_null_array};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{exec_err, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::model::promoted::{MapParts, PromotedColumn, Scalar, ScalarValues, assemble_map, assemble_types};
use crate::model::schema::attribute_map_type;

type Expr = Arc<dyn PhysicalExpr>;

/// The text that a map would have for the values of a promoted column.
pub(in crate::engine) fn text_of_scalar(scalar: Scalar, column: Expr, schema: &Schema) -> Result<Expr> {
    call(TextOfScalar { scalar, signature: any() }, vec![column], schema)
}

/// The whole map: `columns` are read by `values`, what is left is `map`, where anything is.
pub(in crate::engine) fn whole_map(
    columns: Vec<PromotedColumn>,
    values: Vec<Expr>,
    map: Option<Expr>,
    schema: &Schema,
) -> Result<Expr> {
    let args = values.into_iter().chain(map).collect();
    call(WholeMap { columns, signature: any() }, args, schema)
}

/// The type letters of the whole map, where those of `map` are `types`.
pub(in crate::engine) fn whole_types(
    columns: Vec<PromotedColumn>,
    values: Vec<Expr>,
    map: Expr,
    types: Expr,
    schema: &Schema,
) -> Result<Expr> {
    let args = values.into_iter().chain([map, types]).collect();
    call(WholeTypes { columns, signature: any() }, args, schema)
}

pub(super) fn call(function: impl ScalarUDFImpl + 'static, args: Vec<Expr>, schema: &Schema) -> Result<Expr> {
    let function = Arc::new(ScalarUDF::from(function));
    Ok(Arc::new(ScalarFunctionExpr::try_new(function, args, schema, Arc::new(ConfigOptions::default()))?))
}

pub(super) fn any() -> Signature {
    Signature::variadic_any(Volatility::Immutable)
}

fn arrays(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect()
}

fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextOfScalar {
    scalar: Scalar,
    signature: Signature,
}

impl ScalarUDFImpl for TextOfScalar {
    fn name(&self) -> &str {
        "attribute_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arrays(&args)?;
        let [column] = columns.as_slice() else { return exec_err!("attribute_text takes a column") };
        let values = ScalarValues::new(self.scalar, column).map_err(external)?;
        let mut out = StringViewBuilder::with_capacity(column.len());
        let mut text = String::new();
        for row in 0..column.len() {
            out.append_option(values.text(row, &mut text));
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WholeMap {
    columns: Vec<PromotedColumn>,
    signature: Signature,
}

impl ScalarUDFImpl for WholeMap {
    fn name(&self) -> &str {
        "whole_attributes"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(attribute_map_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut values = arrays(&args)?;
        let left = values.split_off(self.columns.len().min(values.len())).pop();
        // Entries are counted by offsets: a map that is NULL has none.
        let map = left.unwrap_or_else(|| new_null_array(&attribute_map_type(), args.number_rows));
        let columns: Vec<_> = self.columns.iter().cloned().zip(values).collect();
        let parts = MapParts { columns: &columns, map: &map, types: None };
        assemble_map(&parts).map(ColumnarValue::Array).map_err(external)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WholeTypes {
    columns: Vec<PromotedColumn>,
    signature: Signature,
}

impl ScalarUDFImpl for WholeTypes {
    fn name(&self) -> &str {
        "whole_attribute_types"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut values = arrays(&args)?;
        let (Some(types), Some(map)) = (values.pop(), values.pop()) else {
            return internal_err!("no types of attributes");
        };
        let columns: Vec<_> = self.columns.iter().cloned().zip(values).collect();
        let parts = MapParts { columns: &columns, map: &map, types: Some(&types) };
        assemble_types(&parts).map(ColumnarValue::Array).map_err(external)
    }
}
