//! DataFusion's functions that make much out of little, within a bound: they allocate outside the memory pool.
//!
//! A call is measured before it runs. What a statement's calls may make of one batch is in its `StatementBounds`. Text comes out as
//! views, so that a large constant beside many rows is one text.

mod array_agg;
mod growth;
mod string_agg;
mod text_concat;
mod weight;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

pub(super) use array_agg::counted as counted_array_agg;
pub(super) use string_agg::bounded as bounded_string_agg;
pub(super) use text_concat::udf as text_concat_udf;

use super::shown::is_shown;
use crate::engine::bounds::{MAX_MADE_BYTES, StatementBounds};
use crate::error::{Error, Kind};
use growth::Growth;

/// The functions by name, and how each grows.
const FUNCTIONS: &[(&str, Growth)] = &[
    ("array_append", Growth::Sum),
    ("array_concat", Growth::Sum),
    ("array_prepend", Growth::Sum),
    ("array_repeat", Growth::RepeatElement),
    ("array_replace", Growth::ReplaceElements),
    ("array_replace_all", Growth::ReplaceElements),
    ("array_replace_n", Growth::ReplaceElements),
    ("array_resize", Growth::Resize),
    ("array_to_string", Growth::Join),
    ("array_union", Growth::Sum),
    ("concat", Growth::Concat),
    ("concat_ws", Growth::Concat),
    ("decode", Growth::Text(1)),
    ("encode", Growth::Text(2)),
    ("generate_series", Growth::Series),
    ("initcap", Growth::Text(3)),
    ("lower", Growth::Text(3)),
    ("lpad", Growth::Pad),
    ("make_array", Growth::Sum),
    ("overlay", Growth::Concat),
    ("range", Growth::Series),
    ("regexp_match", Growth::RegexpMatch),
    ("regexp_replace", Growth::RegexpReplace),
    ("repeat", Growth::Repeat),
    ("replace", Growth::Replace),
    ("reverse", Growth::Text(1)),
    ("rpad", Growth::Pad),
    ("string_to_array", Growth::Split),
    (text_concat::NAME, Growth::Concat),
    // A character of a byte may become one of four.
    ("translate", Growth::Text(4)),
    ("upper", Growth::Text(3)),
];

/// The longest value that is made while a statement is planned. A longer one stays a call: as a constant it would be copied to wherever
/// the plan names it.
const MAX_FOLDED_BYTES: i128 = 16 << 10;

/// Bounds the functions of the table among `known`.
pub(super) fn bound(known: &dyn Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    FUNCTIONS
        .iter()
        .filter_map(|(name, growth)| {
            known(name).filter(|inner| inner.name() == *name).map(|inner| Bounded { inner, growth: *growth })
        })
        .map(ScalarUDF::from)
        .collect()
}

/// Whether calls of this function count against a statement's bounds.
pub(in crate::engine) fn is_bounded(name: &str) -> bool {
    FUNCTIONS.binary_search_by_key(&name, |(name, _)| name).is_ok() || is_shown(name)
}

/// The bytes of a list that a call makes of constants alone, which is written beside each row of a batch; zero for other calls.
pub(in crate::engine) fn constant_list_bytes(call: &ScalarFunction) -> usize {
    let Some((_, growth)) = FUNCTIONS.iter().find(|(name, _)| *name == call.func.name()) else { return 0 };
    let constant = |arg: &Expr| match arg {
        Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
        _ => None,
    };
    let is_constant = |arg: &Expr| match arg {
        Expr::ScalarFunction(inner) => constant_list_bytes(inner) > 0,
        arg => constant(arg).is_some(),
    };
    let types = call.args.iter().map(|arg| arg.get_type(&DFSchema::empty())).collect::<Result<Vec<_>>>();
    let makes_list = types.and_then(|types| call.func.return_type(&types)).is_ok_and(|made| made.is_nested());
    if !makes_list || !call.args.iter().all(is_constant) {
        return 0;
    }
    let Some(args) = call.args.iter().map(constant).collect::<Option<Vec<_>>>() else {
        // A list of lists is as long as it likes.
        return MAX_MADE_BYTES;
    };
    let made = growth.made(&ScalarFunctionArgs {
        args,
        arg_fields: Vec::new(),
        number_rows: 1,
        return_field: Arc::new(Field::new("", DataType::Null, true)),
        config_options: Arc::default(),
    });
    made.map_or(MAX_MADE_BYTES, |made| usize::try_from(made).unwrap_or(MAX_MADE_BYTES))
}

