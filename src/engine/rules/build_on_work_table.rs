//! In a recursive query, an inner join builds its hash table on the rows of the last round and streams the other side past it.
//!
//! Each round runs the join anew. DataFusion knows no size of the working table, so as written it may build on a whole table again
//! in every round, only to probe it with a few rows.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;

/// The rule. It has to come after DataFusion's choice of sides and before partitions are arranged.
#[derive(Debug)]
pub(in crate::engine) struct BuildOnWorkTable;

impl PhysicalOptimizerRule for BuildOnWorkTable {
    fn name(&self) -> &str {
        "build_on_work_table"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let swapped = match plan.downcast_ref::<HashJoinExec>() {
                Some(join) if is_to_swap(join) => Some(join.swap_inputs(PartitionMode::CollectLeft)?),
                _ => None,
            };
            Ok(swapped.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .data()
    }
}

fn is_to_swap(join: &HashJoinExec) -> bool {
    *join.join_type() == JoinType::Inner && reads_work_table(join.right()) && !reads_work_table(join.left())
}

/// Whether the last round's rows come in here. A recursive query inside has a working table of its own.
fn reads_work_table(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<WorkTableExec>()
        || (!plan.is::<RecursiveQueryExec>() && plan.children().into_iter().any(reads_work_table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    fn joins(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Arc<dyn ExecutionPlan>>) {
        if plan.is::<HashJoinExec>() {
            found.push(plan.clone());
        }
        plan.children().into_iter().for_each(|child| joins(child, found));
    }

    #[tokio::test]
    async fn the_working_table_is_built_on_whichever_side_it_is_written() {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_physical_optimizer_rules(crate::engine::shared::physical_optimizer_rules())
            .build();
        let context = SessionContext::new_with_state(state);
        let table = "CREATE TABLE s AS SELECT * FROM (VALUES (1, NULL), (2, 1), (3, 1), (4, 2)) AS v (id, parent)";
        context.sql(table).await.expect("planned").collect().await.expect("made");
        for from in ["s JOIN t ON s.parent = t.id", "t JOIN s ON s.parent = t.id"] {
            let sql = format!(
                "WITH RECURSIVE t AS (SELECT id, 0 AS depth FROM s WHERE parent IS NULL UNION ALL SELECT s.id, t.depth + 1 FROM {from})
                 SELECT * FROM t"
            );
            let rows = context.sql(&sql).await.expect("planned");
            let plan = rows.clone().create_physical_plan().await.expect("a plan");
            let mut found = Vec::new();
            joins(&plan, &mut found);
            let [join] = found.as_slice() else { panic!("one join, not {found:?}") };
            let join = join.downcast_ref::<HashJoinExec>().expect("a join");
            assert!(reads_work_table(join.left()) && !reads_work_table(join.right()), "{from}");
            assert_eq!(rows.count().await.expect("counted"), 4, "{from}");
        }
    }
}
