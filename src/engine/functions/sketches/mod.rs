//! Quantiles within a relative error, and the sketches they come from as values that can be kept and merged.

mod compared;
mod encoding;
mod quantile;
mod read;
mod sketch;

pub(super) use quantile::udafs;
pub(in crate::engine) use quantile::{is_quantile, quantiles_udaf};
pub(super) use sketch::{Sketch, by_number, nearest_rank};

/// The scalar functions of sketches.
pub(super) fn udfs() -> Vec<datafusion::logical_expr::ScalarUDF> {
    read::udfs().into_iter().chain(compared::udfs()).collect()
}
