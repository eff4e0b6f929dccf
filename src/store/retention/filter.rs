//! The spans that go when room is made on disk.

use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, BooleanBuilder, RecordBatch};

use super::Expiry;
use super::matches::{COLUMNS, each_mask};
use super::rules::{RetentionRule, SLACK_NS};
use crate::error::Result;
use crate::store::DataFile;
use crate::store::redact::SpanFilter;

/// Means the spans that have expired, and of those that match a rule themselves the ones that have for the slack.
#[derive(Debug)]
pub(crate) struct Expired {
    pub expiry: Arc<Expiry>,
    pub rules: Vec<RetentionRule>,
}

impl SpanFilter for Expired {
    fn columns(&self) -> Vec<String> {
        COLUMNS.map(str::to_owned).to_vec()
    }

    fn may_match(&self, files: &[DataFile]) -> Vec<bool> {
        files.iter().map(|file| file.min_start_ns < self.expiry.all_from_ns()).collect()
    }

    fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mut decide = self.expiry.decide();
        let (mut goes, mut failed) = (BooleanBuilder::with_capacity(batch.num_rows()), None);
        each_mask(&self.rules, batch, |mask, trace, start_ns| {
            let slack_ns = if mask == 0 { 0 } else { SLACK_NS };
            match decide.cutoff_ns(trace, start_ns) {
                Ok(cutoff_ns) => goes.append_value(start_ns < cutoff_ns.saturating_sub(slack_ns)),
                Err(error) => _ = failed.get_or_insert(error),
            }
        })?;
        failed.map_or_else(|| Ok(goes.finish()), Err)
    }
}
