//! Rows of traces that nobody wants, told by a look at each trace once.
//!
//! What a join learns while the statement runs is a condition on the trace id. The rows of a trace lie together, some dozens in a row: where each
//! begins is worked out once for a row group and kept with its columns, and the condition is put to as many ids as there are runs.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, RunArray, UInt32Array,
};
use datafusion::arrow::buffer::{BooleanBuffer, MutableBuffer};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Int32Type, Schema};
use datafusion::arrow::util::bit_util;
use datafusion::common::Result;
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::metrics::MetricBuilder;

use super::cache::{ColumnKey, Values};
use super::file::HotFile;
use crate::engine::trace_runs::run_starts;
use crate::model::schema::{TRACE_ID, TRACE_ID_TYPE};

/// A run has as many rows at least, on average: where traces are shorter, a look at each is no less work than a look at each row.
const LEAST_ROWS: usize = 2;

impl HotFile {
    /// Which rows of a row group are of traces that may be wanted, as far as is known by now; `None` when nothing is.
    pub(super) async fn of_wanted_traces(&self, row_group: usize) -> Result<Option<BooleanBuffer>> {
        let is_trace = |at: &usize| &*self.columns.names[*at] == TRACE_ID && self.columns.forms[*at] == Values::Rows;
        let Some(at) = (0..self.columns.names.len()).find(is_trace) else { return Ok(None) };
        let alone = Arc::new(self.columns.schema.project(&[at])?);
        let conditions = self.on_traces(&alone)?;
        if conditions.is_empty() || *alone.field(0).data_type() != TRACE_ID_TYPE {
            return Ok(None);
        }
        let Some(runs) = self.runs(row_group, at).await? else { return Ok(None) };
        let Some(runs) = runs.as_run_opt::<Int32Type>() else { return Ok(None) };
        let ids = RecordBatch::try_new(alone, vec![runs.values().clone()])?;
        let wanted = all_hold(&conditions, &ids);
        let Some(rows) = wanted.map(|wanted| rows_of_runs(&wanted, runs.run_ends().values())) else { return Ok(None) };
        let left_out = MetricBuilder::new(&self.scan.metrics).counter("rows_of_other_traces", self.scan.partition);
        left_out.add(rows.len() - rows.count_set_bits());
        Ok(Some(rows))
    }

    /// The conditions on the trace id alone, as they are now, over the schema of that column.
    fn on_traces(&self, alone: &Arc<Schema>) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        let is_on_trace = |term: &&Arc<dyn PhysicalExpr>| {
            let columns = collect_columns(term);
            columns.len() == 1 && columns.iter().all(|column| column.name() == TRACE_ID) && !is_volatile(term)
        };
        let mut all = Vec::new();
        for term in self.predicate.iter().flat_map(split_conjunction).filter(is_on_trace) {
            let now = match term.downcast_ref::<DynamicFilterPhysicalExpr>() {
                Some(learnt) => learnt.current()?,
                None => term.clone(),
            };
            if is_on_trace(&&now) {
                all.push(reassign_expr_columns(now, alone)?);
            }
        }
        Ok(all)
    }

    /// The runs of the scan's column `at` of trace ids, out of memory where they are; `None` where most rows are runs of their own.
    async fn runs(&self, row_group: usize, at: usize) -> Result<Option<ArrayRef>> {
        let cache = &self.scan.cache;
        let of_rows = self.key(row_group, at);
        let key = ColumnKey { of: Values::Runs, ..of_rows.clone() };
        if let Some(known) = cache.get(&key) {
            return Ok(Some(known));
        }
        let ids = match cache.get(&of_rows) {
            Some(ids) => ids,
            None => {
                let Some(ids) = self.decode(row_group, &[at]).await?.pop() else { return Ok(None) };
                cache.insert(of_rows, ids.clone());
                ids
            }
        };
        let runs = runs_of(&ids)?;
        if let Some(runs) = &runs {
            cache.insert(key, runs.clone());
        }
        Ok(runs)
    }
}

/// A column of trace ids as runs.
fn runs_of(ids: &ArrayRef) -> Result<Option<ArrayRef>> {
    let Some(each) = ids.as_fixed_size_binary_opt().filter(|ids| ids.null_count() == 0) else { return Ok(None) };
    let starts = run_starts(each);
    if starts.is_empty() || starts.len() * LEAST_ROWS > ids.len() {
        return Ok(None);
    }
    let ends = starts.iter().skip(1).map(|start| *start as i32).chain([ids.len() as i32]);
    let ends = Int32Array::from_iter_values(ends);
    let ids = take(ids, &UInt32Array::from(starts), None)?;
    Ok(Some(Arc::new(RunArray::<Int32Type>::try_new(&ends, &ids)?)))
}

