//! Quantiles within a relative error, and the sketches they come from as values that can be kept and merged.

mod encoding;
mod quantile;
mod read;
mod sketch;

pub(super) use quantile::udafs;
pub(in crate::engine) use quantile::{is_quantile, quantiles_udaf};
pub(super) use read::udfs;
pub(super) use sketch::{by_number, nearest_rank};
