//! The spans of somebody who does not see all of them: a barrier in front of the scan.
//!
//! Below it the spans that are not seen are left out, and attributes are masked. Above it is everything that the statement says. No condition of its
//! own is worked out on a span that is not seen, so that no error tells of one; the few that cannot fail and look at columns as they are shown go
//! along to leave files out. Nothing comes through in the other direction: neither how many spans there are, nor their least and greatest values, nor
//! files, nor how many rows were read. To rules over plans it is a source like any other.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{TableReference, project_schema};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, Operator, TableProviderFilterPushDown};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::StreamExt;

use super::table::scan_all;
use crate::engine::catalog::{INTERNAL, SPANS};
use crate::engine::rights::Sight;
use crate::model::schema::{
    DURATION_NS, PARENT_SPAN_ID, SERVICE_NAME, SPAN_ID, SPAN_KIND, SPAN_NAME, START_NS, STATUS_CODE, TRACE_ID,
    physical_schema,
};

/// The columns by which files and their pages are left out.
const PRUNED_BY: [&str; 9] =
    [START_NS, DURATION_NS, TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SPAN_NAME, SERVICE_NAME, SPAN_KIND, STATUS_CODE];

/// Plans a scan of the spans that are seen.
pub(super) async fn scan_visible(
    state: &dyn Session,
    sight: &Sight,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = project_schema(&physical_schema(), projection)?;
    // A plan has at least one column.
    let first = physical_schema();
    let read = if schema.fields().is_empty() { &first.fields()[..1] } else { &schema.fields()[..] };
    let shown = read.iter().map(|field| sight.shown(field.name())).collect::<Result<Vec<_>>>()?;
    let going_along = filters.iter().filter(|filter| cannot_tell(filter, sight)).cloned();
    let all = provider_as_source(Arc::new(AllSpans));
    let mut plan = LogicalPlanBuilder::scan(TableReference::partial(INTERNAL, SPANS), all, None)?;
    if let Some(condition) = conjunction(sight.conditions().into_iter().chain(going_along)) {
        plan = plan.filter(condition)?;
    }
    let below = state.create_physical_plan(&plan.project(shown)?.build()?).await?;
    Ok(Arc::new(VisibleSpansExec::new(below, schema)))
}

/// Whether a condition can neither fail nor tell what a masked column holds.
fn cannot_tell(condition: &Expr, sight: &Sight) -> bool {
    let all = |parts: &[&Expr]| parts.iter().all(|part| cannot_tell(part, sight));
    match condition {
        Expr::Literal(..) => true,
        Expr::Column(column) => {
            let is_shown = sight.shown(&column.name).is_ok_and(|shown| matches!(shown, Expr::Column(_)));
            PRUNED_BY.contains(&column.name.as_str()) && is_shown
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => is_harmless(*op) && all(&[left, right]),
        Expr::InList(InList { expr, list, .. }) => all(&[expr]) && list.iter().all(|value| all(&[value])),
        Expr::Between(Between { expr, low, high, .. }) => all(&[expr, low, high]),
        Expr::Not(inner) | Expr::IsNull(inner) | Expr::IsNotNull(inner) => all(&[inner]),
        _ => false,
    }
}

fn is_harmless(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// All spans, for the plan below the barrier alone.
#[derive(Debug)]
struct AllSpans;

#[async_trait]
impl TableProvider for AllSpans {
    fn schema(&self) -> SchemaRef {
        physical_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        scan_all(state, projection, filters, limit).await
    }
}

/// The barrier. It has no inputs: what is below is nobody's business.
struct VisibleSpansExec {
    below: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl VisibleSpansExec {
    fn new(below: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(below.output_partitioning().partition_count()),
            below.pipeline_behavior(),
            below.boundedness(),
        );
        Self { below, schema, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for VisibleSpansExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisibleSpansExec").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl DisplayAs for VisibleSpansExec {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "VisibleSpansExec: columns=[{}]", columns.join(", "))
    }
}

impl ExecutionPlan for VisibleSpansExec {
    fn name(&self) -> &str {
        "VisibleSpansExec"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(reset_plan_states(self.below.clone())?, self.schema.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema.clone();
        let rows = self.below.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns()[..schema.fields().len()].to_vec();
            Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }
}
