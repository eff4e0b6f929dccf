//! DataFusion's functions that make much out of little, within a bound: they allocate outside the memory pool.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::{Error, Kind};

/// The most bytes, or elements of a list, that one call may make of one batch.
const MAX_MADE: i128 = 64 << 20;

/// Bounds the functions by these names among `known`.
pub(super) fn bound(known: &dyn Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    let functions = [
        ("repeat", Growth::Repeat),
        ("lpad", Growth::Pad),
        ("rpad", Growth::Pad),
        ("array_repeat", Growth::RepeatElement),
        ("list_repeat", Growth::RepeatElement),
        ("array_resize", Growth::Pad),
        ("range", Growth::Series),
        ("generate_series", Growth::Series),
    ];
    functions
        .into_iter()
        .filter_map(|(name, growth)| {
            known(name).filter(|inner| inner.name() == name).map(|inner| Bounded { inner, growth })
        })
        .map(ScalarUDF::from)
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// `f(text, times)` makes the text's length times over.
    Repeat,
    /// `f(value, length, …)` makes that length.
    Pad,
    /// `f(value, times)` makes that many elements.
    RepeatElement,
    /// `f(stop)`, `f(start, stop)`, `f(start, stop, step)` makes the numbers between.
    Series,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let rows = args.number_rows.max(1);
        let made: i128 = match self.growth {
            Growth::Repeat => {
                let lengths = lengths(args.args.first(), rows)?;
                integers(args.args.get(1), rows)?
                    .into_iter()
                    .zip(lengths)
                    .map(|(times, length)| times.max(0) * length)
                    .sum()
            }
            Growth::Pad | Growth::RepeatElement => {
                integers(args.args.get(1), rows)?.into_iter().map(|n| n.max(0)).sum()
            }
            Growth::Series => self.series(args, rows)?,
        };
        if made <= MAX_MADE {
            return Ok(());
        }
        let message =
            format!("{} would make a value of {made} bytes or elements; the limit is {MAX_MADE}", self.inner.name());
        Err(DataFusionError::External(Box::new(Error::new(Kind::TooLarge, message))))
    }

    fn series(&self, args: &ScalarFunctionArgs, rows: usize) -> Result<i128> {
        let column = |at: usize| integers(args.args.get(at), rows);
        let (start, stop) = match args.args.len() {
            0 | 1 => (vec![0; rows], column(0)?),
            _ => (column(0)?, column(1)?),
        };
        let step = if args.args.len() > 2 { column(2)? } else { vec![1; rows] };
        Ok(start
            .into_iter()
            .zip(stop)
            .zip(step)
            .map(|((start, stop), step)| ((stop - start) / if step == 0 { 1 } else { step }).max(0))
            .sum())
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.inner().invoke_with_args(args)
    }
}

/// A column of whole numbers; NULL and what is no number count as zero. A series over times has its own arguments and is left alone.
fn integers(arg: Option<&ColumnarValue>, rows: usize) -> Result<Vec<i128>> {
    let Some(array) = expanded(arg, rows)? else { return Ok(vec![0; rows]) };
    if !array.data_type().is_integer() {
        return Ok(vec![0; rows]);
    }
    let array = cast(&array, &DataType::Int64)?;
    Ok(array.as_primitive::<Int64Type>().iter().map(|n| n.map_or(0, i128::from)).collect())
}

fn lengths(arg: Option<&ColumnarValue>, rows: usize) -> Result<Vec<i128>> {
    let Some(array) = expanded(arg, rows)? else { return Ok(vec![0; rows]) };
    if !array.data_type().is_string() {
        return Ok(vec![0; rows]);
    }
    let array = cast(&array, &DataType::Utf8View)?;
    Ok(array.as_string_view().iter().map(|text| text.map_or(0, |text| text.len() as i128)).collect())
}

fn expanded(arg: Option<&ColumnarValue>, rows: usize) -> Result<Option<ArrayRef>> {
    match arg {
        None | Some(ColumnarValue::Scalar(ScalarValue::Null)) => Ok(None),
        Some(arg) => arg.to_array(rows).map(Some),
    }
}
