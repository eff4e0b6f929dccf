//! A planned scan that remembers what it reads, so that a rule can ask for the same spans in another shape.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, IsNullExpr};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};

use super::files::Readers;
use super::fresh::scan_fresh;
use super::pieces::{Piece, scan_pieces};
use super::statistics::StartRange;
use super::wanted::wanted_traces;
use crate::model::schema::{PARENT_SPAN_ID, START_NS, TRACE_ID, physical_schema};
use crate::store::{DataFile, Snapshot};

/// Stands before a scan of spans from planning until joins have chosen their sides.
#[derive(Debug, Clone)]
pub(in crate::engine) struct SpansScan {
    pub(super) inner: Arc<dyn ExecutionPlan>,
    pub(super) readers: Readers,
    pub(super) snapshot: Snapshot,
    /// The columns of the physical schema, in order.
    pub(super) columns: Vec<usize>,
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(super) limit: Option<usize>,
}

/// The same spans read piece by piece, each source twice: with the columns asked for, and the trace ids alone.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Pieces {
    /// Which part of which file each partition of `files` is. Its rows come in the order in which they lie.
    pub keys: Vec<Piece>,
    pub files: Option<Source>,
    pub fresh: Option<Source>,
}

/// A source of spans and of their trace ids, partition by partition the same rows.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Source {
    pub rows: Arc<dyn ExecutionPlan>,
    pub ids: Arc<dyn ExecutionPlan>,
}

impl Pieces {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.files.is_none() && self.fresh.is_none()
    }
}

/// Of so many spans, one is thought to be of the kinds that a choosy scan wants.
const ONE_PASSES_OF: usize = 20;

impl SpansScan {
    /// The scan itself.
    pub fn inner(&self) -> &Arc<dyn ExecutionPlan> {
        &self.inner
    }

    /// The columns of the physical schema that it gives, in order.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// What the scan leaves out is what this does not want.
    pub fn predicate(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.predicate.as_ref()
    }

    /// Whether it reads the rows of traces that it names, by the trace index, and not much else.
    pub fn is_lookup(&self) -> bool {
        self.predicate.as_ref().and_then(wanted_traces).is_some()
    }

    /// Whether no two rows that it gives are of different traces once its predicate has been asked of each.
    pub fn is_of_one_trace(&self) -> bool {
        self.predicate.as_ref().and_then(wanted_traces).is_some_and(|traces| traces.len() <= 1)
    }

