//! Row groups that have no value that the predicate wants, told by dictionaries.
//!
//! A condition on one column is put to the column's dictionary: when it holds for no value there, it holds for no row. This finds what
//! smallest and largest values cannot leave out: a rare value of an attribute, a pattern, a cast.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;

use super::cache::{ColumnKey, Values};
use super::distinct::is_told;
use super::file::{HotFile, Scan};

/// The largest dictionary that is read for this, in compressed bytes: larger ones have so many values that most conditions hold for some.
const MOST_BYTES: i64 = 32 * 1024;

/// One condition of a predicate, on one column of a file or on none.
pub(super) struct Term {
    pub expr: Arc<dyn PhysicalExpr>,
    /// The column's place in the file, and the schema of it alone.
    column: Option<(usize, Arc<Schema>)>,
}

impl Term {
    #[cfg(test)]
    pub fn of_column(expr: Arc<dyn PhysicalExpr>, root: usize, alone: Arc<Schema>) -> Self {
        Self { expr, column: Some((root, alone)) }
    }

    /// The column's place in the file.
    pub fn column(&self) -> Option<usize> {
        self.column.as_ref().map(|(root, _)| *root)
    }

    /// The schema that the expression is over: that of the column alone.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.column.as_ref().map(|(_, alone)| alone)
    }
}

impl Scan {
    /// Whether the predicate has conditions on columns that may have dictionaries.
    pub(super) fn may_be_told(&self) -> bool {
        let is_text_or_map = |name: &str| {
            let field = self.file_schema.field_with_name(name);
            field.is_ok_and(|field| field.data_type().is_nested() || *field.data_type() == DataType::Utf8View)
        };
        let terms = self.predicate.iter().flat_map(|predicate| split_conjunction(predicate));
        terms
            .filter(|term| is_steady(term))
            .any(|term| collect_columns(term).iter().any(|column| is_text_or_map(column.name())))
    }
}

/// Whether a condition means the same throughout the statement.
fn is_steady(term: &Arc<dyn PhysicalExpr>) -> bool {
    !DynamicFilterTracking::classify(term).contains_dynamic_filter() && !is_volatile(term)
}

impl HotFile {
    /// Leaves out the row groups of which dictionaries tell that the predicate wants nothing; whether there were any.
    pub(super) async fn prune_by_dictionaries(&mut self) -> Result<bool> {
        let terms = self.terms()?;
        let mut kept = Vec::new();
        let before = self.groups.len();
        for group in std::mem::take(&mut self.groups) {
            if self.may_want(&terms, group.index).await? {
                kept.push(group);
            }
        }
        self.groups = kept;
        Ok(self.groups.len() < before)
    }

    /// The conditions that mean the same throughout the statement, each on one column that is neither map nor list.
    pub(super) fn terms(&self) -> Result<Vec<Term>> {
        let schema = self.parquet.schema();
        let mut terms = Vec::new();
        for term in self.predicate.iter().flat_map(split_conjunction).filter(|term| is_steady(term)) {
            let mut roots: Vec<usize> = collect_columns(term).iter().map(|column| column.index()).collect();
            roots.dedup();
            let column = match roots.as_slice() {
                [] => None,
                [root] if !schema.field(*root).data_type().is_nested() => {
                    Some((*root, Arc::new(schema.project(&[*root])?)))
                }
                _ => continue,
            };
            let expr = match &column {
                Some((_, alone)) => reassign_expr_columns(term.clone(), alone)?,
                None => term.clone(),
            };
            terms.push(Term { expr, column });
        }
        Ok(terms)
    }

    async fn may_want(&self, terms: &[Term], row_group: usize) -> Result<bool> {
        for term in terms {
            let values = match &term.column {
                None => RecordBatch::try_new_with_options(
                    Arc::new(Schema::empty()),
                    Vec::new(),
                    &RecordBatchOptions::new().with_row_count(Some(1)),
                )?,
                Some((root, alone)) => match self.told_values(row_group, *root).await? {
                    Some(values) => RecordBatch::try_new(alone.clone(), vec![values])?,
                    None => continue,
                },
            };
            // What fails on a value fails on the row that has it, if another condition does not leave that out.
            let Ok(holds) = term.expr.evaluate(&values).and_then(|holds| holds.into_array(values.num_rows())) else {
                continue;
            };
            if holds.as_boolean_opt().is_some_and(|holds| holds.true_count() == 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a dictionary, and a small one, has all values of a column of a row group.
    pub(super) fn has_small_dictionary(&self, row_group: usize, root: usize) -> bool {
        let Some(leaf) = self.leaf(root) else { return false };
        let chunk = self.row_group(row_group).column(leaf);
        let is_small =
            chunk.dictionary_page_offset().is_none_or(|start| chunk.data_page_offset() - start <= MOST_BYTES);
        is_small && is_told(chunk)
    }

    /// Each value of a column of a row group, if a small dictionary tells.
    async fn told_values(&self, row_group: usize, root: usize) -> Result<Option<ArrayRef>> {
        let Some(leaf) = self.leaf(root).filter(|_| self.has_small_dictionary(row_group, root)) else {
            return Ok(None);
        };
        let chunk = self.row_group(row_group).column(leaf);
        let field = self.parquet.schema().field(root);
        let key = ColumnKey {
            file: self.name.clone(),
            row_group,
            column: field.name().as_str().into(),
            of: Values::Distinct,
        };
        self.scan.distinct_values(&self.file, key, chunk, field.data_type()).await
    }
}
