//! The tables behind the schema `system`: what the statement's snapshot says of the store, what the listeners count, and what reports did.
//!
//! Reads no file. The views of `schema/system` give the columns their types and names.

mod audit;
mod engine;
mod figures;
mod files;
mod ingest;
mod promoted;
mod reports;
mod sizes;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};

use super::catalog::SIZES;
use super::computed::Computed;
use super::rights::{Sight, for_admins};
use super::scan::PinnedSnapshot;
use crate::store::Snapshot;

use audit::AuditFolder;
use engine::Loaded;
use ingest::Counted;
pub use ingest::IngestCount;
use reports::Told;
pub use reports::{ReportAlert, ReportRun, ReportTeller};

/// What the engine asks others, once they are there.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub counted: Counted,
    pub told: Told,
    pub loaded: Loaded,
    pub audit: AuditFolder,
}

/// The tables, by name.
pub(super) fn tables(sources: &Arc<Sources>) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    let [counted, runs, alerts, loaded, audited] = [(); 5].map(|()| sources.clone());
    vec![
        ("files", of_snapshot(files::schema(), files::rows)),
        ("promoted", of_snapshot(promoted::schema(), promoted::rows)),
        ("figures", of_snapshot(figures::schema(), figures::rows)),
        (
            "audit",
            Computed::table(audit::schema(), move |schema, session| {
                for_admins(session, "system.audit").map_err(|error| DataFusionError::External(Box::new(error)))?;
                audit::rows(schema, &audited.audit)
            }),
        ),
        (
            SIZES,
            Computed::table(sizes::schema(), |schema, session| {
                let pinned = pinned(session)?;
                sizes::row(schema, Sight::of(session).is_none().then_some(&pinned.0))
            }),
        ),
        ("engine", Computed::table(figures::schema(), move |schema, _| engine::rows(schema, &loaded.loaded))),
        ("ingest", Computed::table(ingest::schema(), move |schema, _| ingest::rows(schema, &counted.counted))),
        ("report_runs", Computed::table(reports::runs_schema(), move |schema, _| reports::runs(schema, &runs.told))),
        (
            "report_alerts",
            Computed::table(reports::alerts_schema(), move |schema, _| reports::alerts(schema, &alerts.told)),
        ),
    ]
}

/// Rows that follow from the statement's snapshot.
fn of_snapshot(schema: SchemaRef, rows: fn(SchemaRef, &Snapshot) -> Result<RecordBatch>) -> Arc<dyn TableProvider> {
    Computed::table(schema, move |schema, session| rows(schema.clone(), &pinned(session)?.0))
}

fn pinned(session: &dyn Session) -> Result<Arc<PinnedSnapshot>> {
    let pinned = session.config().get_extension::<PinnedSnapshot>();
    pinned.ok_or_else(|| internal_datafusion_err!("a scan of the store's figures without a pinned snapshot"))
}
