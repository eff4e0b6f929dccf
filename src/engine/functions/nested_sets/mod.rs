//! Functions of windows over the spans of a trace, with their places in its tree: `is_below(nset_left, nset_right, condition) OVER (PARTITION BY
//! trace_id)` and its kin, and `error_chain(…)`; and which calls a parent makes again and again: `is_repeated(…)`.
//!
//! A partition is one trace; the order of its rows does not matter. A condition that is NULL is not met.

mod errors;
mod repeats;

use std::num::NonZeroU64;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, ReversedUDWF, Signature, Volatility, WindowUDF, WindowUDFImpl};

use crate::analysis::Nesting;
use crate::model::SpanId;
use crate::model::schema::PARENT_SPAN_ID;

/// All of them.
pub(super) fn udwfs() -> Vec<WindowUDF> {
    [Asked::Below, Asked::Above, Asked::Beside, Asked::InTrace, Asked::ErrorChain, Asked::Repeated]
        .map(|asked| WindowUDF::from(OfTrace { asked, signature: Signature::user_defined(Volatility::Immutable) }))
        .into()
}

/// What is asked of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    /// Whether a row above it meets the condition.
    Below,
    /// Whether a row below it does.
    Above,
    /// Whether another row below the same row does.
    Beside,
    /// Whether any row of the trace does.
    InTrace,
    /// How an error went up that began with it.
    ErrorChain,
    /// Whether so many rows are below the same row and alike.
    Repeated,
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Self::Below => "is_below",
            Self::Above => "is_above",
            Self::Beside => "is_beside",
            Self::InTrace => "is_in_trace",
            Self::ErrorChain => "error_chain",
            Self::Repeated => "is_repeated",
        }
    }

    /// What it takes, by name.
    fn arguments(self) -> Vec<(&'static str, DataType)> {
        let (left, right) = (("nset_left", DataType::Int32), ("nset_right", DataType::Int32));
        let condition = ("condition", DataType::Boolean);
        let text = |name| (name, DataType::Utf8View);
        match self {
            Self::Below | Self::Above => vec![left, right, condition],
            Self::Beside => vec![left, right, text(PARENT_SPAN_ID), condition],
            Self::InTrace => vec![condition],
            Self::Repeated => {
                let alike = [PARENT_SPAN_ID, "service_name", "span_name"].map(text);
                alike.into_iter().chain([("times", DataType::Int64)]).collect()
            }
            Self::ErrorChain => {
                let truth = |name| (name, DataType::Boolean);
                let said = ["status_code", "service_name", "span_name", "error"].map(text);
                [left, right, truth("is_root")].into_iter().chain(said).chain([truth("is_wanted")]).collect()
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfTrace {
    asked: Asked,
    signature: Signature,
}

impl WindowUDFImpl for OfTrace {
    fn name(&self) -> &str {
        self.asked.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = self.asked.arguments();
        let is_taken = |(given, (name, wanted)): (&DataType, &(&'static str, DataType))| {
            given.is_null()
                || given == wanted
                || given.is_string() && wanted.is_string()
                || given.is_integer() && wanted.is_integer()
                || is_id(name, given)
        };
        if types.len() != wanted.len() || !types.iter().zip(&wanted).all(is_taken) {
            let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
            return plan_err!("function {} is written {}({})", self.name(), self.name(), names.join(", "));
        }
        let taken = |((name, wanted), given): ((&str, DataType), &DataType)| match is_id(name, given) {
            true => given.clone(),
            false => wanted,
        };
        Ok(wanted.into_iter().zip(types).map(taken).collect())
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator(self.asked)))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let (data_type, is_nullable) = match self.asked {
            Asked::ErrorChain => (errors::chain_type(), true),
            _ => (DataType::Boolean, false),
        };
        Ok(Arc::new(Field::new(args.name(), data_type, is_nullable)))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::Identical
    }
}

#[derive(Debug)]
struct Evaluator(Asked);

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        match self.0 {
            Asked::ErrorChain => return errors::error_chains_of(values),
            Asked::Repeated => return repeats::repeated(values),
            _ => {}
        }
        let [places @ .., condition] = values else { return exec_err!("{} wants a condition", self.0.name()) };
        let wanted = truths(condition)?;
        if !wanted.contains(&true) {
            return Ok(Arc::new(BooleanArray::from(vec![false; rows])));
        }
        let found = match (self.0, places) {
            (Asked::InTrace, []) => vec![true; rows],
            (Asked::Below, [lefts, rights]) => nesting(lefts, rights)?.below(&wanted),
            (Asked::Above, [lefts, rights]) => nesting(lefts, rights)?.above_any(&wanted),
            (Asked::Beside, [lefts, rights, parents]) => nesting(lefts, rights)?.beside(&ids(parents)?, &wanted),
            _ => return exec_err!("{} has other arguments", self.0.name()),
        };
        Ok(Arc::new(BooleanArray::from(found)))
    }
}

