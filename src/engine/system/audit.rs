//! A row is a line of the audit log, read from its files each time.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};

use crate::audit::{Line, newest};

/// The most lines that a statement is shown, the newest ones: each takes some hundred bytes to some KiB.
const MOST_LINES: usize = 100_000;

/// Where the audit log lies, once somebody has said so.
#[derive(Debug, Default)]
pub(in crate::engine) struct AuditFolder(OnceLock<(PathBuf, Option<String>)>);

impl AuditFolder {
    /// Reads `folder` from now on, of one tenant only what is about it; only the first one is read.
    pub fn ask(&self, folder: PathBuf, tenant: Option<String>) {
        let _ = self.0.set((folder, tenant));
    }
}

pub(super) fn schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8View, nullable);
    let number = |name, nullable| Field::new(name, DataType::Int64, nullable);
    Arc::new(Schema::new(vec![
        number("n", false),
        number("at_ms", false),
        text("kind", false),
        text("user_name", true),
        text("client_address", true),
        text("what", false),
        number("rows", true),
        number("bytes", true),
        number("duration_ms", true),
        text("outcome", false),
        text("detail", true),
        text("tenant", true),
    ]))
}

pub(super) fn rows(schema: &SchemaRef, folder: &AuditFolder) -> Result<RecordBatch> {
    let asked = folder.0.get();
    let lines = asked.map(|(folder, _)| newest(folder, MOST_LINES)).transpose();
    let mut lines = lines.map_err(|error| DataFusionError::External(Box::new(error)))?.unwrap_or_default();
    if let Some((_, Some(tenant))) = asked {
        lines.retain(|line| line.event.tenant.as_ref() == Some(tenant));
    }
    let text =
        |of: fn(&Line) -> Option<&str>| -> ArrayRef { Arc::new(lines.iter().map(of).collect::<StringViewArray>()) };
    let number = |of: fn(&Line) -> Option<u64>| -> ArrayRef {
        let signed = |line| of(line).map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        Arc::new(lines.iter().map(signed).collect::<Int64Array>())
    };
    let columns = vec![
        number(|line| Some(line.n)),
        number(|line| u64::try_from(line.at.timestamp_millis()).ok().or(Some(0))),
        text(|line| Some(line.event.kind.name())),
        text(|line| line.event.user.as_deref()),
        text(|line| line.event.address.as_deref()),
        text(|line| Some(&line.event.what)),
        number(|line| line.event.rows),
        number(|line| line.event.bytes),
        number(|line| line.event.duration_ms),
        text(|line| Some(&line.event.outcome)),
        text(|line| line.event.detail.as_deref()),
        text(|line| line.event.tenant.as_deref()),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
