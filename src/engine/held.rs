//! How many rows a batch may have in a statement that holds whole rows until it has seen all of them.
//!
//! A sort that has spilled reads a batch of each run at a time, and the fewer runs it can read, the more often it writes all rows anew. What works on
//! whole traces sorts those that lie in several places. A row with its maps and lists takes kilobytes, and 8,192 of them tens of megabytes.

use datafusion::arrow::datatypes::Schema;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::traces::gives_spans_of_traces;

/// The rows of a batch with maps or lists that is sorted: rows of 5 KiB make 5 MiB.
const NESTED_BATCH_ROWS: usize = 1 << 10;

/// The rows of a batch, where they should be fewer than `usual`.
pub(super) fn fewer_rows(plan: &dyn ExecutionPlan, usual: usize) -> Option<usize> {
    (usual > NESTED_BATCH_ROWS && sorts_nested(plan)).then_some(NESTED_BATCH_ROWS)
}

fn sorts_nested(plan: &dyn ExecutionPlan) -> bool {
    let sorts = plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
    let sorts = sorts || plan.is::<SortMergeJoinExec>() || plan.name() == "TraceJoinExec";
    sorts && has_nested(&plan.schema())
        || gives_spans_of_traces(plan) && plan.children().iter().any(|child| has_nested(&child.schema()))
        || plan.children().into_iter().any(|child| sorts_nested(child.as_ref()))
}

fn has_nested(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| field.data_type().is_nested())
}
