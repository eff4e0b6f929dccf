//! A row is a count of what the listeners of this process took or refused.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

/// What came in and what became of it, since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestCount {
    /// `requests`, `spans`, `bytes`, or `values` that rules for sensitive data changed.
    pub what: &'static str,
    /// `accepted` or `refused`; of values `deleted`, `hashed` or `masked`.
    pub outcome: &'static str,
    /// Why, in a word, of what was refused; by which rule, of what was changed.
    pub reason: Option<Cow<'static, str>>,
    pub count: u64,
}

/// Who counts, once there are listeners.
#[derive(Default)]
pub(in crate::engine) struct Counted(OnceLock<Box<dyn Fn() -> Vec<IngestCount> + Send + Sync>>);

impl Counted {
    /// Asks `counts` from now on; only the first caller is heard.
    pub fn ask(&self, counts: impl Fn() -> Vec<IngestCount> + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(counts));
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").field("is_asked", &self.0.get().is_some()).finish()
    }
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("what", DataType::Utf8View, false),
        Field::new("outcome", DataType::Utf8View, false),
        Field::new("reason", DataType::Utf8View, true),
        Field::new("count", DataType::Int64, false),
    ]))
}

pub(super) fn rows(schema: &SchemaRef, counted: &Counted) -> Result<RecordBatch> {
    let counts = counted.0.get().map(|counts| counts()).unwrap_or_default();
    let what = StringViewArray::from_iter_values(counts.iter().map(|of| of.what));
    let outcome = StringViewArray::from_iter_values(counts.iter().map(|of| of.outcome));
    let reason: StringViewArray = counts.iter().map(|of| of.reason.as_deref()).collect();
    let count = Int64Array::from_iter_values(counts.iter().map(|of| i64::try_from(of.count).unwrap_or(i64::MAX)));
    let columns: Vec<datafusion::arrow::array::ArrayRef> =
        vec![Arc::new(what), Arc::new(outcome), Arc::new(reason), Arc::new(count)];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
