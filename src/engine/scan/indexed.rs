//! Asks the trace index of each file when the file is opened, with what the scan's filters are by then: a join knows only when it runs
//! which traces it wants.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};

use super::lookup::Rows;
use super::wanted::wanted_traces;
use crate::store::{DataFile, TraceSet};

/// Opens files as `inner` does, but only those, and of them those rows, that have traces which a filter wants that is learnt while the
/// statement runs. Files carry their [`DataFile`] as an extension.
pub(super) fn with_index(
    inner: Box<dyn Morselizer>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    metrics: &ExecutionPlanMetricsSet,
    object_store: Arc<dyn ObjectStore>,
) -> Box<dyn Morselizer> {
    let changing = filter.filter(|filter| DynamicFilterTracking::classify(filter).contains_dynamic_filter());
    let Some(filter) = changing else { return inner };
    let left_out = MetricBuilder::new(metrics).global_counter("files_pruned_trace_index");
    let wanted = Wanted { filter, seen: Mutex::default() };
    Box::new(Lookup { inner: inner.into(), object_store, wanted, left_out })
}

/// Opens files as the inner morselizer does, once their index has said which rows to read.
struct Lookup {
    inner: Arc<dyn Morselizer>,
    object_store: Arc<dyn ObjectStore>,
    wanted: Wanted,
    left_out: Count,
}

/// The traces that a filter wants, told anew when the filter has changed.
struct Wanted {
    filter: Arc<dyn PhysicalExpr>,
    seen: Mutex<(u64, Option<Arc<TraceSet>>)>,
}

impl Wanted {
    fn now(&self) -> Option<Arc<TraceSet>> {
        let generation = snapshot_generation(&self.filter);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != generation {
            let ids = wanted_traces(&self.filter);
            *seen = (generation, ids.map(|ids| Arc::new(TraceSet::new(ids.iter().map(Vec::as_slice)))));
        }
        seen.1.clone()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Morselizer for Lookup {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let is_known = file.extension::<ParquetRowSelection>().is_some();
        let indexed = file.extension::<DataFile>().filter(|_| !is_known).cloned();
        match (indexed, self.wanted.now()) {
            (Some(indexed), Some(traces)) => Ok(Box::new(AskIndex {
                inner: self.inner.clone(),
                object_store: self.object_store.clone(),
                left_out: self.left_out.clone(),
                file,
                indexed,
                traces,
            })),
            _ => self.inner.plan_file(file),
        }
    }
}

/// Reads a block of the file's index, then plans the file.
struct AskIndex {
    inner: Arc<dyn Morselizer>,
    object_store: Arc<dyn ObjectStore>,
    left_out: Count,
    file: PartitionedFile,
    indexed: DataFile,
    traces: Arc<TraceSet>,
}

impl fmt::Debug for AskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskIndex").field("file", &self.indexed.location).finish_non_exhaustive()
    }
}

impl AskIndex {
    async fn ask(self) -> Result<Box<dyn MorselPlanner>> {
        match Rows::of_index(self.indexed.rows_of(&self.object_store, &self.traces).await) {
            Rows::None => {
                self.left_out.add(1);
                Ok(Box::new(NothingToRead))
            }
            rows => self.inner.plan_file(rows.attach(self.file, self.indexed.rows)),
        }
    }
}

impl MorselPlanner for AskIndex {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_pending_planner(self.ask())))
    }
}

/// The plan of a file that has no trace that is wanted.
#[derive(Debug)]
struct NothingToRead;

impl MorselPlanner for NothingToRead {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(None)
    }
}
