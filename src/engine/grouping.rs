//! Grouping sets in little memory: rows reach an aggregate of many sets few at a time.
//!
//! An aggregate takes each row of a batch once for each set before it asks the memory pool for what its groups have grown by: 8,192 rows
//! of a CUBE of twelve are 33 million groups.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use futures::{StreamExt, TryStreamExt, stream};

use super::stop::Stop;
use super::tap::{Tap, TapExec, TappedRows};

/// The most rows times sets of a step: new groups of some hundred bytes each are tens of megabytes then.
const MAX_GROUPED_ROWS: usize = 64 << 10;

/// The plan with the input of its grouping sets cut into pieces; between two of them the statement can stop.
pub(super) fn in_pieces(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let sets = plan.downcast_ref::<AggregateExec>().map_or(1, |aggregate| aggregate.group_expr().groups().len());
        match plan.children().first() {
            Some(input) if sets > 1 => {
                let rows = (MAX_GROUPED_ROWS / sets).max(1);
                let pieces = TapExec::above(Arc::clone(input), Pieces { rows, stop: stop.clone() });
                let input = Arc::new(CooperativeExec::new(pieces)) as Arc<dyn ExecutionPlan>;
                let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
                plan.replace_children(vec![input], keep).map(Transformed::yes)
            }
            _ => Ok(Transformed::no(plan)),
        }
    })
    .data()
}

/// Passes rows on in pieces of at most so many.
#[derive(Debug)]
struct Pieces {
    rows: usize,
    stop: Stop,
}

impl Tap for Pieces {
    fn name(&self) -> &'static str {
        "Pieces"
    }

    fn detail(&self) -> Option<String> {
        Some(format!("rows={}", self.rows))
    }

    fn pass(&self, rows: SendableRecordBatchStream, _context: &TaskContext) -> TappedRows {
        let (most_rows, stop) = (self.rows, self.stop.clone());
        let cut = move |batch: RecordBatch| {
            let stop = stop.clone();
            let pieces = (0..batch.num_rows()).step_by(most_rows).map(move |start| {
                stop.check()?;
                Ok(batch.slice(start, most_rows.min(batch.num_rows() - start)))
            });
            stream::iter(pieces)
        };
        rows.map_ok(cut).try_flatten().boxed()
    }
}
