//! Counts and averages, several for each group: rows that follow one another are of one group more often than not, and what all of them add to
//! is not ready for the next before the addition for the last has ended. Neighbours take turns instead.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

/// As many additions of doubles as a processor has on their way for two rows at least.
const LANES: usize = 4;

/// What an aggregate has been given of each group, as far as that was without NULL and without a filter.
pub(super) struct Lanes {
    groups: Vec<[Lane; LANES]>,
    is_average: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    sum: f64,
    count: u64,
}

impl Lanes {
    /// For a count or an average of doubles; `None` for other aggregates.
    pub fn of(aggregate: &AggregateFunctionExpr, arguments: &[DataType]) -> Option<Self> {
        let is_average = match (aggregate.fun().name(), arguments) {
            ("count", [_]) => false,
            ("avg", [DataType::Float64]) => true,
            _ => return None,
        };
        let is_plain = !aggregate.is_distinct() && aggregate.order_bys().is_empty();
        is_plain.then_some(Self { groups: Vec::new(), is_average })
    }

    /// Takes in rows, if no value is NULL.
    pub fn add(&mut self, values: &ArrayRef, groups: &[usize], total: usize) -> bool {
        let doubles = values.as_primitive_opt::<Float64Type>().filter(|_| self.is_average);
        if values.logical_null_count() > 0 || self.is_average && doubles.is_none() {
            return false;
        }
        self.groups.resize(total, Default::default());
        match doubles {
            None => self.count(groups),
            Some(doubles) => self.average(doubles.values(), groups),
        }
        true
    }

    fn count(&mut self, groups: &[usize]) {
        let (turns, rest) = groups.as_chunks::<LANES>();
        for groups in turns {
            for (lane, group) in groups.iter().enumerate() {
                self.groups[*group][lane].count += 1;
            }
        }
        for group in rest {
            self.groups[*group][0].count += 1;
        }
    }

    fn average(&mut self, values: &[f64], groups: &[usize]) {
        let ((turns, rest), (values, rest_of_values)) = (groups.as_chunks::<LANES>(), values.as_chunks::<LANES>());
        for (groups, values) in turns.iter().zip(values) {
            for (lane, (group, value)) in groups.iter().zip(values).enumerate() {
                self.groups[*group][lane].add(*value);
            }
        }
        for (group, value) in rest.iter().zip(rest_of_values) {
            self.groups[*group][0].add(*value);
        }
    }

    /// Hands over to the accumulator of the aggregate, as another one's state.
    pub fn give_to(self, accumulator: &mut dyn GroupsAccumulator, total: usize) -> Result<()> {
        let met = |lanes: &[Lane; LANES]| lanes.iter().map(|lane| lane.count).sum::<u64>();
        let groups = || self.groups.iter().enumerate().filter(|(_, lanes)| met(lanes) > 0);
        let places: Vec<usize> = groups().map(|(group, _)| group).collect();
        let counts = groups().map(|(_, lanes)| met(lanes));
        let state: Vec<ArrayRef> = match self.is_average {
            false => vec![Arc::new(counts.map(|count| count as i64).collect::<Int64Array>())],
            true => {
                let sums = groups().map(|(_, lanes)| lanes.iter().map(|lane| lane.sum).sum::<f64>());
                vec![Arc::new(counts.collect::<UInt64Array>()), Arc::new(sums.collect::<Float64Array>())]
            }
        };
        accumulator.merge_batch(&state, &places, total)
    }

    pub fn heap_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<[Lane; LANES]>()
    }
}

impl Lane {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringViewArray;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::functions_aggregate::average::avg_udaf;
    use datafusion::functions_aggregate::count::count_udaf;
    use datafusion::functions_aggregate::sum::sum_udaf;
    use datafusion::logical_expr::{AggregateUDF, EmitTo};
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::col;

    use super::*;

    fn aggregate(function: Arc<AggregateUDF>, column: &str) -> AggregateFunctionExpr {
        let fields = vec![Field::new("x", DataType::Float64, true), Field::new("t", DataType::Utf8View, true)];
        let schema = Arc::new(Schema::new(fields));
        let argument = col(column, &schema).expect("a column");
        AggregateExprBuilder::new(function, vec![argument]).schema(schema).alias("a").build().expect("an aggregate")
    }

    /// The states after batches of growing numbers of groups, some with NULL, with lanes and without.
    fn states(aggregate: &AggregateFunctionExpr, batches: &[(ArrayRef, Vec<usize>)], in_lanes: bool) -> Vec<ArrayRef> {
        let mut accumulator = aggregate.create_groups_accumulator().expect("an accumulator");
        let mut lanes = Lanes::of(aggregate, &[batches[0].0.data_type().clone()]).filter(|_| in_lanes);
        let mut total = 0;
        for (values, groups) in batches {
            total = groups.iter().fold(total, |most, group| most.max(group + 1));
            if !lanes.as_mut().is_some_and(|lanes| lanes.add(values, groups, total)) {
                accumulator.update_batch(std::slice::from_ref(values), groups, None, total).expect("added");
            }
        }
        if let Some(lanes) = lanes {
            lanes.give_to(accumulator.as_mut(), total).expect("given");
        }
        accumulator.state(EmitTo::All).expect("a state")
    }

    #[test]
    fn lanes_give_the_states_that_adding_row_by_row_gives() {
        let batches = |value: &dyn Fn(usize) -> ArrayRef| -> Vec<(ArrayRef, Vec<usize>)> {
            let groups = |rows: usize, of: usize| (0..rows).map(|row| row / 3 * row % of).collect::<Vec<_>>();
            [(1, 1), (1_001, 2), (4, 3), (502, 40), (3, 7), (0, 1), (999, 41)]
                .map(|(rows, of)| (value(rows), groups(rows, of)))
                .to_vec()
        };
        // Whole numbers, whose sums are exact in any order; every fifth batch has NULLs.
        let is_there = |rows: usize, row: usize| rows != 502 || row % 4 != 1;
        let doubles = |rows: usize| -> ArrayRef {
            let values = (0..rows).map(|row| is_there(rows, row).then_some((row * 37 % 1_009) as f64 - 300.0));
            Arc::new(values.collect::<Float64Array>())
        };
        let texts = |rows: usize| -> ArrayRef {
            Arc::new((0..rows).map(|row| is_there(rows, row).then_some("a")).collect::<StringViewArray>())
        };
        for (function, column, batches) in [
            (avg_udaf(), "x", batches(&doubles)),
            (count_udaf(), "x", batches(&doubles)),
            (count_udaf(), "t", batches(&texts)),
        ] {
            let aggregate = aggregate(function, column);
            assert_eq!(states(&aggregate, &batches, true), states(&aggregate, &batches, false), "{aggregate:?}");
        }
    }

    #[test]
    fn only_counts_and_averages_of_doubles_have_lanes() {
        let has = |function, column, of| Lanes::of(&aggregate(function, column), &[of]).is_some();
        assert!(has(count_udaf(), "t", DataType::Utf8View));
        assert!(has(avg_udaf(), "x", DataType::Float64));
        assert!(!has(sum_udaf(), "x", DataType::Float64));
    }
}