    /// Whether it wants some kinds of spans only. What such a side of a hash join finds tells the other, through the trace index, which
    /// rows to read.
    pub fn is_choosy(&self) -> bool {
        let lets_most_through = |expr: &Arc<dyn PhysicalExpr>| {
            let is_unequal = expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| *binary.op() == Operator::NotEq);
            is_unequal || expr.is::<IsNotNullExpr>()
        };
        self.predicate().is_some_and(|predicate| !split_conjunction(predicate).into_iter().all(lets_most_through))
    }

    /// Whether it may want spans of most traces in the time that it reads: of all kinds, or the spans without a parent.
    pub fn wants_most_traces(&self) -> bool {
        let is = |expr: &Arc<dyn PhysicalExpr>, name: &str| {
            expr.downcast_ref::<Column>().is_some_and(|column| column.name() == name)
        };
        let lets_most_through = |expr: &Arc<dyn PhysicalExpr>| {
            let by_time = expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
                *binary.op() == Operator::NotEq || is(binary.left(), START_NS) || is(binary.right(), START_NS)
            });
            let roots = expr.downcast_ref::<IsNullExpr>().is_some_and(|null| is(null.arg(), PARENT_SPAN_ID));
            by_time || roots || expr.is::<IsNotNullExpr>()
        };
        self.predicate().is_none_or(|predicate| split_conjunction(predicate).into_iter().all(lets_most_through))
    }

    /// Whether it gives maps or lists. Expressions over attributes are the scan's own work, which reads columns in their place.
    pub fn is_nested(&self) -> bool {
        self.schema().fields().iter().any(|field| field.data_type().is_nested())
    }

    /// Whether it may stop before it has given all rows.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether `other` reads the same snapshot.
    pub fn same_spans(&self, other: &Self) -> bool {
        let (a, b) = (&self.snapshot, &other.snapshot);
        Arc::ptr_eq(&a.files, &b.files) && Arc::ptr_eq(&a.fresh, &b.fresh)
    }

    /// The rows of files and of fresh batches that it reads, before any row is looked at.
    pub fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        let mut parts = self.inner.children();
        if parts.is_empty() {
            parts.push(&self.inner);
        }
        for part in parts {
            let known = StatisticsContext::new().compute(part.as_ref(), &StatisticsArgs::new());
            let known = known.ok().and_then(|known| known.num_rows.get_value().copied());
            match is_file_scan(part) {
                true => rows.stored += known.unwrap_or(0),
                false => rows.fresh += known.unwrap_or(0),
            }
        }
        rows
    }

    /// About how many rows start in a range of time, of those that it may read: a file's starts are taken to be spread evenly.
    pub fn rows_started_in(&self, range: &RangeInclusive<i64>) -> usize {
        let share = |file: &DataFile| {
            let Some(starts) = StartRange::of_file(file) else { return 1.0 };
            let (from, to) = (starts.least_ns.max(*range.start()), starts.most_ns.min(*range.end()));
            let length = |from: i64, to: i64| (to as f64 - from as f64 + 1.0).max(0.0);
            length(from, to) / length(starts.least_ns, starts.most_ns)
        };
        let stored: f64 = self.snapshot.files.iter().map(|file| file.rows as f64 * share(file)).sum();
        self.rows().fresh + stored as usize
    }

    /// The spans that `predicate` may want, in pieces, with other columns.
    pub fn pieces(&self, columns: &[usize], predicate: Option<Arc<dyn PhysicalExpr>>) -> Result<Pieces> {
        let ids = [physical_schema().index_of(TRACE_ID)?];
        let partitions = self.inner.output_partitioning().partition_count();
        let fresh = |columns: &[usize]| {
            scan_fresh(&self.snapshot.fresh, Some(&columns.to_vec()), predicate.as_ref(), partitions)
        };
        let fresh = fresh(columns)?.zip(fresh(&ids)?).map(|(rows, ids)| Source { rows, ids });
        let files = scan_pieces(&self.readers, &self.snapshot, columns, &ids, predicate)?;
        let (keys, files) = files.map(|of| (of.pieces, Source { rows: of.rows, ids: of.ids })).unzip();
        Ok(Pieces { keys: keys.unwrap_or_default(), files, fresh })
    }
}

/// How many rows a scan reads from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::engine) struct Rows {
    pub stored: usize,
    pub fresh: usize,
}

fn is_file_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    use datafusion::datasource::physical_plan::FileScanConfig;
    use datafusion::datasource::source::DataSourceExec;
    plan.downcast_ref::<DataSourceExec>().is_some_and(|scan| scan.data_source().is::<FileScanConfig>())
}

impl DisplayAs for SpansScan {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpansScan: columns={:?}", self.columns)
    }
}

impl ExecutionPlan for SpansScan {
    fn name(&self) -> &str {
        "SpansScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.inner]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(inner) => Ok(Arc::new(Self { inner, ..self.as_ref().clone() })),
            None => internal_err!("a scan of spans without its scan"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// What joins choose their sides by. A filter above, which knows no more of the columns, leaves the estimate as it is.
    fn statistics_from_inputs(&self, of_inner: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let [of_inner] = of_inner else { return internal_err!("a scan of spans without its scan") };
        if !self.is_choosy() {
            return Ok(of_inner.clone());
        }
        let passed = |all: Precision<usize>| all.map(|all| all / ONE_PASSES_OF).to_inexact();
        Ok(Arc::new(Statistics {
            num_rows: passed(of_inner.num_rows),
            total_byte_size: passed(of_inner.total_byte_size),
            column_statistics: of_inner.column_statistics.clone(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.inner.execute(partition, context)
    }
}
