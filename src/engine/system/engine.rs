//! A row is a figure of what statements take of the process, by name.

use std::sync::{Arc, OnceLock, Weak};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;

use super::figures::{Figure, batch};
use crate::engine::{Engine, Load};

/// The engine, once it is made of what asks it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Loaded(OnceLock<Weak<Engine>>);

impl Loaded {
    /// Asks `engine` from now on; only the first one is asked.
    pub fn ask(&self, engine: &Arc<Engine>) {
        let _ = self.0.set(Arc::downgrade(engine));
    }
}

pub(super) fn rows(schema: &SchemaRef, loaded: &Loaded) -> Result<RecordBatch> {
    let load = loaded.0.get().and_then(Weak::upgrade).map(|engine| engine.load());
    batch(schema.clone(), &load.iter().flat_map(figures).collect::<Vec<_>>())
}

fn figures(load: &Load) -> Vec<Figure> {
    let statements = &load.statements;
    let failed = statements.failed.iter().map(|(_, count)| count).sum();
    let of = |count: usize| Some(count as u64);
    vec![
        ("sessions", of(load.sessions), "sessions of clients that are open"),
        (
            "running_statements",
            of(load.running_statements),
            "statements that run; one that was stopped counts until it has ended",
        ),
        ("started_statements", Some(statements.started), "statements since the start"),
        ("completed_statements", Some(statements.completed), "statements that gave their last row since the start"),
        (
            "stopped_statements",
            Some(statements.stopped),
            "statements that their client left or cancelled since the start",
        ),
        ("failed_statements", Some(failed), "statements that ended with an error since the start"),
        ("memory_bytes", of(load.memory_bytes), "memory that statements hold of their pool"),
        ("memory_limit_bytes", of(load.memory_limit_bytes), "the size of that pool"),
        ("column_cache_bytes", of(load.column_cache_bytes), "memory that the cache of columns takes"),
        ("column_cache_limit_bytes", of(load.column_cache_limit_bytes), "what that cache may take"),
        (
            "spilled_bytes",
            Some(load.spilled_bytes).filter(|_| !load.shares_spill),
            "temporary disk that statements take",
        ),
        ("spill_limit_bytes", Some(load.spill_limit_bytes), "what all statements together may take of it"),
    ]
}