/// A function of the table for the planner, which names functions without asking a session.
pub(in crate::engine) fn bounded_function(name: &str) -> Option<Arc<ScalarUDF>> {
    static ALL: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
        let known = [
            datafusion::functions_nested::concat::array_append_udf(),
            datafusion::functions_nested::concat::array_concat_udf(),
            datafusion::functions_nested::concat::array_prepend_udf(),
            datafusion::functions_nested::make_array::make_array_udf(),
            Arc::new(ScalarUDF::from(datafusion::functions::string::overlay::OverlayFunc::new())),
            Arc::new(text_concat_udf()),
        ];
        bound(&|name| known.iter().find(|function| function.name() == name).cloned())
            .into_iter()
            .map(Arc::new)
            .collect()
    });
    ALL.iter().find(|function| function.name() == name).cloned()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Bounded {
    /// Refuses a call whose result would be too large.
    fn check(&self, args: &ScalarFunctionArgs, bounds: &StatementBounds) -> Result<()> {
        let made = self.growth.made(args)?;
        if bounds.folding && made > MAX_FOLDED_BYTES {
            // The simplifier leaves a call that fails as it is.
            return datafusion::common::exec_err!("{} is not for planning", self.inner.name());
        }
        within(self.inner.name(), made, bounds)
    }

    fn call(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.inner.inner().invoke_with_args(args)? {
            ColumnarValue::Array(array) if is_copied_text(array.data_type()) => {
                Ok(ColumnarValue::Array(cast(&array, &DataType::Utf8View)?))
            }
            ColumnarValue::Scalar(ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text)) => {
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(text)))
            }
            value => Ok(value),
        }
    }

    /// Calls `regexp_replace`, whose result is only known to be at most so large, in slices that are within the limit.
    fn sliced(&self, args: ScalarFunctionArgs, limits: &StatementBounds) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let bounds = growth::regexp_replaced(&args, rows.max(1))?;
        if bounds.iter().sum::<i128>() <= limits.made_bytes {
            return self.call(args);
        }
        within(self.inner.name(), bounds.iter().max().copied().unwrap_or(0), limits)?;
        let (mut parts, mut made, mut start) = (Vec::<ArrayRef>::new(), 0, 0);
        while start < rows {
            let (mut end, mut bound) = (start, 0);
            while end < rows && (end == start || bound + bounds[end] <= limits.made_bytes) {
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
            let part = self.call(part)?.into_array(end - start)?;
            made += part.get_array_memory_size() as i128;
            within(self.inner.name(), made, limits)?;
            parts.push(part);
            start = end;
        }
        let parts = parts.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// Refuses what is larger than a statement may make in one call.
pub(super) fn within(name: &str, made: i128, bounds: &StatementBounds) -> Result<()> {
    if made <= bounds.made_bytes {
        return Ok(());
    }
    let message = format!("{name} would make {made} bytes of one batch; the limit is {}", bounds.made_bytes);
    Err(DataFusionError::External(Box::new(Error::new(Kind::TooLarge, message))))
}

fn is_copied_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8)
}

fn viewed(data_type: DataType) -> DataType {
    if is_copied_text(&data_type) { DataType::Utf8View } else { data_type }
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
        self.inner.inner().return_type(types).map(viewed)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.inner.inner().return_field_from_args(args)?;
        let data_type = field.data_type().clone();
        Ok(if is_copied_text(&data_type) {
            Arc::new(field.as_ref().clone().with_data_type(viewed(data_type)))
        } else {
            field
        })
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

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bounds = StatementBounds::within(&args.config_options);
        // A text of constants alone is made once; a list of them is copied for each row, and measured so.
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        if constant && args.return_field.data_type() == &DataType::Utf8View {
            args.number_rows = 1;
        }
        self.check(&args, &bounds)?;
        let value = match self.growth {
            Growth::RegexpReplace => self.sliced(args, &bounds)?,
            _ => self.call(args)?,
        };
        match value {
            ColumnarValue::Array(array) if constant && array.len() == 1 => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            value => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_name() {
        assert!(FUNCTIONS.is_sorted_by_key(|(name, _)| name));
    }
}
