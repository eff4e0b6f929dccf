//! Columns of a set operation have one type, as in PostgreSQL: text and numbers do not mix, but a text constant is read as what it stands beside.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Union};
use datafusion::optimizer::AnalyzerRule;

use crate::error::Error;
use crate::pg::PgType;

/// The rule; it runs before DataFusion makes the types agree.
#[derive(Debug)]
pub(in crate::engine) struct UnionTypes;

impl AnalyzerRule for UnionTypes {
    fn name(&self) -> &str {
        "union_types"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Union(union) => united(union).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })
        .map(|plan| plan.data)
    }
}

fn united(mut union: Union) -> Result<LogicalPlan> {
    for at in 0..union.schema.fields().len() {
        let type_at = |input: &LogicalPlan| input.schema().field(at).data_type().clone();
        let other = union.inputs.iter().map(|input| type_at(input)).find(is_plain_value);
        let Some(other) = other else { continue };
        for input in &mut union.inputs {
            let text = type_at(input);
            if !text.is_string() {
                continue;
            }
            match read_as(input, at, &other)? {
                Some(read) => *input = read.into(),
                None => return Err(mismatch(&text, &other)),
            }
        }
    }
    Ok(LogicalPlan::Union(union))
}

/// Whether it is a type that no text is taken for. Names of the catalogue's objects go both ways.
fn is_plain_value(data_type: &DataType) -> bool {
    let is_object = *data_type == DataType::UInt32;
    data_type.is_numeric() && !is_object || data_type.is_temporal() || *data_type == DataType::Boolean
}

/// The input with its text constant read as another type; `None` when the column is no constant.
fn read_as(input: &LogicalPlan, at: usize, wanted: &DataType) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = input else { return Ok(None) };
    let mut columns = expr.clone();
    let Some(column) = columns.get_mut(at) else { return Ok(None) };
    let (relation, name) = column.qualified_name();
    let constant = column.clone().unalias();
    if !matches!(constant, Expr::Literal(..)) {
        return Ok(None);
    }
    *column = Expr::Cast(Cast::new(Box::new(constant), wanted.clone())).alias_qualified(relation, name);
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, input.clone())?)))
}

fn mismatch(text: &DataType, other: &DataType) -> DataFusionError {
    let message = format!("UNION types {} and {} cannot be matched", PgType::of(text).name(), PgType::of(other).name());
    DataFusionError::External(Box::new(Error::bad_input(message).with_sqlstate("42804").with_hint("cast one of them")))
}
