//! Columns of spans as one sees them for whom attributes are masked. No statement can name these functions.

use std::hash::Hash;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit, when,
};
use datafusion::prelude::col;

use super::mask::{MASKED, Masks, masked, masked_types};
use crate::model::promoted::Owner;
use crate::model::schema::{EVENTS, EXCEPTION_MESSAGE, LINKS, SERVICE_NAME};

/// The attribute that [`SERVICE_NAME`] is made of.
const SERVICE_KEY: &str = "service.name";
/// The attribute of events that [`EXCEPTION_MESSAGE`] is made of.
const EXCEPTION_KEY: &str = "exception.message";

/// What is shown of a column of spans.
pub(super) fn column(name: &str, masks: &Masks) -> Result<Expr> {
    if masks.is_empty() {
        return Ok(col(name));
    }
    let owner = |of: fn(Owner) -> &'static str| Owner::ALL.into_iter().find(|owner| of(*owner) == name);
    let call = |what, args: Vec<&str>| {
        let function =
            Masked { what, masks: masks.clone(), signature: Signature::any(args.len(), Volatility::Immutable) };
        ScalarUDF::from(function).call(args.into_iter().map(col).collect()).alias(name)
    };
    let hidden = || lit(ScalarValue::Utf8View(Some(MASKED.to_owned())));
    Ok(match name {
        EVENTS | LINKS => call(What::Values, vec![name]),
        SERVICE_NAME if masks.hides(SERVICE_KEY) => hidden().alias(name),
        EXCEPTION_MESSAGE if masks.hides(EXCEPTION_KEY) => when(col(name).is_not_null(), hidden()).end()?.alias(name),
        _ if owner(Owner::map_column).is_some() => call(What::Values, vec![name]),
        _ => match owner(Owner::types_column) {
            Some(owner) => call(What::Types, vec![owner.map_column(), name]),
            None => col(name),
        },
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// The values of a column with maps.
    Values,
    /// The letters of a map's types.
    Types,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Masked {
    what: What,
    masks: Masks,
    signature: Signature,
}

impl ScalarUDFImpl for Masked {
    fn name(&self) -> &str {
        match self.what {
            What::Values => "masked",
            What::Types => "masked_types",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.last() {
            Some(of) => Ok(of.clone()),
            None => exec_err!("nothing is masked"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let shown = match (self.what, columns.as_slice()) {
            (What::Values, [values]) => masked(values, &self.masks)?,
            (What::Types, [map, types]) => masked_types(map, types, &self.masks)?,
            _ => return exec_err!("a mask over other columns"),
        };
        Ok(ColumnarValue::Array(shown))
    }
}
