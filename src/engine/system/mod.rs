//! The tables behind the schema `system`: what the statement's snapshot says of the store, and what the listeners count.
//!
//! Reads no file. The views of `schema/system` give the columns their types and names.

mod figures;
mod files;
mod ingest;
mod promoted;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use super::computed::Computed;
use super::scan::PinnedSnapshot;
use crate::store::Snapshot;

pub(super) use ingest::Counted;
pub use ingest::IngestCount;

/// The tables, by name.
pub(super) fn tables(counted: &Arc<Counted>) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    let counted = counted.clone();
    vec![
        ("files", of_snapshot(files::schema(), files::rows)),
        ("promoted", of_snapshot(promoted::schema(), promoted::rows)),
        ("figures", of_snapshot(figures::schema(), figures::rows)),
        ("ingest", Computed::table(ingest::schema(), move |schema, _| ingest::rows(schema, &counted))),
    ]
}

/// Rows that follow from the statement's snapshot.
fn of_snapshot(schema: SchemaRef, rows: fn(SchemaRef, &Snapshot) -> Result<RecordBatch>) -> Arc<dyn TableProvider> {
    Computed::table(schema, move |schema, session| {
        let pinned = session.config().get_extension::<PinnedSnapshot>();
        let pinned = pinned
            .ok_or_else(|| internal_datafusion_err!("a scan of the store's figures without a pinned snapshot"))?;
        rows(schema.clone(), &pinned.0)
    })
}
