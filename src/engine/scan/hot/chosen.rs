//! Rows that a predicate does not want, told by codes and numbers: a condition on a column of text is put to each value once, and a row is
//! looked up by its code.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, new_null_array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, Schema, UInt16Type};
use datafusion::common::Result;

use super::file::HotFile;
use super::told::Term;

impl HotFile {
    /// Which rows of a row group the conditions may want, as far as codes and numbers tell; `None` when they tell nothing.
    pub(super) async fn chosen(&self, terms: &[Term], row_group: usize) -> Result<Option<BooleanBuffer>> {
        let mut chosen: Option<BooleanBuffer> = None;
        for term in terms {
            let rows = match self.rows_by_code(term, row_group).await? {
                Some(rows) => rows,
                None => match self.rows_by_number(term, row_group).await? {
                    Some(rows) => rows,
                    None => continue,
                },
            };
            chosen = Some(match chosen {
                Some(chosen) => &chosen & &rows,
                None => rows,
            });
        }
        Ok(chosen)
    }

    /// Which rows of a row group a condition on text wants; `None` when it is none, when it wants all, or when the column has no codes.
    async fn rows_by_code(&self, term: &Term, row_group: usize) -> Result<Option<BooleanBuffer>> {
        let Some(codes) = self.codes_of(term, row_group).await? else { return Ok(None) };
        let Some(codes) = codes.as_dictionary_opt::<UInt16Type>() else { return Ok(None) };
        let wanted = wanted_values(term, codes)?;
        Ok(wanted.map(|wanted| rows_with(&wanted, codes)))
    }

    /// The codes of the column that a condition is on, if the scan takes it and it has a small dictionary.
    async fn codes_of(&self, term: &Term, row_group: usize) -> Result<Option<ArrayRef>> {
        let is_text = term.schema().is_some_and(|alone| *alone.field(0).data_type() == DataType::Utf8View);
        let root = term.column().filter(|_| is_text);
        let at = root.and_then(|root| self.columns.roots.iter().position(|taken| *taken == root));
        match at.filter(|at| self.has_small_dictionary(row_group, self.columns.roots[*at])) {
            Some(at) => self.codes_at(row_group, at).await,
            None => Ok(None),
        }
    }
}

/// For each value of a dictionary, and last for NULL, whether the condition holds; `None` when that leaves nothing out, or fails.
fn wanted_values(term: &Term, codes: &DictionaryArray<UInt16Type>) -> Result<Option<Vec<bool>>> {
    let Some(schema) = term.schema() else { return Ok(None) };
    let data_type = schema.field(0).data_type();
    let values = concat(&[&cast(codes.values(), data_type)?, &new_null_array(data_type, 1)])?;
    // A column without NULLs is asked about one as well.
    let schema = Schema::new(vec![schema.field(0).clone().with_nullable(true)]);
    let values = RecordBatch::try_new(Arc::new(schema), vec![values])?;
    // What fails on a value fails on the row that has it, if another condition does not leave that out.
    let Ok(holds) = term.expr.evaluate(&values).and_then(|holds| holds.into_array(values.num_rows())) else {
        return Ok(None);
    };
    let Some(holds) = holds.as_boolean_opt() else { return Ok(None) };
    let wanted: Vec<bool> = holds.iter().map(|holds| holds == Some(true)).collect();
    let of_values = &wanted[..codes.values().len()];
    let leaves_out = of_values.contains(&false) || codes.null_count() > 0 && wanted.last() == Some(&false);
    Ok(leaves_out.then_some(wanted))
}

fn rows_with(wanted: &[bool], codes: &DictionaryArray<UInt16Type>) -> BooleanBuffer {
    let places = codes.keys().values();
    let (of_null, of_values) = wanted.split_last().unwrap_or((&false, &[]));
    let mut wanted = (0_u16..).zip(of_values).filter(|(_, wanted)| **wanted).map(|(place, _)| place);
    let rows = match (wanted.next(), wanted.next()) {
        // Most conditions want one value, and comparing numbers is quicker than looking them up.
        (Some(only), None) => BooleanBuffer::collect_bool(places.len(), |row| places[row] == only),
        // The place of a NULL may be any.
        _ => BooleanBuffer::collect_bool(places.len(), |row| of_values.get(usize::from(places[row])) == Some(&true)),
    };
    match codes.nulls() {
        None => rows,
        Some(nulls) if *of_null => &rows | &!nulls.inner(),
        Some(nulls) => &rows & nulls.inner(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::Field;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{Column, binary, is_null, lit};

    #[test]
    fn rows_are_chosen_by_their_values_and_null_as_the_condition_has_it() {
        let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8View, true)]));
        let name = || Arc::new(Column::new("name", 0)) as Arc<dyn PhysicalExpr>;
        let text = |text: &str| cast_text(lit(text));
        let is = |op, value: &str| binary(name(), op, text(value), &schema).expect("a condition");
        let or_null = |expr| binary(expr, Operator::Or, is_null(name()).expect("a condition"), &schema);
        let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "of no row"]));
        let codes = |places: Vec<Option<u16>>| DictionaryArray::<UInt16Type>::new(places.into(), values.clone());
        let with_null = codes(vec![Some(0), None, Some(1), Some(0)]);
        let without = codes(vec![Some(0), Some(1)]);
        let chosen = |expr: Arc<dyn PhysicalExpr>, codes: &DictionaryArray<UInt16Type>| {
            let term = Term::of_column(expr, 0, schema.clone());
            let wanted = wanted_values(&term, codes).expect("told");
            wanted.map(|wanted| rows_with(&wanted, codes).iter().collect::<Vec<bool>>())
        };
        assert_eq!(chosen(is(Operator::Eq, "a"), &with_null), Some(vec![true, false, false, true]));
        assert_eq!(chosen(is(Operator::NotEq, "a"), &with_null), Some(vec![false, false, true, false]));
        assert_eq!(chosen(is(Operator::Eq, "a"), &without), Some(vec![true, false]));
        let a_or_null = or_null(is(Operator::Eq, "a")).expect("a condition");
        assert_eq!(chosen(a_or_null, &with_null), Some(vec![true, true, false, true]));
        // Leaves out NULL alone, or nothing.
        assert_eq!(chosen(is(Operator::NotEq, "c"), &with_null), Some(vec![true, false, true, true]));
        assert_eq!(chosen(is(Operator::NotEq, "c"), &without), None);
    }

    #[test]
    fn a_column_that_is_never_null_is_told_as_well() {
        let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8View, false)]));
        let name = Arc::new(Column::new("name", 0)) as Arc<dyn PhysicalExpr>;
        let is_a = binary(name, Operator::Eq, cast_text(lit("a")), &schema).expect("a condition");
        let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let codes = DictionaryArray::<UInt16Type>::new(vec![1, 0, 1].into(), values);
        let wanted = wanted_values(&Term::of_column(is_a, 0, schema), &codes).expect("told");
        assert_eq!(wanted, Some(vec![true, false, false]));
    }

    fn cast_text(expr: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(datafusion::physical_expr::expressions::CastExpr::new(expr, DataType::Utf8View, None))
    }
}
