//! Which spans are meant.

use std::collections::HashSet;
use std::fmt::Debug;

use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};

use crate::error::{Error, Result};
use crate::model::TraceId;
use crate::model::schema::TRACE_ID;
use crate::store::{DataFile, TraceSet};

/// Says of each span whether it is meant, from the span alone: the same answer whenever it is asked.
pub trait SpanFilter: Send + Sync + Debug {
    /// The columns of the physical schema that it reads. What a batch holds in others is not to be relied on.
    fn columns(&self) -> Vec<String>;
    /// Which of the files may hold such a span, as far as can be told without reading.
    fn may_match(&self, files: &[DataFile]) -> Vec<bool>;
    /// Which rows of a batch in the physical schema are meant; NULL is no.
    fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray>;
}

/// All spans of some traces.
#[derive(Debug, Clone)]
pub struct TraceFilter {
    ids: HashSet<TraceId>,
    traces: TraceSet,
}

impl TraceFilter {
    pub fn new(ids: impl IntoIterator<Item = TraceId>) -> Self {
        let ids: HashSet<TraceId> = ids.into_iter().collect();
        let traces = TraceSet::new(ids.iter().map(|id| id.as_bytes().as_slice()));
        Self { ids, traces }
    }
}

impl SpanFilter for TraceFilter {
    fn columns(&self) -> Vec<String> {
        vec![TRACE_ID.to_owned()]
    }

    fn may_match(&self, files: &[DataFile]) -> Vec<bool> {
        files.iter().map(|file| file.may_have(&self.traces)).collect()
    }

    fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let traces = batch.column_by_name(TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
        let traces = traces.ok_or_else(|| Error::internal("a batch of spans lacks its trace ids"))?;
        let is_meant = |id: &[u8]| TraceId::from_bytes(id).is_some_and(|id| self.ids.contains(&id));
        Ok(traces.iter().map(|id| Some(id.is_some_and(is_meant))).collect())
    }
}
