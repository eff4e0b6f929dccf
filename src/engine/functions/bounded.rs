//! DataFusion's functions that make much out of little, within a bound: they allocate outside the memory pool.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{cast, concat};
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
        ("replace", Growth::Replace),
        ("regexp_replace", Growth::RegexpReplace),
        ("concat", Growth::Concat),
        ("concat_ws", Growth::Concat),
        ("array_to_string", Growth::Join),
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
    /// `f(text, from, to)` makes as much more as `from` occurs.
    Replace,
    /// `f(text, pattern, to, flags)` puts `to` between all characters at most.
    RegexpReplace,
    /// `f(text, …)` makes the sum of all.
    Concat,
    /// `f(list, delimiter)` makes the sum of all elements and delimiters.
    Join,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Bounded {
    /// Refuses a call whose result would be too large.
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let rows = args.number_rows.max(1);
        let times = |lengths: Vec<i128>| -> Result<i128> {
            let times = integers(args.args.get(1), rows)?;
            Ok(times.into_iter().zip(lengths).map(|(times, length)| times.max(0) * length).sum())
        };
        let made: i128 = match self.growth {
            Growth::Repeat => times(lengths(args.args.first(), rows)?)?,
            Growth::RepeatElement => {
                times(lengths(args.args.first(), rows)?.into_iter().map(|length| length.max(1)).collect())?
            }
            Growth::Pad => times(vec![1; rows])?,
            Growth::Series => self.series(args, rows)?,
            Growth::Replace => repeated_constants(args, rows) + replaced(args, rows)?.into_iter().sum::<i128>(),
            Growth::RegexpReplace => repeated_constants(args, rows),
            Growth::Concat => {
                let columns = args.args.iter().map(|arg| Ok(lengths(Some(arg), rows)?.into_iter().sum::<i128>()));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                columns.iter().sum::<i128>() - columns.iter().max().copied().unwrap_or(0)
            }
            Growth::Join => {
                let (elements, bytes) = joined(args.args.first(), rows)?;
                let delimiter = lengths(args.args.get(1), rows)?.into_iter().max().unwrap_or(0);
                repeated_constants(args, rows) + elements * delimiter + bytes
            }
        };
        self.within(made)
    }

    fn within(&self, made: i128) -> Result<()> {
        if made <= MAX_MADE {
            return Ok(());
        }
        let message =
            format!("{} would make a value of {made} bytes or elements; the limit is {MAX_MADE}", self.inner.name());
        Err(DataFusionError::External(Box::new(Error::new(Kind::TooLarge, message))))
    }

    /// Calls `regexp_replace`, whose result is only known to be at most so large, in slices that are within the limit.
    fn sliced(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let bounds = regexp_replaced(&args, rows.max(1))?;
        if bounds.iter().sum::<i128>() <= MAX_MADE {
            return self.inner.inner().invoke_with_args(args);
        }
        self.within(bounds.iter().max().copied().unwrap_or(0))?;
        let (mut parts, mut made, mut start) = (Vec::<ArrayRef>::new(), 0, 0);
        while start < rows {
            let (mut end, mut bound) = (start, 0);
            while end < rows && (end == start || bound + bounds[end] <= MAX_MADE) {
                bound += bounds[end];
                end += 1;
            }
            let mut part = args.clone();
            part.number_rows = end - start;
            for arg in &mut part.args {
                if let ColumnarValue::Array(array) = arg {
                    *array = array.slice(start, end - start);
                }
            }
            let part = self.inner.inner().invoke_with_args(part)?.into_array(end - start)?;
            made += part.get_array_memory_size() as i128;
            self.within(made)?;
            parts.push(part);
            start = end;
        }
        let parts = parts.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        Ok(ColumnarValue::Array(concat(&parts)?))
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
        match self.growth {
            // The function's own rule joins constants of any length.
            Growth::Concat => Ok(ExprSimplifyResult::Original(args)),
            _ => self.inner.inner().simplify(args, info),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        if self.growth == Growth::RegexpReplace {
            return self.sliced(args);
        }
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

/// The bytes that DataFusion takes to write the constants of a call beside each row.
fn repeated_constants(args: &ScalarFunctionArgs, rows: usize) -> i128 {
    let length = |arg: &ColumnarValue| match arg {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map_or(0, str::len),
        ColumnarValue::Array(_) => 0,
    };
    // One row's constants are no more than what the statement holds already.
    if rows == 1 { 0 } else { args.args.iter().map(length).sum::<usize>() as i128 * rows as i128 }
}

/// How much longer each row gets by `replace(text, from, to)`: a bound at first, counted where that is too large.
fn replaced(args: &ScalarFunctionArgs, rows: usize) -> Result<Vec<i128>> {
    let column = |at: usize| lengths(args.args.get(at), rows);
    let (text, from, to) = (column(0)?, column(1)?, column(2)?);
    let bounds = |row: usize| (text[row] / from[row].max(1) + 1) * (to[row] - from[row]).max(0);
    let bounds = (0..rows).map(bounds).collect::<Vec<_>>();
    if bounds.iter().sum::<i128>() <= MAX_MADE {
        return Ok(bounds);
    }
    let (Some(texts), Some(froms)) = (expanded(args.args.first(), rows)?, expanded(args.args.get(1), rows)?) else {
        return Ok(bounds);
    };
    let (texts, froms) = (cast(&texts, &DataType::Utf8View)?, cast(&froms, &DataType::Utf8View)?);
    let pairs = texts.as_string_view().iter().zip(froms.as_string_view().iter());
    let counts = pairs.map(|pair| match pair {
        (Some(text), Some(from)) => text.matches(from).count() as i128,
        _ => 0,
    });
    Ok(counts.enumerate().map(|(row, count)| count * (to[row] - from[row]).max(0)).collect())
}

/// How much longer each row may get by `regexp_replace(text, pattern, to, flags)`; a group takes the whole text at most.
fn regexp_replaced(args: &ScalarFunctionArgs, rows: usize) -> Result<Vec<i128>> {
    let column = |at: usize| lengths(args.args.get(at), rows);
    let (text, to, flags) = (column(0)?, column(2)?, column(3)?);
    let bound = |row: usize| {
        let matches = if flags[row] == 0 { 1 } else { text[row] + 1 };
        // A reference has two bytes at least, and what all matches put into it is no longer than the text.
        matches * to[row] + to[row] / 2 * text[row]
    };
    Ok((0..rows).map(bound).collect())
}

/// How many elements the lists have, and how many bytes as text.
fn joined(arg: Option<&ColumnarValue>, rows: usize) -> Result<(i128, i128)> {
    match arg {
        Some(ColumnarValue::Array(array)) => leaves(array.as_ref()),
        Some(ColumnarValue::Scalar(value)) => {
            let (elements, bytes) = leaves(value.to_array()?.as_ref())?;
            Ok((elements * rows as i128, bytes * rows as i128))
        }
        None => Ok((0, 0)),
    }
}

fn leaves(array: &dyn Array) -> Result<(i128, i128)> {
    /// The longest text of a number or a time.
    const MAX_PLAIN_BYTES: i128 = 32;
    match array.data_type() {
        DataType::List(_) => leaves(array.as_list::<i32>().values().as_ref()),
        DataType::LargeList(_) => leaves(array.as_list::<i64>().values().as_ref()),
        DataType::FixedSizeList(..) => leaves(array.as_fixed_size_list().values().as_ref()),
        data_type if data_type.is_string() => {
            let array = cast(array, &DataType::Utf8View)?;
            let bytes = array.as_string_view().iter().flatten().map(|text| text.len() as i128).sum();
            Ok((array.len() as i128, bytes))
        }
        _ => Ok((array.len() as i128, array.len() as i128 * MAX_PLAIN_BYTES)),
    }
}

fn lengths(arg: Option<&ColumnarValue>, rows: usize) -> Result<Vec<i128>> {
    if let Some(ColumnarValue::Scalar(value)) = arg {
        return Ok(vec![value.try_as_str().flatten().map_or(0, str::len) as i128; rows]);
    }
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
