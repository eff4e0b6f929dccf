//! The table: which traces are read, and how they are brought together.
//!
//! | a statement wants | plan |
//! |---|---|
//! | no column of the tree | the scan of spans itself, of the traces with spans in a small part of time where these are chosen |
//! | traces that it names | the trace index finds their rows, which are sorted by trace where it is more than one |
//! | traces with spans in a small part of time | a semi join with the ids of these traces, likewise sorted |
//! | anything else | whole traces as they lie in files |

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, JoinType, NullEquality, internal_err};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::engine::counted_rows::range_of;
use crate::engine::functions::conditions_on_traces;
use crate::engine::scan::{SpansScan, SpansTable};
use crate::engine::traces::{Given, Local, TraceTree, TreeColumn, WholeTracesExec, any_scan_below};
use crate::model::schema::{DURATION_NS, START_NS, TRACE_ID, physical_schema};

/// Where less than one in so many spans is in a range of time, its traces are looked for. What is found is sorted, while all traces stream by as they lie.
const FEW: usize = 8;

/// All spans with all columns of their trees.
#[derive(Debug, Default)]
pub(in crate::engine) struct SpanTreeTable {
    /// Which spans there are, where some have expired: a condition on the columns of spans.
    pub seen: Option<Expr>,
}

/// What a filter says of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Which traces are wanted.
    Trace,
    /// When a span of it must be.
    Time,
    /// Nothing: other spans of the trace need not be as it says.
    Nothing,
}

fn says(filter: &Expr) -> Says {
    let columns = filter.column_refs();
    let only = |names: &[&str]| !columns.is_empty() && columns.iter().all(|column| names.contains(&column.name()));
    match filter.is_volatile() {
        false if only(&[TRACE_ID]) => Says::Trace,
        false if only(&[START_NS, DURATION_NS]) && columns.iter().any(|column| column.name() == START_NS) => Says::Time,
        _ => Says::Nothing,
    }
}

#[async_trait]
impl TableProvider for SpanTreeTable {
    fn schema(&self) -> SchemaRef {
        static SCHEMA: std::sync::LazyLock<SchemaRef> = std::sync::LazyLock::new(|| {
            let made = TreeColumn::ALL.iter().map(|column| Arc::new(column.field()));
            Arc::new(Schema::new(physical_schema().fields().iter().cloned().chain(made).collect::<Vec<_>>()))
        });
        SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// What chooses no traces is not given to the scan, which would be asked for columns of it.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = |filter: &&Expr| match says(filter) {
            _ if conditions_on_traces(filter).is_some() => TableProviderFilterPushDown::Exact,
            Says::Nothing if !is_of_spans(filter) => TableProviderFilterPushDown::Unsupported,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(pushed).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (on_traces, filters): (Vec<&Expr>, Vec<&Expr>) =
            filters.iter().partition(|filter| conditions_on_traces(filter).is_some());
        let filters: Vec<Expr> = filters.into_iter().cloned().collect();
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema().fields().len()).collect());
        if !Self::makes_trees(&wanted) {
            let on_traces: Vec<Expr> =
                on_traces.into_iter().filter_map(conditions_on_traces).flatten().cloned().collect();
            let scan = self.plain(state, &wanted, &filters, limit).await?;
            return self.of_times(state, scan, on_traces, limit).await;
        }
        let wanted = Wanted::of(&wanted)?;
        let conditions = filters.iter().chain(on_traces.into_iter().filter_map(conditions_on_traces).flatten());
        let conditions: Vec<&Expr> = conditions.collect();
        let chosen = |wanted: Says| conditions.iter().copied().filter(move |it| says(it) == wanted).cloned();
        let traces: Vec<Expr> = chosen(Says::Trace).collect();
        let scan = self.spans(state, &wanted.read, &traces).await?;
        let times: Vec<Expr> = chosen(Says::Time).collect();
        let Some(found) = any_scan_below(&scan) else {
            // Who does not see all spans is not told how traces lie.
            return match conjunction(times) {
                Some(times) => wanted.over_any(of_traces(self.in_time(state, times).await?, scan)?, false),
                None => wanted.over_any(scan, false),
            };
        };
        if found.is_lookup() {
            let is_of_one = found.is_of_one_trace();
            return wanted.over_any(scan, is_of_one);
        }
        match conjunction(times) {
            Some(times) if is_small(state, &times, found)? => {
                let traces = self.in_time(state, times).await?;
                wanted.over_any(of_traces(traces, scan)?, false)
            }
            _ => wanted.over_whole(&scan, found, state.config().target_partitions()),
        }
    }
}

