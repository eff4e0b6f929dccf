//! Comparisons with what a subquery gives: `x op ANY (q)`, `x op ALL (q)`, and `IN`, which is one of them.
//!
//! Knows what decides a comparison and what leaves it open, and nothing of the clause that it stands in but its [`Place`].

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, when,
};

use super::existence::{aggregated, scalar, there_are};
use super::subquery_values::Place;

/// `x op ANY (plan)`, or `ALL`.
pub(super) struct Asked {
    pub left: Expr,
    pub plan: LogicalPlan,
    pub op: Operator,
    pub is_any: bool,
}

impl Asked {
    /// What an expression asks of a subquery, denied or not; `None` for one that is no such comparison.
    pub fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let op = if *negated { Operator::NotEq } else { Operator::Eq };
                let (left, plan) = (expr.as_ref().clone(), subquery.subquery.as_ref().clone());
                Some(Self { left, plan, op, is_any: !negated })
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let (left, plan) = (expr.as_ref().clone(), subquery.subquery.as_ref().clone());
                Some(Self { left, plan, op: *op, is_any: *quantifier == SetQuantifier::Any })
            }
            Expr::Not(inner) => {
                let asked = Self::of(inner)?;
                Some(Self { op: asked.op.negate()?, is_any: !asked.is_any, ..asked })
            }
            _ => None,
        }
    }

    pub fn transform_left(self, change: impl FnOnce(Expr) -> Result<Expr>) -> Result<Self> {
        Ok(Self { left: change(self.left)?, ..self })
    }

    pub fn is_in(&self) -> bool {
        self.op == Operator::Eq && self.is_any
    }

    pub fn is_not_in(&self) -> bool {
        self.op == Operator::NotEq && !self.is_any
    }

    /// `x IN (q)` or `x NOT IN (q)`, of which DataFusion makes a join.
    pub fn into_membership(self) -> Expr {
        let outer_ref_columns = self.plan.all_out_ref_exprs();
        let negated = self.is_not_in();
        let subquery = Subquery { subquery: Arc::new(self.plan), outer_ref_columns, spans: Default::default() };
        Expr::InSubquery(InSubquery::new(Box::new(self.left), subquery, negated))
    }
}

/// What is compared with the rows of a subquery, which have one column.
pub(super) struct Found {
    pub left: Expr,
    pub plan: LogicalPlan,
    pub found: Expr,
    pub op: Operator,
    pub is_any: bool,
}

impl Found {
    pub fn filtered(&self, predicate: Expr) -> Result<LogicalPlan> {
        LogicalPlanBuilder::from(self.plan.clone()).filter(predicate)?.build()
    }

    /// Whether the ends of a set say what comparisons with each of its values would.
    pub fn are_ordered_alike(&self, schema: &DFSchema) -> bool {
        let (Ok(left), Ok(right)) = (self.left.get_type(schema), self.found.get_type(self.plan.schema())) else {
            return false;
        };
        let are_times = left.is_temporal() && right.is_temporal();
        (left.is_string() && right.is_string())
            || (left.is_numeric() && right.is_numeric())
            || are_times
            || (left == right && left == DataType::Boolean)
    }

    pub fn by_ends(&self, ends: &[End], joined_by: Operator, schema: &DFSchema, place: Place) -> Result<Expr> {
        let mut decided: Option<Expr> = None;
        for end in ends {
            let end = scalar(aggregated(self.plan.clone(), end(self.found.clone()))?);
            let one = binary_expr(self.left.clone(), self.op, end);
            decided = Some(match decided {
                Some(other) => binary_expr(other, joined_by, one),
                None => one,
            });
        }
        let decided = decided.unwrap_or_else(|| lit(self.is_any));
        let decided = if self.is_any { decided.is_true() } else { decided.is_false() };
        three_valued(decided, self.unknown(schema, place)?, self.is_any)
    }

    /// When a comparison with a set that is not decided stays open: NULL is in the set, or is compared with any set but the empty one.
    pub fn unknown(&self, schema: &DFSchema, place: Place) -> Result<Option<Expr>> {
        let mut unknown = None;
        if self.found.nullable(self.plan.schema())? {
            unknown = Some(there_are(self.filtered(self.found.clone().is_null())?, place)?);
        }
        if self.left.nullable(schema)? {
            let of_null = self.left.clone().is_null().and(there_are(self.plan.clone(), place)?);
            unknown = Some(match unknown {
                Some(other) => other.or(of_null),
                None => of_null,
            });
        }
        Ok(unknown)
    }
}

/// The least or greatest of a column.
pub(super) type End = fn(Expr) -> Expr;

/// Which ends of a set decide a comparison with any or all of it, and what joins the two; `None` for an operator that orders nothing.
pub(super) fn ends(op: Operator, is_any: bool) -> Option<(&'static [End], Operator)> {
    const LEAST: &[End] = &[min];
    const GREATEST: &[End] = &[max];
    const BOTH: &[End] = &[min, max];
    Some(match (op, is_any) {
        (Operator::Lt | Operator::LtEq, false) | (Operator::Gt | Operator::GtEq, true) => (LEAST, Operator::And),
        (Operator::Gt | Operator::GtEq, false) | (Operator::Lt | Operator::LtEq, true) => (GREATEST, Operator::And),
        (Operator::Eq, false) => (BOTH, Operator::And),
        (Operator::NotEq, true) => (BOTH, Operator::Or),
        _ => return None,
    })
}

/// `CASE WHEN decided THEN result WHEN unknown THEN NULL ELSE NOT result END`.
pub(super) fn three_valued(decided: Expr, unknown: Option<Expr>, result: bool) -> Result<Expr> {
    let mut case = when(decided, lit(result));
    match unknown {
        Some(unknown) => case.when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(!result)),
        None => case.otherwise(lit(!result)),
    }
}
