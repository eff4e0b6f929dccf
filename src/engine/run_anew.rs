//! Joins without an equality that run one side twice.
//!
//! Where DataFusion's nested loop join finds no memory for its left side, it runs that side once more and puts it on disk. Operators keep what they
//! have given, and one that is run twice gives less the second time, or panics. So the left side stands below an operator that makes it anew; where
//! it cannot be, or the join's rows would be wrong after it, the statement ends for want of memory.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, resources_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

use super::tap::{Tap, TapExec};

/// The plan with the sides that its joins may run twice made anew the second time.
pub(super) fn with_sides_anew(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(plan)) };
        let may_be = is_right_after(join) && can_be_anew(join.left());
        let left = TapExec::above(join.left().clone(), Anew { may_be });
        let right = join.right().clone();
        replace_children_if_necessary(plan, vec![left, right]).map(Transformed::yes)
    })
    .data()
}

/// Whether the join's rows are right once its left side is on disk: each partition of the right side then looks at that side for itself, and would
/// give those of its rows again of which it is to be said once whether any row on the right fits.
fn is_right_after(join: &NestedLoopJoinExec) -> bool {
    use JoinType::{Inner, Right, RightAnti, RightMark, RightSemi};
    matches!(join.join_type(), Inner | Right | RightAnti | RightMark | RightSemi)
        || join.right().output_partitioning().partition_count() == 1
}

/// Whether a plan gives the same rows when it is made anew. Scans know by then what the best rows or the least value were, and leave these out; of a
/// hash join they know its keys, which are the same.
fn can_be_anew(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_plain = plan.is::<HashJoinExec>() || plan.dynamic_expressions_produced().is_empty();
    is_plain && !plan.is::<RecursiveQueryExec>() && plan.children().into_iter().all(can_be_anew)
}

/// The left side of a join, as it was planned each time that it is run.
#[derive(Debug)]
struct Anew {
    may_be: bool,
}

impl Tap for Anew {
    fn name(&self) -> &'static str {
        "AnewExec"
    }

    fn run(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
        is_again: bool,
    ) -> Result<SendableRecordBatchStream> {
        match is_again {
            false => input.execute(partition, context),
            true if self.may_be => reset_plan_states(input.clone())?.execute(partition, context),
            true => resources_err!("a side of a join finds no memory, and cannot be run again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::engine::memory::{shared_pool, statement_env};

    async fn planned(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
        let rows = context.sql(sql).await.expect("planned");
        with_sides_anew(rows.create_physical_plan().await.expect("a plan")).expect("a plan")
    }

    /// For a statement that may hold so much, as statements are run.
    fn with_memory(bytes: usize) -> SessionContext {
        let shared = RuntimeEnvBuilder::new().with_memory_pool(shared_pool(1 << 30)).build().expect("an environment");
        let env = statement_env(&shared, bytes, shared.disk_manager.clone());
        let config = SessionConfig::new().with_target_partitions(2).with_batch_size(1024);
        SessionContext::new_with_config_rt(config, env)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_side_that_is_run_twice_gives_its_rows_twice() {
        // Its left side is a cross join, which hands rows out to partitions.
        let sql = "SELECT count(*) AS n FROM generate_series(1, 400) AS a(x), generate_series(1, 400) AS b(y), generate_series(1, 20) AS c(z)
            WHERE x + y + z < 5";
        for (bytes, spills) in [(64 << 20, false), (1_500 << 10, true)] {
            let context = with_memory(bytes);
            let plan = planned(&context, sql).await;
            let batches = collect(plan.clone(), context.task_ctx()).await.expect("rows");
            let shown = datafusion::arrow::util::pretty::pretty_format_batches(&batches).expect("shown").to_string();
            // (1, 1, 1), (1, 1, 2), (1, 2, 1) and (2, 1, 1).
            assert!(shown.contains("| 4 "), "{shown}");
            let shown = datafusion::physical_plan::display::DisplayableExecutionPlan::with_metrics(plan.as_ref());
            let shown = shown.indent(false).to_string();
            assert!(shown.contains("AnewExec"), "{shown}");
            assert_eq!(shown.contains("spill_count=1") || shown.contains("spill_count=2"), spills, "{shown}");
        }
    }

    #[tokio::test]
    async fn what_scans_know_the_best_rows_of_is_not_made_anew() {
        let context = with_memory(64 << 20);
        let many = "SELECT x, y FROM generate_series(1, 30) AS a(x) CROSS JOIN generate_series(1, 30) AS b(y)";
        for (rest, may_be_anew) in
            [("", true), (" WHERE x < y", true), (" ORDER BY x, y", true), (" ORDER BY x, y LIMIT 80", false)]
        {
            let plan = planned(&context, &format!("{many}{rest}")).await;
            assert_eq!(can_be_anew(&plan), may_be_anew, "{rest}");
        }
    }
}