/// Whether few of the spans that `scan` reads start in the range of time that `times` is.
fn is_small(state: &dyn Session, times: &Expr, scan: &SpansScan) -> Result<bool> {
    let times = state.create_physical_expr(times.clone(), &DFSchema::try_from(physical_schema())?)?;
    let range = range_of(&times).filter(|(column, _)| column.name() == START_NS);
    let all = scan.rows();
    Ok(range.is_some_and(|(_, range)| scan.rows_started_in(&range) * FEW <= all.stored + all.fresh))
}

/// Whether a filter reads columns of spans only.
fn is_of_spans(filter: &Expr) -> bool {
    let schema = physical_schema();
    filter.column_refs().iter().all(|column| schema.index_of(column.name()).is_ok())
}

impl SpanTreeTable {
    /// Whether one of the columns is of trees.
    pub(in crate::engine) fn makes_trees(columns: &[usize]) -> bool {
        let of_spans = physical_schema().fields().len();
        columns.iter().any(|column| *column >= of_spans)
    }

    /// The spans that are seen, of the traces that `traces` let through, with the columns `read`.
    async fn spans(&self, state: &dyn Session, read: &[usize], filters: &[Expr]) -> Result<Arc<dyn ExecutionPlan>> {
        let filters: Vec<Expr> = filters.iter().chain(&self.seen).cloned().collect();
        let scan = SpansTable.scan(state, Some(&read.to_vec()), &filters, None).await?;
        let Some(filter) = conjunction(filters) else { return Ok(scan) };
        let predicate = state.create_physical_expr(filter, &DFSchema::try_from(scan.schema())?)?;
        Ok(Arc::new(FilterExec::try_new(predicate, scan)?))
    }

    /// The columns `wanted` of spans, when nothing of a tree is.
    async fn plain(
        &self,
        state: &dyn Session,
        wanted: &Vec<usize>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.seen.is_none() {
            return SpansTable.scan(state, Some(wanted), filters, limit).await;
        }
        let read = with(wanted.iter().copied(), &[TRACE_ID, START_NS])?;
        let seen = self.spans(state, &read, &[]).await?;
        projected(seen, &names(wanted))
    }

    /// The spans that `scan` gives of the traces that `on_traces` let through, where it can be told that these are few; else all of them.
    async fn of_times(
        &self,
        state: &dyn Session,
        scan: Arc<dyn ExecutionPlan>,
        on_traces: Vec<Expr>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let times = conjunction(on_traces.into_iter().filter(|condition| says(condition) == Says::Time));
        let Some((times, found)) = times.zip(any_scan_below(&scan)) else { return Ok(scan) };
        let is_known = limit.is_none() && !found.is_lookup() && scan.schema().index_of(TRACE_ID).is_ok();
        match is_known && is_small(state, &times, found)? {
            true => of_traces(self.in_time(state, times).await?, scan),
            false => Ok(scan),
        }
    }

    /// The ids of the traces of the spans that `times` let through, each as often as there are such spans.
    async fn in_time(&self, state: &dyn Session, times: Expr) -> Result<Arc<dyn ExecutionPlan>> {
        let read = with([], &[TRACE_ID, START_NS, DURATION_NS])?;
        projected(self.spans(state, &read, &[times]).await?, &[TRACE_ID])
    }
}

