//! `table`: what lies in a data directory, for a person.

use std::io::{self, BufWriter};

use clap::Args;

use super::data::{self, DataDir};
use super::exit::Exit;
use super::sql;
use crate::error::Result;
use crate::render::Format;

const EXAMPLES: &str = "\
Examples:
  spanhouse table
  spanhouse table --data-dir /var/lib/spanhouse

Reads the data directory only, so a server may run on it at the same time. The same, and each data file, is \
in the SQL schema system: SELECT * FROM system.files, system.partitions, system.store.";

const QUERIES: &str =
    concat!(include_str!("queries/table_store.sql"), ";", include_str!("queries/table_partitions.sql"));

/// Show the stored table: files, rows, bytes, days, what waits
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    data_dir: DataDir,
    /// How to write: table, csv, json, ndjson or markdown
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Format,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.data_dir.flags().settings()?;
    data::must_exist(&settings.data_dir)?;
    let engine = sql::open_engine(&settings).await?;
    let options = sql::render_options(true);
    sql::execute(&engine, QUERIES, arguments.format, &options, BufWriter::new(io::stdout())).await?;
    Ok(Exit::Success)
}
