//! Comparisons of an attribute as a double, where a file has whole numbers only, as comparisons of whole numbers.
//!
//! A double is what an attribute becomes beside a number, since its values may be fractions. Of whole numbers those that are less than a
//! double lie below those that equal it once they are doubles, and these below those that are more: two bounds say all that a comparison
//! does, and the column's own values are compared with them, by which the least and the most of a page tell as well.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, lit};

type Expr = Arc<dyn PhysicalExpr>;

/// `column op number` for a column of whole numbers that are read as doubles; NULL where the column is. `None` where `op` is no comparison.
pub(super) fn compared(column: &Expr, op: Operator, number: f64) -> Option<Expr> {
    let bounds = Bounds::of(number);
    let Bounds { not_less, more } = bounds;
    Some(match op {
        Operator::Lt => below(column, not_less),
        Operator::GtEq => from(column, not_less),
        Operator::LtEq => below(column, more),
        Operator::Gt => from(column, more),
        Operator::Eq => match bounds.only_equal() {
            Some(equal) => binary(column, Operator::Eq, equal),
            None => Arc::new(BinaryExpr::new(from(column, not_less), Operator::And, below(column, more))),
        },
        Operator::NotEq => match bounds.only_equal() {
            Some(equal) => binary(column, Operator::NotEq, equal),
            None => Arc::new(BinaryExpr::new(below(column, not_less), Operator::Or, from(column, more))),
        },
        _ => return None,
    })
}

/// The whole numbers that a list of doubles has once they are doubles, as long as each double is that of one whole number at most. A list is
/// looked through by bits: −0 is none of theirs.
pub(super) fn equal_to(numbers: impl Iterator<Item = f64>) -> Option<Vec<i64>> {
    let numbers = numbers.filter(|number| number.to_bits() != (-0.0_f64).to_bits());
    let equal = numbers.map(Bounds::of).filter(|bounds| bounds.not_less != bounds.more);
    equal.map(|bounds| bounds.only_equal()).collect()
}

/// Where whole numbers stand beside a double.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    /// The first that is not less; `None` when all are less.
    not_less: Option<i64>,
    /// The first that is more.
    more: Option<i64>,
}

impl Bounds {
    /// Doubles are compared as statements compare them: −0 equals 0, and NaN is beyond all others.
    fn of(number: f64) -> Self {
        let compare = |whole: i64| (whole as f64).total_cmp(&(number + 0.0));
        Self {
            not_less: first(|whole| compare(whole) != Ordering::Less),
            more: first(|whole| compare(whole) == Ordering::Greater),
        }
    }

    /// The only whole number that equals the double.
    fn only_equal(self) -> Option<i64> {
        self.not_less.filter(|equal| equal.checked_add(1).is_some_and(|next| self.more == Some(next)))
    }
}

