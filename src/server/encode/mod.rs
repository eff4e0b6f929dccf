//! Arrow values as PostgreSQL values: types and their OIDs, the text form, the binary form, and COPY's forms over them.
//!
//! Columns are looked at once a batch ([`values::Values`]); cells are then written straight into the output buffer.

mod binary;
mod json;
mod numbers;
mod row;
mod text;
mod times;

mod values;

pub(crate) use crate::engine::{PgType, arrow_of_oid, oid_of_name};
#[cfg(test)]
pub(crate) use numbers::put_numeric_binary;
pub(crate) use row::{BatchEncoder, Column, Format};
pub(crate) use text::TextStyle;
pub(crate) use times::{DAY_SECONDS, POSTGRES_EPOCH_DAYS};
