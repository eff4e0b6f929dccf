//! The operator: runs its input in steps over ever worse pages until nothing better can come.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ScalarValue, internal_datafusion_err};
use datafusion::datasource::physical_plan::{FileGroup, FileSource};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, collect, replace_children_if_necessary,
};
use futures::stream::{self, TryStreamExt};

use super::origin::only_file_scan;
use crate::engine::footers::{File, whole_files, with_footers};
use crate::engine::pages::{Page, access_to, pages, rows_of_row_groups};
use crate::engine::scan::{file_scan, rows_wanted_of, scan_parts};

/// Pages of the first step: a few for each core.
const FIRST_PAGES: usize = 8;
/// So few pages that the conditions leave are read in one step: a second one would cost as much again.
const FEW_PAGES: usize = 32;
/// How many times more pages each step reads than the one before: where the best pages lack rows, a few steps reach all of them.
const GROWTH: usize = 4;

/// The `fetch` best rows of `input`.
#[derive(Debug)]
pub(super) struct TopRowsExec {
    input: Arc<dyn ExecutionPlan>,
    order: LexOrdering,
    fetch: usize,
    key: Key,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What the order rests on first: an expression over the files' columns that rises with one of them, a number that is never NULL.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub expr: Arc<dyn PhysicalExpr>,
    pub column: String,
    pub largest_first: bool,
}