/// The first whole number that `is_reached` is true of, which is true of all after it.
fn first(is_reached: impl Fn(i64) -> bool) -> Option<i64> {
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    if !is_reached(high) {
        return None;
    }
    while low < high {
        let middle = low + (high.abs_diff(low) / 2) as i64;
        match is_reached(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Some(low)
}

/// Those less than `bound`, or all that are not NULL.
fn below(column: &Expr, bound: Option<i64>) -> Expr {
    match bound {
        Some(bound) => binary(column, Operator::Lt, bound),
        None => binary(column, Operator::LtEq, i64::MAX),
    }
}

/// Those from `bound` on, or none.
fn from(column: &Expr, bound: Option<i64>) -> Expr {
    match bound {
        Some(bound) => binary(column, Operator::GtEq, bound),
        None => binary(column, Operator::Lt, i64::MIN),
    }
}

fn binary(column: &Expr, op: Operator, number: i64) -> Expr {
    Arc::new(BinaryExpr::new(column.clone(), op, lit(number)))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray};
    use datafusion::arrow::datatypes::DataType;
    use datafusion::physical_expr::expressions::{Column, TryCastExpr};
    use proptest::prelude::*;

    use super::*;

    const OPS: [Operator; 6] =
        [Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq, Operator::Eq, Operator::NotEq];
    const TWO_TO_53: i64 = 1 << 53;

    /// What the texts of the numbers give as doubles, with DataFusion's own reading and comparison.
    fn by_text(values: &[Option<i64>], op: Operator, number: f64) -> BooleanArray {
        let texts: StringViewArray = values.iter().map(|value| value.map(|value| value.to_string())).collect();
        let text: Expr = Arc::new(TryCastExpr::new(Arc::new(Column::new("n", 0)), DataType::Float64));
        answer(Arc::new(BinaryExpr::new(text, op, lit(number))), Arc::new(texts))
    }

    fn by_bounds(values: &[Option<i64>], op: Operator, number: f64) -> BooleanArray {
        let column: Expr = Arc::new(Column::new("n", 0));
        answer(compared(&column, op, number).expect("a comparison"), Arc::new(Int64Array::from(values.to_vec())))
    }

    fn answer(expr: Expr, column: ArrayRef) -> BooleanArray {
        let rows = RecordBatch::try_from_iter_with_nullable([("n", column, true)]).expect("rows");
        let value = expr.evaluate(&rows).and_then(|value| value.into_array(rows.num_rows())).expect("an answer");
        value.as_boolean().clone()
    }

    fn awkward_numbers() -> Vec<f64> {
        let wholes = awkward_values().into_iter().flatten().map(|value| value as f64);
        let near = wholes.flat_map(|value| [value, value.next_up(), value.next_down(), value + 0.5, -value - 0.5]);
        let others = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE];
        near.chain(others).chain([-0.0, 5e-324, -5e-324, 1e18, 9.3e18]).collect()
    }

    fn awkward_values() -> Vec<Option<i64>> {
        let ends = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, i64::MAX - 512, i64::MAX - 513, i64::MIN + 1025];
        let around = [0, 500, -500, TWO_TO_53, -TWO_TO_53, 1 << 62].into_iter().flat_map(|n| n - 3..=n + 3);
        ends.into_iter().chain(around).map(Some).chain([None]).collect()
    }

    #[test]
    fn whole_numbers_fulfil_a_comparison_when_their_texts_do() {
        let values = awkward_values();
        for number in awkward_numbers() {
            for op in OPS {
                assert_eq!(by_bounds(&values, op, number), by_text(&values, op, number), "{op} {number:?}");
            }
        }
    }

    #[test]
    fn a_list_is_the_whole_numbers_that_equal_one_of_it() {
        assert_eq!(equal_to([500.0, 0.5, f64::NAN, 503.0, f64::INFINITY].into_iter()), Some(vec![500, 503]));
        assert_eq!(equal_to([-0.0, -7.0].into_iter()), Some(vec![-7]));
        assert_eq!(equal_to([0.0].into_iter()), Some(vec![0]));
        // Two whole numbers become this double.
        assert_eq!(equal_to([1.0, TWO_TO_53 as f64].into_iter()), None);
        assert_eq!(equal_to([i64::MAX as f64].into_iter()), None);
    }

    #[test]
    fn what_is_no_comparison_stays() {
        let column: Expr = Arc::new(Column::new("n", 0));
        assert!(compared(&column, Operator::IsDistinctFrom, 1.0).is_none());
        assert!(compared(&column, Operator::Plus, 1.0).is_none());
    }

    proptest! {
        #[test]
        fn any_whole_numbers_fulfil_any_comparison_when_their_texts_do(
            values in prop::collection::vec(prop::option::of(any::<i64>()), 1..40),
            bits in any::<u64>(),
            at in 0_usize..40,
        ) {
            let near = values[at % values.len()].unwrap_or(0) as f64;
            for number in [f64::from_bits(bits), near, near.next_up(), near.next_down()] {
                for op in OPS {
                    prop_assert_eq!(by_bounds(&values, op, number), by_text(&values, op, number), "{} {:?}", op, number);
                }
            }
        }
    }
}
