//! `sum` of whole numbers and durations: 22003 where the sum does not fit, and never a number of the other sign.
//!
//! Sums are kept in 128 bits, which no number of rows can fill, so that the order of the rows does not matter: what comes back into 64 bits
//! is right. States between partitions are decimals of 38 digits. Other types are DataFusion's.

mod groups;
mod one;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, Operator, ReversedUDAF, SetMonotonicity,
    StatisticsArgs,
};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::wrapped::said_by_inner;
use crate::error::Error;
use groups::Groups;
use one::{DistinctSum, OneSum};

/// The type of a sum before it is brought back into 64 bits.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(ExactSum { inner: Sum::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    inner: Sum,
}

/// Whether sums of this type are kept here.
fn is_whole(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::Duration(_))
}

impl AggregateUDFImpl for ExactSum {
    said_by_inner!();

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if is_whole(args.return_type()) && !args.is_distinct {
            return Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), WIDE, true))]);
        }
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type();
        match (is_whole(data_type), args.is_distinct) {
            (true, false) => Ok(Box::new(OneSum::new(data_type))),
            (true, true) => Ok(Box::new(DistinctSum::new(data_type))),
            (false, _) => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if is_whole(args.return_field.data_type()) {
            return self.accumulator(args);
        }
        self.inner.create_sliding_accumulator(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if is_whole(args.return_field.data_type()) {
            return Ok(Box::new(Groups::new(args.return_field.data_type())));
        }
        self.inner.create_groups_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn simplify_expr_op_literal(
        &self,
        call: &AggregateFunction,
        arg: &Expr,
        op: Operator,
        literal: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner.simplify_expr_op_literal(call, arg, op, literal, arg_is_left)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }
}

/// The numbers of a column: a duration is one already.
fn numbers(values: &dyn Array) -> Result<Int64Array> {
    Ok(cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// A sum as a value of `data_type`.
///
/// # Errors
/// 22003 where it does not fit.
fn narrow(sum: i128, data_type: &DataType) -> Result<i64> {
    i64::try_from(sum).map_err(|_| out_of_range(data_type))
}

fn out_of_range(data_type: &DataType) -> DataFusionError {
    let error = match data_type {
        DataType::Duration(_) => Error::bad_input("interval out of range").with_sqlstate("22008"),
        _ => Error::bad_input("bigint out of range: a sum does not fit")
            .with_sqlstate("22003")
            .with_hint("sum the values as numeric: sum(x::numeric(38, 0))"),
    };
    DataFusionError::External(Box::new(error))
}

fn typed(sums: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    Ok(cast(&sums, data_type)?)
}
