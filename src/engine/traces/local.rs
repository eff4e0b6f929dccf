//! What a plan does with single spans between the scan and an operator on whole traces, done to one batch of them.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{filter_record_batch, prep_null_mask_filter};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{exec_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;

use super::per_trace::PerTraceExec;
use crate::engine::functions::id_argument;
use crate::engine::long_texts::view_bytes;
use crate::engine::scan::SpansScan;
use crate::engine::width::bytes_of;

/// Filters and projections over some columns of the spans at hand.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Local {
    /// Where the scan's columns are in the batches at hand.
    columns: Vec<usize>,
    scanned: SchemaRef,
    steps: Vec<Step>,
}

/// Where a leaf's columns are in the batches at hand, and their schema.
pub(in crate::engine) type AtHand = (Vec<usize>, SchemaRef);

#[derive(Debug, Clone)]
enum Step {
    Filter { predicate: Arc<dyn PhysicalExpr>, projection: Option<Vec<usize>> },
    Project { exprs: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
}

/// Spans, and for each the number of its trace: equal for spans of one trace, and rising from row to row.
#[derive(Debug, Clone)]
pub(super) struct Spans {
    pub batch: RecordBatch,
    pub traces: Arc<[u32]>,
}

/// The scan that `plan` filters and projects; `None` when it does anything else, or the scan gives maps or lists.
pub(in crate::engine) fn scan_below(plan: &Arc<dyn ExecutionPlan>) -> Option<&SpansScan> {
    any_scan_below(plan).filter(|scan| !scan.is_nested())
}

/// The same, whatever the scan gives.
pub(in crate::engine) fn any_scan_below(plan: &Arc<dyn ExecutionPlan>) -> Option<&SpansScan> {
    if let Some(scan) = plan.downcast_ref::<SpansScan>() {
        return (!scan.is_limited()).then_some(scan);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return filter.fetch().is_none().then(|| any_scan_below(filter.input())).flatten();
    }
    any_scan_below(plan.downcast_ref::<ProjectionExec>()?.input())
}

/// The operator on whole traces whose rows `plan` filters and projects, and its column of the trace id; `None` when it does anything else, or the
/// operator does not give whole traces.
pub(in crate::engine) fn whole_below(plan: &Arc<dyn ExecutionPlan>) -> Option<(&Arc<dyn ExecutionPlan>, usize)> {
    if let Some(whole) = plan.downcast_ref::<PerTraceExec>() {
        return Some((plan, whole.whole_by()?));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return filter.fetch().is_none().then(|| whole_below(filter.input())).flatten();
    }
    whole_below(plan.downcast_ref::<ProjectionExec>()?.input())
}

impl Local {
    /// What `plan` does with its scan's rows, given batches that have the physical columns `at_hand`.
    pub fn new(plan: &Arc<dyn ExecutionPlan>, at_hand: &[usize]) -> Option<Self> {
        Self::above(plan, &|leaf| {
            let scan = leaf.downcast_ref::<SpansScan>()?;
            let at = |column: &usize| at_hand.iter().position(|at_hand| at_hand == column);
            Some((scan.columns().iter().map(at).collect::<Option<_>>()?, scan.schema()))
        })
    }

    /// What `plan` does with the rows of the plan below it that `leaf` knows.
    pub fn above(
        plan: &Arc<dyn ExecutionPlan>,
        leaf: &dyn Fn(&Arc<dyn ExecutionPlan>) -> Option<AtHand>,
    ) -> Option<Self> {
        if let Some((columns, scanned)) = leaf(plan) {
            return Some(Self { columns, scanned, steps: Vec::new() });
        }
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            let mut below = Self::above(filter.input(), leaf)?;
            let projection = filter.projection().as_ref().map(|columns| columns.to_vec());
            below.steps.push(Step::Filter { predicate: filter.predicate().clone(), projection });
            return filter.fetch().is_none().then_some(below);
        }
        let projection = plan.downcast_ref::<ProjectionExec>()?;
        let mut below = Self::above(projection.input(), leaf)?;
        let exprs = projection.expr().iter().map(|expr| expr.expr.clone()).collect();
        below.steps.push(Step::Project { exprs, schema: projection.schema() });
        Some(below)
    }

    /// Which column at hand `expr` over the result is; `None` when it is made of anything else.
    pub fn origin(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
        let mut at = expr.downcast_ref::<Column>()?.index();
        for step in self.steps.iter().rev() {
            at = match step {
                Step::Filter { projection: Some(projection), .. } => *projection.get(at)?,
                Step::Filter { projection: None, .. } => at,
                Step::Project { exprs, .. } => exprs.get(at)?.downcast_ref::<Column>()?.index(),
            };
        }
        self.columns.get(at).copied()
    }

    /// Which column at hand has the ids that `expr` over the result is, as bytes or as text.
    pub fn id_origin(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
        let mut at = id_column(expr)?;
        for step in self.steps.iter().rev() {
            at = match step {
                Step::Filter { projection: Some(projection), .. } => *projection.get(at)?,
                Step::Filter { projection: None, .. } => at,
                Step::Project { exprs, .. } => id_column(exprs.get(at)?)?,
            };
        }
        self.columns.get(at).copied()
    }

