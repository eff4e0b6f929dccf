//! Arrow values as PostgreSQL values: types and their OIDs, the text form, the binary form, CSV and JSON.
//!
//! Columns are looked at once a batch ([`Values`]); cells are then written straight into a buffer. Knows nothing of protocols and sessions.

mod arrays;
mod binary;
mod csv;
mod json;
mod numbers;
mod text;
mod times;
mod types;
mod values;

pub(crate) use arrays::array_elements;
pub(crate) use binary::{put_binary, put_sized};
pub(crate) use csv::{CsvStyle, put_csv};
pub(crate) use json::{JsonStyle, put_json, put_json_in};
#[cfg(test)]
pub(crate) use numbers::put_numeric_binary;
pub(crate) use text::{ALL_SECOND_DIGITS, TextStyle, put_text};
pub(crate) use times::{DAY_SECONDS, POSTGRES_EPOCH_DAYS};
pub(crate) use types::{PgType, arrow_of_oid, json_text_field, oid_of_name};
pub(crate) use values::{Values, days_and_time};