/// What is read and given.
struct Wanted {
    /// The columns of spans to read, in order.
    read: Vec<usize>,
    given: Vec<Given>,
}

impl Wanted {
    fn of(wanted: &[usize]) -> Result<Self> {
        let of_spans = physical_schema().fields().len();
        let made: Vec<TreeColumn> =
            wanted.iter().filter_map(|column| TreeColumn::ALL.get(column.checked_sub(of_spans)?).copied()).collect();
        let made_of: Vec<&str> = made.iter().flat_map(|column| column.made_of()).collect();
        let read = with(wanted.iter().copied().filter(|column| *column < of_spans), &made_of)?;
        let given = |column: &usize| match column.checked_sub(of_spans).and_then(|made| TreeColumn::ALL.get(made)) {
            Some(made) => Some(Given::Made(*made)),
            None => read.iter().position(|read| read == column).map(Given::Span),
        };
        let given = wanted.iter().filter_map(given).collect();
        Ok(Self { read, given })
    }

    /// Trees of the spans that `plan` gives in any order, which may be known to be of one trace.
    fn over_any(self, plan: Arc<dyn ExecutionPlan>, is_of_one: bool) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = plan.schema();
        let all = (0..schema.fields().len()).collect();
        let Some(spans) = Local::above(&plan, &|plan| Some((Vec::clone(&all), plan.schema()))) else {
            return internal_err!("trees of no spans");
        };
        Ok(Arc::new(TraceTree::new(spans, &schema, self.given).over_any(plan, is_of_one)?))
    }

    /// Trees of whole traces, as they lie, with what `plan` does with its scan.
    fn over_whole(
        self,
        plan: &Arc<dyn ExecutionPlan>,
        scan: &SpansScan,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = plan.schema();
        let Some(spans) = Local::new(plan, scan.columns()) else { return internal_err!("trees of no scan") };
        let tree = TraceTree::new(spans, &schema, self.given);
        let pieces = scan.pieces(scan.columns(), scan.predicate().cloned())?;
        if pieces.is_empty() {
            return Ok(Arc::new(EmptyExec::new(tree.schema)));
        }
        Ok(Arc::new(tree.over(WholeTracesExec::try_new(pieces, partitions)?)))
    }
}

/// These columns of spans and those called `names`, in order.
fn with(columns: impl IntoIterator<Item = usize>, names: &[&str]) -> Result<Vec<usize>> {
    let schema = physical_schema();
    let named = names.iter().map(|name| Ok(schema.index_of(name)?)).collect::<Result<Vec<usize>>>()?;
    let mut all: Vec<usize> = columns.into_iter().chain(named).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The names of columns of spans.
fn names(columns: &[usize]) -> Vec<String> {
    columns.iter().map(|column| physical_schema().field(*column).name().clone()).collect()
}

/// The columns `names` of a plan.
fn projected(plan: Arc<dyn ExecutionPlan>, names: &[impl AsRef<str>]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let column = |name: &str| -> Result<ProjectionExpr> {
        let expr = Arc::new(Column::new_with_schema(name, &schema)?);
        Ok(ProjectionExpr { expr, alias: name.to_string() })
    };
    let exprs = names.iter().map(|name| column(name.as_ref())).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
}

/// The rows of `spans` whose trace is among those of `ids`.
fn of_traces(ids: Arc<dyn ExecutionPlan>, spans: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let key = |plan: &Arc<dyn ExecutionPlan>| -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Column::new_with_schema(TRACE_ID, &plan.schema())?))
    };
    let on = vec![(key(&ids)?, key(&spans)?)];
    let (mode, nulls) = (PartitionMode::Auto, NullEquality::NullEqualsNothing);
    Ok(Arc::new(HashJoinExec::try_new(ids, spans, on, None, &JoinType::RightSemi, None, mode, nulls, false)?))
}
