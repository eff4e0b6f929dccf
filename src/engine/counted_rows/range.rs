//! A range of whole numbers that a filter lets through.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The only column that `predicate` is on, and the values that it lets through, if comparisons with numbers are all that it is.
pub(in crate::engine) fn range_of(predicate: &Arc<dyn PhysicalExpr>) -> Option<(Column, RangeInclusive<i64>)> {
    let mut of_column: Option<Column> = None;
    let (mut least, mut most) = (i64::MIN, i64::MAX);
    for term in split_conjunction(predicate) {
        let term = term.downcast_ref::<BinaryExpr>()?;
        let column = term.left().downcast_ref::<Column>()?;
        let ScalarValue::Int64(Some(value)) = *term.right().downcast_ref::<Literal>()?.value() else { return None };
        match term.op() {
            Operator::GtEq => least = least.max(value),
            Operator::Gt => least = least.max(value.checked_add(1)?),
            Operator::LtEq => most = most.min(value),
            Operator::Lt => most = most.min(value.checked_sub(1)?),
            Operator::Eq => (least, most) = (least.max(value), most.min(value)),
            _ => return None,
        }
        if of_column.get_or_insert_with(|| column.clone()) != column {
            return None;
        }
    }
    Some((of_column?, least..=most))
}

/// How the values of some rows lie to a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lies {
    Inside,
    Outside,
    /// Some may be inside and some outside.
    Across,
}

/// How values between these bounds, where both are known, lie to `range`.
pub(super) fn lies(range: &RangeInclusive<i64>, least: Option<i64>, most: Option<i64>) -> Lies {
    match (least, most) {
        (Some(least), _) if least > *range.end() => Lies::Outside,
        (_, Some(most)) if most < *range.start() => Lies::Outside,
        (Some(least), Some(most)) if range.contains(&least) && range.contains(&most) => Lies::Inside,
        _ => Lies::Across,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::{binary, lit};

    use super::*;

    #[test]
    fn comparisons_with_numbers_are_a_range() {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("m", DataType::Int64, false)]);
        let is = |name: &str, op, value: i64| {
            let column = Column::new_with_schema(name, &schema).expect("a column");
            binary(Arc::new(column), op, lit(value), &schema).expect("a comparison")
        };
        let and = |left, right| binary(left, Operator::And, right, &schema).expect("a conjunction");
        let range = |predicate| range_of(&predicate).map(|(column, range)| (column.name().to_string(), range));
        let found = |range| Some(("n".to_string(), range));
        assert_eq!(range(and(is("n", Operator::GtEq, 3), is("n", Operator::Lt, 9))), found(3..=8));
        assert_eq!(range(and(is("n", Operator::Gt, 3), is("n", Operator::LtEq, 9))), found(4..=9));
        assert_eq!(range(is("n", Operator::Eq, 3)), found(3..=3));
        assert_eq!(range(and(is("n", Operator::Gt, 9), is("n", Operator::Lt, 3))), found(RangeInclusive::new(10, 2)));
        assert_eq!(range(is("n", Operator::Gt, i64::MAX)), None);
        assert_eq!(range(is("n", Operator::NotEq, 3)), None);
        assert_eq!(range(and(is("n", Operator::Gt, 3), is("m", Operator::Lt, 9))), None);
    }

    #[test]
    fn bounds_lie_inside_outside_or_across() {
        for (least, most, expected) in [
            (Some(3), Some(8), Lies::Inside),
            (Some(2), Some(8), Lies::Across),
            (Some(3), Some(9), Lies::Across),
            (Some(9), Some(20), Lies::Outside),
            (Some(-4), Some(2), Lies::Outside),
            (Some(9), None, Lies::Outside),
            (None, Some(2), Lies::Outside),
            (None, Some(5), Lies::Across),
            (Some(5), None, Lies::Across),
            (None, None, Lies::Across),
        ] {
            assert_eq!(lies(&(3..=8), least, most), expected, "{least:?} to {most:?}");
        }
        // A range that ends before it begins has nothing.
        assert_eq!(lies(&RangeInclusive::new(10, 2), Some(3), Some(8)), Lies::Outside);
    }
}
