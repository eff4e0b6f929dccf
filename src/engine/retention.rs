//! Spans that have expired: no statement sees them, wherever they still lie.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TableScan, Volatility, lit,
};
use datafusion::prelude::col;

use super::catalog::{INTERNAL, SPAN_TREE, SPANS};
use super::span_tree::SpanTreeTable;
use crate::model::schema::{START_NS, TRACE_ID, TRACE_ID_TYPE};
use crate::store::Expiry;

/// The plan over the spans that have not expired: a filter above every scan of spans, and in every one of their trees, in subqueries too.
pub(super) fn without_expired(plan: LogicalPlan, expiry: Option<&Arc<Expiry>>) -> Result<LogicalPlan> {
    let Some(expiry) = expiry else { return Ok(plan) };
    let is_seen = is_seen(expiry);
    let filtered = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) if is_of(scan, SPANS) => {
            let builder = LogicalPlanBuilder::from(node);
            builder.filter(is_seen.clone())?.build().map(Transformed::yes)
        }
        // Trees are made of spans that are seen.
        LogicalPlan::TableScan(scan) if is_of(scan, SPAN_TREE) => {
            let seen = Arc::new(SpanTreeTable { seen: Some(is_seen.clone()) });
            let scan = TableScan { source: provider_as_source(seen), ..scan.clone() };
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(filtered.data)
}

fn is_of(scan: &TableScan, table: &str) -> bool {
    scan.table_name.schema() == Some(INTERNAL) && scan.table_name.table() == table
}

fn is_seen(expiry: &Arc<Expiry>) -> Expr {
    let from = |start_ns: i64| col(START_NS).gt_eq(lit(start_ns));
    let (none_before_ns, all_from_ns) = (expiry.none_before_ns(), expiry.all_from_ns());
    if none_before_ns == all_from_ns {
        return from(all_from_ns);
    }
    let by_rule = ScalarUDF::from(SeenByRule::new(expiry.clone())).call(vec![col(TRACE_ID), col(START_NS)]);
    from(none_before_ns).and(from(all_from_ns).or(by_rule))
}

/// Whether retention's rules, or what holds without them, still keep a span.
#[derive(Debug)]
struct SeenByRule {
    expiry: Arc<Expiry>,
    signature: Signature,
}

impl SeenByRule {
    fn new(expiry: Arc<Expiry>) -> Self {
        Self { expiry, signature: Signature::exact(vec![TRACE_ID_TYPE, DataType::Int64], Volatility::Immutable) }
    }
}

impl PartialEq for SeenByRule {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.expiry, &other.expiry)
    }
}

impl Eq for SeenByRule {}

impl Hash for SeenByRule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.expiry).hash(state);
    }
}

impl ScalarUDFImpl for SeenByRule {
    fn name(&self) -> &str {
        "seen_by_rule"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let (traces, starts) = (columns[0].as_fixed_size_binary(), columns[1].as_primitive::<Int64Type>());
        let mut decide = self.expiry.decide();
        let seen = (0..args.number_rows).map(|row| decide.is_seen(traces.value(row), starts.value(row)).map(Some));
        let seen = seen.collect::<Result<BooleanArray, _>>();
        Ok(ColumnarValue::Array(Arc::new(seen.map_err(|error| DataFusionError::External(Box::new(error)))?)))
    }
}
