//! The catalogue: the views of `schema/` under `traces` and `system`, the tables that reports keep, and those that they are made from, which are not listed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;

use super::recorded::{Recorded, RecordedSchema};
use super::scan::SpansTable;
use super::span_tree::SpanTreeTable;
use super::system::{self, Sources};

/// The schema on the search path.
pub(super) const TRACES: &str = "traces";
/// The schema of what the store says of itself.
pub(super) const SYSTEM: &str = "system";
/// The schema of the tables that reports keep.
pub(super) const REPORTS: &str = "reports";
/// The schema of physical tables and of what views and functions are made of: reachable for these, listed nowhere.
pub(super) const INTERNAL: &str = "internal";
/// The tables of [`INTERNAL`] whose rows are spans.
pub(super) const SPANS: &str = "spans";
pub(super) const SPAN_TREE: &str = "span_tree";
/// The table of [`INTERNAL`] that says what the data files take.
pub(super) const SIZES: &str = "sizes";

/// The views in the order in which they are made: a view may use those before it.
pub(super) const VIEWS: &[(&str, &str)] = &[
    ("spans", include_str!("../../schema/spans.sql")),
    ("events", include_str!("../../schema/events.sql")),
    ("links", include_str!("../../schema/links.sql")),
    ("span_tree", include_str!("../../schema/span_tree.sql")),
    ("traces", include_str!("../../schema/traces.sql")),
    ("service_edges", include_str!("../../schema/service_edges.sql")),
    ("service_nodes", include_str!("../../schema/service_nodes.sql")),
    ("span_metrics", include_str!("../../schema/span_metrics.sql")),
];

/// The views of [`INTERNAL`], which those of [`TRACES`] use.
pub(super) const INTERNAL_VIEWS: &[(&str, &str)] = &[
    ("span_calls", include_str!("../../schema/internal/span_calls.sql")),
    ("service_links", include_str!("../../schema/internal/service_links.sql")),
];

/// The views of [`SYSTEM`], in the order in which they are made.
pub(super) const SYSTEM_VIEWS: &[(&str, &str)] = &[
    ("files", include_str!("../../schema/system/files.sql")),
    ("partitions", include_str!("../../schema/system/partitions.sql")),
    ("promoted_attributes", include_str!("../../schema/system/promoted_attributes.sql")),
    ("store", include_str!("../../schema/system/store.sql")),
    ("audit", include_str!("../../schema/system/audit.sql")),
    ("engine", include_str!("../../schema/system/engine.sql")),
    ("ingest", include_str!("../../schema/system/ingest.sql")),
    ("report_runs", include_str!("../../schema/system/report_runs.sql")),
    ("alerts", include_str!("../../schema/system/alerts.sql")),
];

/// The catalogue's name in a context, which clients see as the database.
pub(super) fn database(context: &SessionContext) -> String {
    context.state().config().options().catalog.default_catalog.clone()
}

/// The one catalogue, shared by all sessions.
#[derive(Debug)]
pub(super) struct Catalog {
    schemas: RwLock<BTreeMap<String, Arc<dyn SchemaProvider>>>,
    internal: Arc<Relations>,
}

impl Catalog {
    /// Creates the catalogue with no views yet; gives the schemas [`INTERNAL`], [`TRACES`] and [`SYSTEM`] to put them into.
    pub fn new(sources: &Arc<Sources>, recorded: &Arc<Recorded>) -> (Arc<Self>, [Arc<Relations>; 3]) {
        let (traces, system) = (Arc::new(Relations::default()), Arc::new(Relations::default()));
        let internal = Arc::new(Relations::default());
        internal.insert(SPANS, Arc::new(SpansTable));
        internal.insert(SPAN_TREE, Arc::new(SpanTreeTable::default()));
        for (name, table) in system::tables(sources) {
            internal.insert(name, table);
        }
        let schemas = BTreeMap::from([
            (TRACES.to_string(), traces.clone() as Arc<dyn SchemaProvider>),
            (SYSTEM.to_string(), system.clone() as Arc<dyn SchemaProvider>),
            (REPORTS.to_string(), Arc::new(RecordedSchema::of(recorded))),
        ]);
        (Arc::new(Self { schemas: RwLock::new(schemas), internal: internal.clone() }), [internal, traces, system])
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            INTERNAL => Some(self.internal.clone()),
            _ => self.schemas.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned(),
        }
    }

    fn register_schema(&self, name: &str, schema: Arc<dyn SchemaProvider>) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.schemas.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), schema))
    }
}

/// A schema whose relations are known when the engine starts.
#[derive(Debug, Default)]
pub(super) struct Relations {
    tables: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
}

impl Relations {
    /// Adds a view.
    pub fn insert_view(&self, name: &str, view: ViewTable) {
        self.insert(name, Arc::new(view));
    }

    fn insert(&self, name: &str, table: Arc<dyn TableProvider>) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), table);
    }
}

#[async_trait]
impl SchemaProvider for Relations {
    fn table_names(&self) -> Vec<String> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.tables.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }
}
