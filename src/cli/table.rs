//! `table`: what lies in a data directory, for a person.

use std::io::{self, BufWriter};

use clap::Args;
use futures::{StreamExt, stream};

use super::data::{self, DataDir};
use super::exit::Exit;
use super::sql;
use super::tenant_flag::TenantFlag;
use crate::engine::Engine;
use crate::error::Result;
use crate::render::Format;
use crate::store::SnapshotSource;

const EXAMPLES: &str = "\
Examples:
  spanhouse table
  spanhouse table --data-dir /var/lib/spanhouse

Reads the data directory only, so a server may run on it at the same time. The same, and each data file, is \
in the SQL schema system: system.files, system.partitions, system.promoted_attributes and system.store.";

const QUERIES: &str = concat!(
    include_str!("queries/table_store.sql"),
    ";",
    include_str!("queries/table_partitions.sql"),
    ";",
    include_str!("queries/table_attributes.sql")
);

/// Files whose trace index is read at a time.
const INDEXES_AT_A_TIME: usize = 8;

/// Show the stored table: files, rows, bytes, days, attributes with columns, what waits
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    tenant: TenantFlag,
    /// How to write: table, csv, json, ndjson or markdown
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Format,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    let reader = data::open_reader(&settings).await?;
    let snapshot = reader.snapshot().await?;
    let indexes = stream::iter(snapshot.files.iter());
    indexes.for_each_concurrent(INDEXES_AT_A_TIME, |file| file.warm_index(&snapshot.object_store)).await;
    let engine = Engine::new(reader, settings.engine())?;
    let options = sql::render_options(true);
    sql::execute(&engine, QUERIES, arguments.format, &options, BufWriter::new(io::stdout())).await?;
    Ok(Exit::Success)
}
