//! Leaving out what cannot hold a row that the predicate wants.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt64Array};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::statistics::StartRange;
use crate::model::schema::{START_NS, physical_schema};
use crate::store::DataFile;

/// Which of the files may hold rows that the predicate wants, as far as the table's log tells.
pub(in crate::engine) fn files_that_may_match(files: &[DataFile], predicate: &Arc<dyn PhysicalExpr>) -> Vec<bool> {
    prune(Some(predicate), files.len(), |file| StartRange::of_file(&files[file]))
}

/// Which of `count` files or batches may hold rows that the predicate wants, by when their spans start. `start_of` is asked only by a predicate
/// that has something to say of that.
pub(super) fn prune(
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    count: usize,
    start_of: impl Fn(usize) -> Option<StartRange>,
) -> Vec<bool> {
    let all = vec![true; count];
    let Some(predicate) = predicate.filter(|_| count > 0).and_then(of_start) else { return all };
    let pruning = PruningPredicateBuilder::new().with_file_schema(physical_schema()).build(predicate);
    let starts = Starts { count, start_of, known: OnceCell::new() };
    pruning.and_then(|pruning| pruning.prune(&starts).ok()).unwrap_or(all)
}

/// The conditions that a range of starts, or none at all, can decide.
fn of_start(predicate: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let decides = |condition: &&Arc<dyn PhysicalExpr>| {
        let columns = collect_columns(condition);
        columns.is_empty() || columns.iter().any(|column| column.name() == START_NS)
    };
    let conditions: Vec<_> = split_conjunction(predicate).into_iter().filter(decides).cloned().collect();
    (!conditions.is_empty()).then(|| conjunction(conditions))
}

/// The starts of all files or batches, a row each: the only column of which something is known.
struct Starts<F> {
    count: usize,
    start_of: F,
    known: OnceCell<Known>,
}

struct Known {
    least: ArrayRef,
    most: ArrayRef,
}

impl<F: Fn(usize) -> Option<StartRange>> Starts<F> {
    fn of(&self, column: &Column) -> Option<&Known> {
        (column.name() == START_NS).then(|| {
            self.known.get_or_init(|| {
                let ranges = || (0..self.count).map(&self.start_of);
                let least: Int64Array = ranges().map(|range| Some(range?.least_ns)).collect();
                let most: Int64Array = ranges().map(|range| Some(range?.most_ns)).collect();
                Known { least: Arc::new(least), most: Arc::new(most) }
            })
        })
    }
}

impl<F: Fn(usize) -> Option<StartRange>> PruningStatistics for Starts<F> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column).map(|known| known.least.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column).map(|known| known.most.clone())
    }

    fn num_containers(&self) -> usize {
        self.count
    }

    /// Each span has a start.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        (column.name() == START_NS).then(|| Arc::new(UInt64Array::from(vec![0; self.count])) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
