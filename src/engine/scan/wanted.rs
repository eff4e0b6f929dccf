//! Which traces a predicate can hold for.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, DynamicFilterPhysicalExpr, InListExpr, Literal,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::model::schema::TRACE_ID;

/// Ids of traces, as bytes.
pub(super) type TraceIds = BTreeSet<Vec<u8>>;

/// The most traces that are looked up one by one: beyond it their rows are so many places that a scan is no slower.
pub(in crate::engine) const MAX_TRACES: usize = 4096;

/// The traces without which the predicate is not true of any row; `None` when it may be true of any trace.
pub(super) fn wanted_traces(predicate: &Arc<dyn PhysicalExpr>) -> Option<TraceIds> {
    wanted(predicate).filter(|ids| ids.len() <= MAX_TRACES)
}

/// Whether the predicate is true of certain traces only, however many.
pub(super) fn names_traces(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    wanted(predicate).is_some()
}

fn wanted(expr: &Arc<dyn PhysicalExpr>) -> Option<TraceIds> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return wanted_by_operator(binary);
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        return wanted_by_list(list);
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        let is_never_true = matches!(literal.value(), ScalarValue::Boolean(Some(false) | None));
        return is_never_true.then(TraceIds::new);
    }
    if let Some(dynamic) = expr.downcast_ref::<DynamicFilterPhysicalExpr>() {
        return wanted(&dynamic.current().ok()?);
    }
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        // Without ELSE the rest is NULL, which is not true.
        let branches = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
        return branches.map(wanted).collect::<Option<Vec<_>>>().map(merged);
    }
    None
}

/// A list of ids, or of structs that have one: a join on a trace id and more looks for those.
fn wanted_by_list(list: &InListExpr) -> Option<TraceIds> {
    let ids = |each: &dyn Fn(&Arc<dyn PhysicalExpr>) -> Option<TraceIds>| {
        list.list().iter().map(each).collect::<Option<Vec<_>>>().map(merged)
    };
    if list.negated() {
        return None;
    }
    if is_trace_id(list.expr()) {
        return ids(&id);
    }
    let made = list.expr().downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == "struct")?;
    let at = made.args().iter().position(is_trace_id)?;
    ids(&|value| match value.downcast_ref::<Literal>()?.value() {
        ScalarValue::Struct(value) => id_of(&ScalarValue::try_from_array(value.column(at), 0).ok()?),
        _ => None,
    })
}

fn wanted_by_operator(binary: &BinaryExpr) -> Option<TraceIds> {
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::And if let Some(id) = one_between(left, right).or_else(|| one_between(right, left)) => Some(id),
        Operator::And => match (wanted(left), wanted(right)) {
            (Some(left), Some(right)) => Some(left.intersection(&right).cloned().collect()),
            (left, right) => left.or(right),
        },
        Operator::Or => Some(merged([wanted(left)?, wanted(right)?])),
        Operator::Eq if is_trace_id(left) => id(right),
        Operator::Eq if is_trace_id(right) => id(left),
        _ => None,
    }
}

fn is_trace_id(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Column>().is_some_and(|column| column.name() == TRACE_ID)
}

/// The id that an expression is; none when it is NULL, which equals nothing.
fn id(expr: &Arc<dyn PhysicalExpr>) -> Option<TraceIds> {
    id_of(expr.downcast_ref::<Literal>()?.value())
}

fn id_of(value: &ScalarValue) -> Option<TraceIds> {
    match value {
        ScalarValue::FixedSizeBinary(_, id) | ScalarValue::Binary(id) => Some(id.iter().cloned().collect()),
        _ => None,
    }
}

/// The id of `trace_id >= id AND trace_id <= id`: what is made of a prefix that is a whole id.
fn one_between(least: &Arc<dyn PhysicalExpr>, most: &Arc<dyn PhysicalExpr>) -> Option<TraceIds> {
    let bound = |expr: &Arc<dyn PhysicalExpr>, op: Operator| {
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        (*binary.op() == op && is_trace_id(binary.left())).then(|| id(binary.right()))?
    };
    let (least, most) = (bound(least, Operator::GtEq)?, bound(most, Operator::LtEq)?);
    (least == most).then_some(least)
}

