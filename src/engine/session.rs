//! Sessions: one per connection, with settings of its own, over one shared engine.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;

use crate::error::{Error, Result};
use crate::store::SnapshotSource;

/// What a user may set about queries.
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {}

/// The shared part: functions, catalogue, memory pool and query runtime.
#[derive(Debug)]
pub struct Engine {
    source: Arc<dyn SnapshotSource>,
}

impl Engine {
    /// Starts the query runtime over `source`.
    pub fn new(source: Arc<dyn SnapshotSource>, _settings: EngineSettings) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { source }))
    }

    /// Opens a session with default settings.
    pub fn session(self: &Arc<Self>) -> Session {
        Session { engine: self.clone() }
    }
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
}

/// A parsed, admitted and analysed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The statement's own text.
    pub text: String,
    /// Types of `$1 …`, in order; `None` where the statement does not tell.
    pub parameter_types: Vec<Option<DataType>>,
    /// The result's columns; `None` for a command without rows.
    pub schema: Option<SchemaRef>,
}

/// What a statement gives.
pub enum Outcome {
    Rows(Rows),
    /// A command without rows, with its PostgreSQL command tag (`SET`, `BEGIN`, …).
    Command(String),
}

/// A result as it is made: dropping it stops the statement and frees its CPU and memory.
pub struct Rows {
    pub schema: SchemaRef,
    pub stream: SendableRecordBatchStream,
    /// The PostgreSQL command tag without the count: `SELECT`, `SHOW`, `EXPLAIN`.
    pub tag: &'static str,
}

impl Session {
    /// Splits a script into statements and admits each: limits, read-only, known names, types.
    pub async fn prepare(&self, _script: &str) -> Result<Vec<Statement>> {
        let _ = self.engine.source.snapshot().await?;
        Err(Error::internal("the engine is not built yet"))
    }

    /// Runs a statement on a snapshot pinned now.
    pub async fn execute(&self, _statement: &Statement, _parameters: &[ScalarValue]) -> Result<Outcome> {
        Err(Error::internal("the engine is not built yet"))
    }
}