    /// Which column at hand has the ids that column `at` of the result is, as bytes or as text.
    pub fn id_origin_of_column(&self, at: usize) -> Option<usize> {
        self.id_origin(&(Arc::new(Column::new("", at)) as _))
    }

    /// Whether the result has the column `at_hand` as it is.
    pub fn gives(&self, at_hand: usize, columns: usize) -> bool {
        (0..columns).any(|at| self.origin(&(Arc::new(Column::new("", at)) as _)) == Some(at_hand))
    }

    /// The expressions that it evaluates.
    pub fn expressions(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.steps.iter().flat_map(|step| match step {
            Step::Filter { predicate, .. } => std::slice::from_ref(predicate),
            Step::Project { exprs, .. } => exprs.as_slice(),
        })
    }

    /// The columns that it is given, as it sees them before its first step.
    pub(super) fn scanned(&self) -> &SchemaRef {
        &self.scanned
    }

    /// Where the column `at` of those is in the batches at hand.
    pub(super) fn at_hand(&self, at: usize) -> usize {
        self.columns[at]
    }

    /// The columns of which it decides what rows to leave out; `None` when it does anything else.
    pub(super) fn filtered_by(&self) -> Option<HashSet<usize>> {
        let mut columns = HashSet::new();
        for step in &self.steps {
            let Step::Filter { predicate, projection: None } = step else { return None };
            columns.extend(collect_columns(predicate).iter().map(Column::index));
        }
        Some(columns)
    }

    /// The same over batches of the columns `schema`, of which the first are `kept` of those that it sees now and are all that it reads.
    pub(super) fn narrowed(&self, kept: &[usize], schema: SchemaRef) -> Result<Self> {
        let moved = |node: Arc<dyn PhysicalExpr>| {
            let column = node.downcast_ref::<Column>();
            let moved =
                column.map(|column| Column::new(column.name(), kept.partition_point(|at| *at < column.index())));
            Ok(moved.map_or(Transformed::no(node), |moved| Transformed::yes(Arc::new(moved) as _)))
        };
        let narrowed = |step: &Step| match step {
            Step::Filter { predicate, projection: None } => {
                Ok(Step::Filter { predicate: predicate.clone().transform_up(moved).data()?, projection: None })
            }
            _ => internal_err!("columns that are gone before a step that gives columns"),
        };
        let steps = self.steps.iter().map(narrowed).collect::<Result<_>>()?;
        Ok(Self { columns: (0..schema.fields().len()).collect(), scanned: schema, steps })
    }

    /// What it makes of spans.
    pub(super) fn apply(&self, spans: &Spans) -> Result<Spans> {
        let columns = self.columns.iter().map(|at| spans.batch.column(*at).clone()).collect();
        let mut spans = Spans {
            batch: batch(self.scanned.clone(), columns, spans.batch.num_rows())?,
            traces: spans.traces.clone(),
        };
        for step in &self.steps {
            spans = step.apply(spans)?;
        }
        Ok(spans)
    }
}

impl Step {
    fn apply(&self, spans: Spans) -> Result<Spans> {
        match self {
            Self::Filter { predicate, projection } => {
                let spans = spans.filter(predicate)?;
                match projection {
                    Some(projection) => Ok(Spans { batch: spans.batch.project(projection)?, ..spans }),
                    None => Ok(spans),
                }
            }
            Self::Project { exprs, schema } => {
                let rows = spans.batch.num_rows();
                let columns = exprs.iter().map(|expr| expr.evaluate(&spans.batch)?.into_array(rows));
                let columns = columns.collect::<Result<_>>()?;
                Ok(Spans { batch: batch(schema.clone(), columns, rows)?, ..spans })
            }
        }
    }
}

impl Spans {
    fn filter(self, predicate: &Arc<dyn PhysicalExpr>) -> Result<Self> {
        let wanted = predicate.evaluate(&self.batch)?.into_array(self.batch.num_rows())?;
        self.chosen(&truth(&wanted)?)
    }

    /// The rows for which `wanted` is true.
    pub fn chosen(self, wanted: &BooleanArray) -> Result<Self> {
        if wanted.true_count() == wanted.len() {
            return Ok(self);
        }
        let traces = wanted.values().set_indices().map(|row| self.traces[row]).collect();
        Ok(Self { batch: filter_record_batch(&self.batch, wanted)?, traces })
    }
}

/// The column whose ids `expr` is, as bytes or as text.
fn id_column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    match id_argument(expr) {
        Some(id) => id_column(id),
        None => expr.downcast_ref::<Column>().map(Column::index),
    }
}

/// A condition's values with NULL as false.
pub(super) fn truth(values: &dyn Array) -> Result<BooleanArray> {
    let values = values.as_boolean_opt().ok_or_else(|| exec_datafusion_err!("a condition must be true or false"))?;
    Ok(match values.null_count() {
        0 => values.clone(),
        _ => prep_null_mask_filter(values),
    })
}

/// The bytes of the rows of columns, texts included, whatever lies beside them in the same buffers.
pub(super) fn row_bytes(columns: &[ArrayRef]) -> usize {
    columns.iter().map(|column| bytes_of(column.as_ref(), 0, column.len()) + view_bytes(column.as_ref())).sum()
}

/// A batch that knows its rows even without columns.
pub(super) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