/// The rows as a tree. Rows without numbers, as a join may make them, are tops.
fn nesting(lefts: &ArrayRef, rights: &ArrayRef) -> Result<Nesting> {
    let numbers = |column: &ArrayRef, none: i32| -> Result<Vec<i32>> {
        match column.as_primitive_opt::<Int32Type>() {
            Some(column) => Ok(column.iter().map(|number| number.unwrap_or(none)).collect()),
            None => exec_err!("nested sets are numbers"),
        }
    };
    Ok(Nesting::of(&numbers(lefts, i32::MAX)?, &numbers(rights, i32::MIN)?))
}

fn truths(condition: &ArrayRef) -> Result<Vec<bool>> {
    match condition.as_boolean_opt() {
        Some(truths) => Ok(truths.iter().map(|truth| truth == Some(true)).collect()),
        None => exec_err!("a condition must be true or false"),
    }
}

/// Whether what is given for an id is one as it is stored, and need not be a text.
fn is_id(name: &str, given: &DataType) -> bool {
    name == PARENT_SPAN_ID && *given == DataType::FixedSizeBinary(SpanId::LEN as i32)
}

/// The numbers that span ids are, or show.
fn ids(ids: &ArrayRef) -> Result<Vec<Option<NonZeroU64>>> {
    if let Some(texts) = ids.as_string_view_opt() {
        let number = |text: Option<&str>| NonZeroU64::new(u64::from_str_radix(text?, 16).ok()?);
        return Ok(texts.iter().map(number).collect());
    }
    let Some(ids) = ids.as_fixed_size_binary_opt() else { return exec_err!("ids are texts") };
    let number = |id: Option<&[u8]>| NonZeroU64::new(u64::from_be_bytes(id?.try_into().ok()?));
    Ok(ids.iter().map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int32Array, StringViewArray};

    fn found(asked: Asked, places: &[ArrayRef], condition: &[Option<bool>]) -> Vec<bool> {
        let condition: ArrayRef = Arc::new(BooleanArray::from(condition.to_vec()));
        let values: Vec<ArrayRef> = places.iter().cloned().chain([condition.clone()]).collect();
        let found = Evaluator(asked).evaluate_all(&values, condition.len()).expect("evaluated");
        found.as_boolean().values().iter().collect()
    }

    #[test]
    fn a_condition_that_is_null_is_not_met() {
        let (lefts, rights) = (Int32Array::from(vec![3, 1, 5]), Int32Array::from(vec![4, 6, 5]));
        let parents: StringViewArray = [Some("000000000000000a"), None, Some("000000000000000a")].into_iter().collect();
        let places: [ArrayRef; 3] = [Arc::new(lefts), Arc::new(rights), Arc::new(parents)];
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(found(Asked::Below, &places[..2], &[no, yes, None]), [true, false, true]);
        assert_eq!(found(Asked::Below, &places[..2], &[no, None, None]), [false; 3]);
        assert_eq!(found(Asked::Above, &places[..2], &[yes, None, no]), [false, true, false]);
        assert_eq!(found(Asked::Beside, &places, &[yes, yes, None]), [false, false, true]);
        assert_eq!(found(Asked::InTrace, &[], &[no, None, yes]), [true; 3]);
    }
}
