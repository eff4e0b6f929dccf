//! Rows that a predicate does not want, told by numbers: a condition on a column of numbers is put to the whole column of a row group, before
//! anything is made of the other columns.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::common::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};

use super::file::HotFile;
use super::told::Term;

impl HotFile {
    /// Which rows of a row group a condition on numbers wants; `None` when it is none, or one that takes long to ask.
    pub(super) async fn rows_by_number(&self, term: &Term, row_group: usize) -> Result<Option<BooleanBuffer>> {
        let (Some(root), Some(alone)) = (term.column(), term.schema()) else { return Ok(None) };
        let at = self.columns.roots.iter().position(|taken| *taken == root);
        let Some(at) = at.filter(|_| alone.field(0).data_type().is_numeric() && is_quick(&term.expr)) else {
            return Ok(None);
        };
        let key = self.key(row_group, at);
        let numbers = match self.scan.cache.get(&key) {
            Some(numbers) => numbers,
            None => {
                self.misses.add(1);
                let batches = self.decode_with(self.parquet.clone(), row_group, vec![root]).await?;
                let [batch] = batches.as_slice() else { return Ok(None) };
                let numbers = batch.column(0).clone();
                self.scan.cache.insert(key, numbers.clone());
                numbers
            }
        };
        let numbers = RecordBatch::try_new(alone.clone(), vec![numbers])?;
        // What fails on a value fails on the row that has it, if another condition does not leave that out.
        let Ok(holds) = term.expr.evaluate(&numbers).and_then(|holds| holds.into_array(numbers.num_rows())) else {
            return Ok(None);
        };
        let Some(holds) = holds.as_boolean_opt() else { return Ok(None) };
        Ok(Some(match holds.nulls() {
            None => holds.values().clone(),
            Some(nulls) => holds.values() & nulls.inner(),
        }))
    }
}

/// Whether a condition is comparisons with constants and nothing else, which many rows are asked about at a time.
fn is_quick(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is_comparison = |binary: &BinaryExpr| {
        use Operator::*;
        matches!(binary.op(), And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq)
    };
    let is_part = expr.is::<Column>()
        || expr.is::<Literal>()
        || expr.is::<NotExpr>()
        || expr.is::<IsNullExpr>()
        || expr.is::<IsNotNullExpr>()
        || expr.is::<InListExpr>()
        || expr.downcast_ref::<BinaryExpr>().is_some_and(is_comparison);
    is_part && expr.children().into_iter().all(is_quick)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, cast, col, in_list, is_null, lit};

    use super::*;

    #[test]
    fn only_comparisons_with_constants_are_quick() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let n = || col("n", &schema).expect("a column");
        let is = |left, op, right| binary(left, op, right, &schema).expect("an expression");
        let more = || is(n(), Operator::Gt, lit(5_i64));
        let list = in_list(n(), vec![lit(1_i64), lit(2_i64)], &true, &schema).expect("a list");
        let double = cast(n(), &schema, DataType::Float64).expect("a cast");
        for (expr, quick) in [
            (more(), true),
            (is(more(), Operator::Or, is_null(n()).expect("a condition")), true),
            (list, true),
            (is(double, Operator::Gt, lit(5.0)), false),
            (is(is(n(), Operator::Modulo, lit(7_i64)), Operator::Eq, lit(0_i64)), false),
        ] {
            assert_eq!(is_quick(&expr), quick, "{expr}");
        }
    }
}
