//! What the sorts of a statement keep of its memory for their merges.
//!
//! A sort takes it with its first batch and gives it back when it ends, so that it can merge what it spilled when nothing else is left. There is one in
//! each partition, and some statements over traces have dozens, most of them of few rows: together they may not take what the statement needs for its work.

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;

/// As DataFusion has it: a merge of two runs of wide rows.
const MOST_BYTES: usize = 10 << 20;

/// How many bytes each sort of a plan keeps: a thirty-second of the statement's memory, and all of them together no more than half of it.
pub(super) fn kept_bytes(plan: &dyn ExecutionPlan, memory_bytes: usize) -> usize {
    MOST_BYTES.min(memory_bytes / 2 / sorts(plan).max(16))
}

/// Those of all partitions that may spill; one with a limit holds its best rows only.
fn sorts(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.downcast_ref::<SortExec>().filter(|sort| sort.fetch().is_none());
    own.map_or(0, |sort| sort.properties().partitioning.partition_count())
        + plan.children().into_iter().map(|child| sorts(child.as_ref())).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::PhysicalSortExpr;
    use datafusion::physical_expr::expressions::col;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::union::UnionExec;

    use super::*;

    #[test]
    fn many_sorts_keep_half_of_the_memory_together() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let sorted = |partitions: usize, fetch: Option<usize>| {
            let rows = Arc::new(EmptyExec::new(schema.clone()).with_partitions(partitions));
            let by = PhysicalSortExpr::new_default(col("n", &schema).expect("a column"));
            let sort = SortExec::new([by].into(), rows).with_preserve_partitioning(true).with_fetch(fetch);
            Arc::new(sort) as Arc<dyn ExecutionPlan>
        };
        let kept = |plan: &Arc<dyn ExecutionPlan>, mib: usize| kept_bytes(plan.as_ref(), mib << 20);
        assert_eq!(kept(&sorted(2, None), 384), 10 << 20, "few keep as much as there is use for");
        assert_eq!(kept(&sorted(2, None), 64), 2 << 20);
        let many = UnionExec::try_new((0..32).map(|_| sorted(2, None)).collect()).expect("a plan");
        assert_eq!(kept(&many, 384), 3 << 20);
        let best = UnionExec::try_new((0..32).map(|_| sorted(2, Some(20))).collect()).expect("a plan");
        assert_eq!(kept(&best, 384), 10 << 20, "what has a limit keeps nothing for merges");
    }
}
