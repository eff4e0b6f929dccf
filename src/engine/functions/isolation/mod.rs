//! Isolation forests in SQL: `isolation_forest(key, seed, trees, x, …)` learns what rows are like, as a value that can be kept, and
//! `isolation_score(model, x, …)` says how unlike them a row is.

mod model;
mod score;
mod train;

use datafusion::arrow::array::{Array, Float64Array};

pub(super) use score::udf;
pub(super) use train::udaf;

/// The features of a row, when all are finite numbers.
fn row_of(features: &[&Float64Array], row: usize) -> Option<Vec<f64>> {
    let of_column = |column: &&Float64Array| column.is_valid(row).then(|| column.value(row)).filter(|x| x.is_finite());
    features.iter().map(of_column).collect()
}