impl TopRowsExec {
    /// `sort` has a limit, and one scan of files below it.
    pub fn new(sort: &SortExec, fetch: usize, key: Key) -> Self {
        let properties =
            PlanProperties::clone(sort.properties()).with_partitioning(Partitioning::UnknownPartitioning(1));
        Self {
            input: sort.input().clone(),
            order: sort.expr().clone(),
            fetch,
            key,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for TopRowsExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopRowsExec: fetch={}, expr=[{}], pages by {}", self.fetch, self.order, self.key.column)
    }
}

impl ExecutionPlan for TopRowsExec {
    fn name(&self) -> &str {
        "TopRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for sort in &self.order {
            if f(&sort.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal_datafusion_err!("top rows of nothing"))?;
        Ok(Arc::new(Self {
            input,
            order: self.order.clone(),
            fetch: self.fetch,
            key: self.key.clone(),
            properties: self.properties.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        replace_children_if_necessary(self, children)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = Run {
            input: self.input.clone(),
            order: self.order.clone(),
            fetch: self.fetch,
            key: self.key.clone(),
            context,
            metrics: self.metrics.clone(),
        };
        let batches = stream::once(run.finish()).try_filter_map(|batch| async move { Ok(batch) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct Run {
    input: Arc<dyn ExecutionPlan>,
    order: LexOrdering,
    fetch: usize,
    key: Key,
    context: Arc<TaskContext>,
    metrics: ExecutionPlanMetricsSet,
}

impl Run {
    async fn finish(self) -> Result<Option<RecordBatch>> {
        let files = self.files().await?;
        let pages = self.pages_best_first(&files)?;
        let bounds = self.bounds(&pages)?;
        let steps = MetricBuilder::new(&self.metrics).counter("steps", 0);
        let read = MetricBuilder::new(&self.metrics).counter("pages_read", 0);
        let first = if pages.len() <= FEW_PAGES { FEW_PAGES } else { FIRST_PAGES };
        let (mut best, mut next, mut step) = (None, 0, first);
        loop {
            let worst = self.worst_key(best.as_ref())?;
            let end = (next + step).min(pages.len());
            let still_good =
                (next..end).take_while(|page| may_be_better(bounds[*page].as_ref(), worst.as_ref(), &self.key));
            let until = next + still_good.count();
            if until == next && next > 0 || pages.is_empty() && best.is_some() {
                return Ok(best);
            }
            steps.add(1);
            read.add(until - next);
            let input = self.step(&files, &pages[next..until], next == 0, worst)?;
            let sort =
                SortExec::new(self.order.clone(), input).with_fetch(Some(self.fetch)).with_preserve_partitioning(true);
            let found = collect(Arc::new(sort), self.context.clone()).await?;
            best = self.best_of(best, found)?;
            if until == pages.len() {
                return Ok(best);
            }
            (next, step) = (until, step.saturating_mul(GROWTH));
        }
    }

    /// The one scan of files; the rule saw it, and what was put in between since does not hide it.
    fn scan(&self) -> Result<&Arc<dyn ExecutionPlan>> {
        let scan = only_file_scan(&self.input);
        scan.ok_or_else(|| internal_datafusion_err!("the best rows of what is not one scan of files"))
    }

    async fn files(&self) -> Result<Vec<File>> {
        let Some((config, _)) = file_scan(self.scan()?.as_ref()) else { return Ok(Vec::new()) };
        with_footers(whole_files(config), config, self.context.runtime_env().as_ref()).await
    }

    /// The pages that the scan's own filter leaves; those without a bound come first.
    fn pages_best_first(&self, files: &[File]) -> Result<Vec<Page>> {
        let scan = self.scan()?;
        let mut all = Vec::new();
        for (at, File { file, metadata }) in files.iter().enumerate() {
            let access = rows_wanted_of(scan.as_ref(), file, metadata)?;
            all.extend(pages(at, metadata, &access, &self.key.column, self.key.largest_first));
        }
        match self.key.largest_first {
            true => all.sort_by_key(|page| std::cmp::Reverse(page.bound.unwrap_or(i64::MAX))),
            false => all.sort_by_key(|page| page.bound.unwrap_or(i64::MIN)),
        }
        Ok(all)
    }

    /// The key at each page's bound.
    fn bounds(&self, pages: &[Page]) -> Result<Vec<Option<ScalarValue>>> {
        let column: ArrayRef = Arc::new(pages.iter().map(|page| page.bound).collect::<Int64Array>());
        let schema = Arc::new(Schema::new(vec![Field::new(&self.key.column, DataType::Int64, true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![column])?;
        let expr = datafusion::physical_expr::utils::reassign_expr_columns(self.key.expr.clone(), &schema)?;
        let keys = expr.evaluate(&batch)?.into_array(pages.len())?;
        let bounds = pages.iter().enumerate().map(|(at, page)| match page.bound {
            Some(_) => ScalarValue::try_from_array(&keys, at).map(Some),
            None => Ok(None),
        });
        bounds.collect()
    }

    /// The key of the worst row that is still among the best; `None` while there are too few.
    fn worst_key(&self, best: Option<&RecordBatch>) -> Result<Option<ScalarValue>> {
        let Some(best) = best.filter(|best| best.num_rows() == self.fetch) else { return Ok(None) };
        let worst = best.slice(best.num_rows() - 1, 1);
        let key = self.order.first().expr.evaluate(&worst)?.into_array(1)?;
        ScalarValue::try_from_array(&key, 0).map(Some)
    }

    /// The input over these pages, and in the first step over what is not in files.
    fn step(
        &self,
        files: &[File],
        pages: &[Page],
        first: bool,
        worst: Option<ScalarValue>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut by_file: HashMap<usize, Vec<&Page>> = HashMap::new();
        pages.iter().for_each(|page| by_file.entry(page.file).or_default().push(page));
        let partitions = self.context.session_config().target_partitions().max(1);
        let mut groups = vec![Vec::new(); partitions];
        let (mut rows, mut rows_of_groups) = (vec![0; partitions], 0);
        for (at, pages) in by_file {
            let File { file, metadata } = &files[at];
            let access = access_to(metadata, pages.iter().copied());
            rows_of_groups += rows_of_row_groups(metadata, &access);
            let least = (0..partitions).min_by_key(|partition| rows[*partition]).unwrap_or(0);
            rows[least] += pages.iter().map(|page| page.rows.len()).sum::<usize>();
            groups[least].push(file.clone().with_extension(access));
        }
        groups.retain(|group| !group.is_empty());
        let groups = groups.into_iter().map(FileGroup::new).collect();
        let better = worst.map(|worst| self.better_than(worst));
        restricted(&self.input, &Step { groups, rows_of_groups, first, better })
    }

    /// What a row must be to be better than the worst; an equal key may still win by what the order looks at next.
    fn better_than(&self, worst: ScalarValue) -> Arc<dyn PhysicalExpr> {
        let op = match self.key.largest_first {
            true => Operator::GtEq,
            false => Operator::LtEq,
        };
        Arc::new(BinaryExpr::new(self.key.expr.clone(), op, Arc::new(Literal::new(worst))))
    }

    fn best_of(&self, best: Option<RecordBatch>, found: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
        let schema = self.input.schema();
        let all = concat_batches(&schema, best.iter().chain(&found))?;
        if all.num_rows() == 0 {
            return Ok(best);
        }
        let columns = self.order.iter().map(|sort| {
            let values = sort.expr.evaluate(&all)?.into_array(all.num_rows())?;
            Ok(SortColumn { values, options: Some(sort.options) })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let chosen = lexsort_to_indices(&columns, Some(self.fetch))?;
        Ok(Some(take_record_batch(&all, &chosen)?))
    }
}

/// Whether a page with this bound may hold a row that is better than the worst, or as good.
fn may_be_better(bound: Option<&ScalarValue>, worst: Option<&ScalarValue>, key: &Key) -> bool {
    let (Some(bound), Some(worst)) = (bound, worst) else { return true };
    match bound.partial_cmp(worst) {
        Some(order) if key.largest_first => order.is_ge(),
        Some(order) => order.is_le(),
        None => true,
    }
}

/// What of the input a step reads.
struct Step {
    groups: Vec<FileGroup>,
    /// The rows of all row groups that have some of these pages.
    rows_of_groups: usize,
    first: bool,
    better: Option<Arc<dyn PhysicalExpr>>,
}

fn restricted(plan: &Arc<dyn ExecutionPlan>, step: &Step) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some((_, source)) = file_scan(plan.as_ref()) {
        if step.groups.is_empty() {
            return Ok(Arc::new(EmptyExec::new(plan.schema())));
        }
        let predicate = match (source.filter(), step.better.clone()) {
            (Some(own), Some(better)) => Some(Arc::new(BinaryExpr::new(own, Operator::And, better)) as _),
            (own, better) => own.or(better),
        };
        let parts = scan_parts(plan.as_ref(), step.groups.clone(), step.rows_of_groups, predicate);
        return parts.ok_or_else(|| internal_datafusion_err!("parts of what is no scan of files"));
    }
    if plan.is::<UnionExec>() {
        let inputs = plan.children().into_iter().filter(|child| step.first || only_file_scan(child).is_some());
        let inputs = inputs.map(|input| match only_file_scan(input) {
            Some(_) => restricted(input, step),
            None => Ok(input.clone()),
        });
        return UnionExec::try_new(inputs.collect::<Result<_>>()?);
    }
    let children = plan.children().into_iter().map(|child| restricted(child, step)).collect::<Result<_>>()?;
    replace_children_if_necessary(plan.clone(), children)
}
