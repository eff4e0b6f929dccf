//! Recorded rules: results that are kept as tables of the schema `reports`.
//!
//! A table is a folder of Parquet files and a manifest that names them:
//!
//! ```text
//! reports/tables/hourly_red/lock                     who writes
//! reports/tables/hourly_red/manifest.json            {"format":1,"version":7,"files":[{"name":"…","bytes":…,"rows":…},…],"runs":[…]}
//! reports/tables/hourly_red/0000000007-000.parquet   a file of version 7
//! ```
//!
//! A run writes files of the next version beside those that are there, and then puts a manifest in the place of the other, which names the run:
//! whoever dies before that has written nothing, and what lies about is removed by the next writer; whoever dies after it has ended well. Files
//! are never changed. A reader opens all files of one manifest before it reads, so that it needs none of their names later.
//!
//! The newest file has all columns of the table; older ones may lack some, which are NULL there. Rows have no order.

mod columns;
mod files;
mod folder;
mod gone;
mod held;
mod manifest;
mod merge;
mod prepare;
mod redact;
#[cfg(test)]
mod tests;

pub use folder::TablesFolder;
pub(super) use manifest::RecordedRun;
pub use prepare::keep;
pub(super) use prepare::{Prepared, prepare};
pub(super) use redact::redact;
