//! What the sorts of a statement keep of its memory for their merges.
//!
//! A sort takes it with its first batch and gives it back when it ends, so that it can merge what it spilled when nothing else is left. It has to have room
//! in the part that [`super::memory`] gives each operator, and some statements over traces have more than a hundred, most of them of few rows.

use datafusion::physical_plan::ExecutionPlan;

use super::traces::gives_spans_of_traces;

/// As DataFusion has it: a merge of two runs of wide rows.
const MOST_BYTES: usize = 10 << 20;

/// How many bytes each sort of a plan keeps: what three quarters of the statement's memory are for each partition of each operator, most of which need none;
/// or the quarter that whole traces leave them.
pub(super) fn kept_bytes(plan: &dyn ExecutionPlan, memory_bytes: usize) -> usize {
    let quarters = if holds_traces(plan) { 1 } else { 3 };
    MOST_BYTES.min(memory_bytes / 4 * quarters / operators(plan))
}

fn holds_traces(plan: &dyn ExecutionPlan) -> bool {
    gives_spans_of_traces(plan) || plan.children().into_iter().any(|child| holds_traces(child.as_ref()))
}

/// In all partitions: some make sorts that no plan shows.
fn operators(plan: &dyn ExecutionPlan) -> usize {
    let below: usize = plan.children().into_iter().map(|child| operators(child.as_ref())).sum();
    plan.properties().partitioning.partition_count().max(1) + below
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Schema;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::union::UnionExec;

    use super::*;

    #[test]
    fn each_of_many_operators_has_room_for_what_a_sort_keeps() {
        let kept = |operators: usize, mib: usize| {
            let leaf = |_| Arc::new(EmptyExec::new(Arc::new(Schema::empty()))) as Arc<dyn ExecutionPlan>;
            // The union has as many partitions as it has inputs.
            let plan = UnionExec::try_new((0..operators / 2).map(leaf).collect()).expect("a plan");
            kept_bytes(plan.as_ref(), mib << 20)
        };
        assert_eq!(kept(4, 384), 10 << 20, "few keep as much as there is use for");
        assert_eq!(kept(4, 16), 3 << 20);
        assert_eq!(kept(96, 384), 3 << 20);
    }
}