/// For each row whether all conditions are true of it; `None` when they leave nothing out. What fails on a value fails on the rows that have it, if
/// another condition does not leave them out.
fn all_hold(conditions: &[Arc<dyn PhysicalExpr>], ids: &RecordBatch) -> Option<BooleanBuffer> {
    let holds = |condition: &Arc<dyn PhysicalExpr>| {
        let holds = condition.evaluate(ids).and_then(|holds| holds.into_array(ids.num_rows())).ok()?;
        holds.as_boolean_opt().map(are_true)
    };
    let all = conditions.iter().filter_map(holds).reduce(|all, more| &all & &more)?;
    (all.count_set_bits() < all.len()).then_some(all)
}

fn are_true(holds: &BooleanArray) -> BooleanBuffer {
    match holds.nulls() {
        None => holds.values().clone(),
        Some(nulls) => holds.values() & nulls.inner(),
    }
}

/// The rows of the runs that are set, where each run ends at its place in `ends`.
fn rows_of_runs(set: &BooleanBuffer, ends: &[i32]) -> BooleanBuffer {
    let rows = ends.last().map_or(0, |end| *end as usize);
    let mut bits = MutableBuffer::from_len_zeroed(rows.div_ceil(8));
    for run in set.set_indices() {
        let start = if run == 0 { 0 } else { ends[run - 1] };
        (start..ends[run]).for_each(|row| bit_util::set_bit(bits.as_slice_mut(), row as usize));
    }
    BooleanBuffer::new(bits.into(), 0, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::FixedSizeBinaryArray;
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{Column, binary, is_null, lit};

    fn ids(traces: &[u8]) -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter(traces.iter().map(|trace| [*trace; 16])).expect("ids"))
    }

    #[test]
    fn rows_are_those_of_the_runs_that_are_set() {
        // Of each way in which some of these runs may be set; runs begin and end within bytes and across them.
        let traces: Vec<u8> =
            [(1, 3), (2, 5), (1, 1), (3, 9), (4, 2)].iter().flat_map(|(trace, rows)| vec![*trace; *rows]).collect();
        let runs = runs_of(&ids(&traces)).expect("told").expect("runs");
        let runs = runs.as_run::<Int32Type>();
        assert_eq!(runs.run_ends().values(), [3, 8, 9, 18, 20]);
        for mask in 0_u8..32 {
            let set = BooleanBuffer::collect_bool(5, |run| mask >> run & 1 == 1);
            let rows = rows_of_runs(&set, runs.run_ends().values());
            let expected: Vec<bool> =
                [3, 5, 1, 9, 2].iter().enumerate().flat_map(|(run, rows)| vec![mask >> run & 1 == 1; *rows]).collect();
            assert_eq!(rows.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn where_most_traces_have_one_row_there_are_no_runs() {
        assert!(runs_of(&ids(&[1, 2, 3, 3])).expect("told").is_none());
        assert!(runs_of(&ids(&[1, 1, 2, 2])).expect("told").is_some());
        assert!(runs_of(&ids(&[1]).slice(0, 0)).expect("told").is_none());
    }

    #[test]
    fn a_condition_that_is_null_does_not_hold() {
        let schema = Schema::new(vec![Field::new(TRACE_ID, DataType::FixedSizeBinary(16), true)]);
        let column = || Arc::new(Column::new(TRACE_ID, 0)) as Arc<dyn PhysicalExpr>;
        let id = |id: Option<u8>| lit(ScalarValue::FixedSizeBinary(16, id.map(|id| vec![id; 16])));
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![ids(&[1, 2, 3])]).expect("a batch");
        let is = |id| binary(column(), Operator::Eq, id, &schema).expect("a condition");
        let rows = |conditions: &[Arc<dyn PhysicalExpr>]| {
            all_hold(conditions, &batch).map(|rows| rows.iter().collect::<Vec<_>>())
        };
        assert_eq!(rows(&[is(id(Some(2)))]), Some(vec![false, true, false]));
        assert_eq!(rows(&[is(id(Some(2))), is(id(Some(3)))]), Some(vec![false, false, false]));
        assert_eq!(rows(&[is(id(None))]), Some(vec![false, false, false]));
        let any = datafusion::physical_expr::expressions::not(is_null(column()).expect("a condition"));
        assert_eq!(rows(&[any.expect("a condition")]), None);
    }
}
