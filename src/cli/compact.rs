//! `compact`: brings the files of a data directory into their final form.

use clap::Args;

use super::audit;
use super::data::{self, DataDir};
use super::exit::Exit;
use super::output::say;
use super::tenant_flag::TenantFlag;
use crate::error::Result;
use crate::render::count;
use crate::store::{CompactReport, Store};

const EXAMPLES: &str = "\
Examples:
  spanhouse compact
  spanhouse compact --data-dir /var/lib/spanhouse

A server compacts by itself, a little behind what comes in; this is for a directory that no server has, such \
as after an import. Files that are replaced are deleted after keep_removed (10 minutes), by this command or \
by the next server.";

/// Make many small data files into few large ones
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    tenant: TenantFlag,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    let store = Store::open(&settings.data_dir, data::for_upkeep(&settings)?).await?;
    let sealed = store.seal().await;
    let compacted = match sealed {
        Ok(_) => store.compact().await,
        Err(error) => Err(error),
    };
    store.close().await?;
    let CompactReport { files_before, files_after, rows, bytes_before, bytes_after } = compacted?;
    let (before, after) = (count(files_before as u64, "file"), count(files_after as u64, "file"));
    audit::note(&settings, "compact", &format!("{before} became {after}, {rows} spans"));
    say!("{before} of {bytes_before} bytes became {after} of {bytes_after} bytes, {}", count(rows, "span"))?;
    Ok(Exit::Success)
}