fn merged(sets: impl IntoIterator<Item = TraceIds>) -> TraceIds {
    sets.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, StructArray};
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{Expr, col, lit, when};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::model::schema::physical_schema;

    fn trace(n: u8) -> Expr {
        lit(ScalarValue::FixedSizeBinary(16, Some(vec![n; 16])))
    }

    fn is(n: u8) -> Expr {
        col(TRACE_ID).eq(trace(n))
    }

    fn physical(expr: Expr) -> Arc<dyn PhysicalExpr> {
        let schema = DFSchema::try_from(physical_schema()).expect("schema");
        SessionContext::new().create_physical_expr(expr, &schema).expect("planned")
    }

    fn of(expr: Expr) -> Option<Vec<u8>> {
        wanted_traces(&physical(expr)).map(|ids| ids.into_iter().map(|id| id[0]).collect())
    }

    #[test]
    fn a_predicate_names_the_traces_that_it_needs() {
        let other = || col("duration_ns").gt(lit(5_i64));
        let cases = [
            (is(1), Some(vec![1])),
            (trace(2).eq(col(TRACE_ID)), Some(vec![2])),
            (col(TRACE_ID).in_list(vec![trace(3), trace(1), trace(3)], false), Some(vec![1, 3])),
            (is(1).and(other()), Some(vec![1])),
            (other().and(is(1).or(is(2))), Some(vec![1, 2])),
            (is(1).and(is(2)), Some(vec![])),
            (is(1).and(col(TRACE_ID).in_list(vec![trace(1), trace(2)], false)), Some(vec![1])),
            (is(1).and(lit(false)), Some(vec![])),
            (col(TRACE_ID).eq(lit(ScalarValue::FixedSizeBinary(16, None))), Some(vec![])),
            (when(other(), is(4)).otherwise(is(5)).expect("case"), Some(vec![4, 5])),
            (when(other(), is(4)).end().expect("case"), Some(vec![4])),
            (when(other(), is(4)).otherwise(other()).expect("case"), None),
            (col(TRACE_ID).between(trace(6), trace(6)).and(other()), Some(vec![6])),
            (col(TRACE_ID).between(trace(6), trace(7)), None),
            (is(1).or(other()), None),
            (col(TRACE_ID).not_eq(trace(1)), None),
            (col(TRACE_ID).in_list(vec![trace(1)], true), None),
            (col(TRACE_ID).gt(trace(1)), None),
            (col(TRACE_ID).eq(col(TRACE_ID)), None),
            (Expr::Not(Box::new(is(1))), None),
            (lit(true), None),
            (other(), None),
        ];
        for (expr, expected) in cases {
            let text = expr.to_string();
            assert_eq!(of(expr), expected, "{text}");
        }
    }

    #[test]
    fn too_many_traces_are_any_trace() {
        let ids = |count: usize| {
            let ids = (0..count).map(|n| lit(ScalarValue::FixedSizeBinary(16, Some([n.to_be_bytes(); 2].concat()))));
            col(TRACE_ID).in_list(ids.collect(), false)
        };
        assert_eq!(wanted_traces(&physical(ids(MAX_TRACES))).map(|ids| ids.len()), Some(MAX_TRACES));
        assert_eq!(wanted_traces(&physical(ids(MAX_TRACES + 1))), None);
    }

    #[test]
    fn a_join_on_a_trace_and_more_names_the_traces_in_structs() {
        let keys: Vec<(Arc<Field>, ArrayRef)> = [("c0", 16), ("c1", 8)]
            .into_iter()
            .map(|(name, len)| {
                let ids = [vec![1; len], vec![2; len], vec![2; len]];
                let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(ids.into_iter()).expect("ids"));
                (Arc::new(Field::new(name, ids.data_type().clone(), true)), ids)
            })
            .collect();
        let keys: ArrayRef = Arc::new(StructArray::from(keys));
        let pair = physical(datafusion::functions::core::expr_fn::r#struct(vec![col(TRACE_ID), col("span_id")]));
        let list = |key| InListExpr::try_new_from_array(key, keys.clone(), false, &physical_schema()).expect("a list");
        let predicate: Arc<dyn PhysicalExpr> = Arc::new(list(pair));
        let ids = wanted_traces(&predicate).map(|ids| ids.into_iter().map(|id| id[0]).collect::<Vec<_>>());
        assert_eq!(ids, Some(vec![1, 2]));
    }

    #[test]
    fn a_filter_that_is_known_later_counts_as_it_is_now() {
        let column = physical(col(TRACE_ID));
        let dynamic = Arc::new(DynamicFilterPhysicalExpr::new(vec![column], physical(lit(true))));
        let predicate: Arc<dyn PhysicalExpr> = dynamic.clone();
        assert_eq!(wanted_traces(&predicate), None);
        dynamic.update(physical(is(7))).expect("updated");
        assert_eq!(wanted_traces(&predicate).map(|ids| ids.len()), Some(1));
    }
}
