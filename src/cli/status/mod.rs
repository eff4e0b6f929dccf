//! `status`: how a server is, a line a subject, as a doctor's note has it.

mod judge;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

pub(super) use self::judge::{labelled, listed};

use super::data::{self, DataDir, ServerFile};
use super::exit::Exit;
use super::note::{Note, any_is_bad};
use super::output::say;
use super::settings::Settings;
use super::tenant_flag::TenantFlag;
use crate::admin::Vitals;
use crate::error::{Error, Kind, Result};
use crate::store::{DiskRoom, Snapshot, SnapshotSource};

const EXAMPLES: &str = "\
Examples:
  spanhouse status
  spanhouse status --data-dir /var/lib/spanhouse --json

Asks the server that has the data directory, through its admin listener; without a server it reads the directory.

Exit codes: 0 when all is well or worth a look (WARN), 1 when something is wrong (BAD).";

/// A server that is well answers within milliseconds; one whose disk is slow may take its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Tell how the server is, and what to do where it is not well
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    tenant: TenantFlag,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    let notes = notes(&settings).await?;
    let is_bad = any_is_bad(&notes);
    if arguments.json {
        say!("{}", json!({ "ok": !is_bad, "notes": notes.iter().map(Note::as_json).collect::<Vec<_>>() }))?;
    } else {
        notes.iter().try_for_each(tell)?;
    }
    Ok(if is_bad { Exit::Failure } else { Exit::Success })
}

async fn notes(settings: &Settings) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    // What a server says of itself is about all of its tenants.
    if settings.tenant().is_none() {
        let (told, vitals) = of_server(&settings.data_dir).await;
        notes = told;
        if vitals.is_some() {
            return Ok(notes);
        }
    }
    let snapshot = data::open_reader(settings).await?.snapshot().await?;
    notes.extend(of_snapshot(&snapshot, &settings.data_dir));
    Ok(notes)
}

/// What the server that has a data directory says of itself, or that it says nothing or that there is none.
pub(super) async fn of_server(data_dir: &Path) -> (Vec<Note>, Option<Vitals>) {
    let server = ServerFile::read(data_dir);
    let note = match server.as_ref().map(|server| (server.pid, server.admin)) {
        Some((pid, Some(address))) => match ask(address).await {
            Ok(vitals) => return (judge::running(&vitals, chrono::Utc::now().timestamp()), Some(vitals)),
            Err(error) => judge::silent(pid, address, &error.to_string()),
        },
        Some((pid, None)) => judge::without_admin(pid),
        None => judge::no_server(crate::store::holder(data_dir)),
    };
    (vec![note], None)
}

/// What the server at `address` says of itself.
async fn ask(address: SocketAddr) -> Result<Vitals> {
    let failed = |error: reqwest::Error| Error::new(Kind::Io, error.without_url().to_string());
    // What is set for the way to other machines is not for this one.
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build().map_err(failed)?;
    let answer = client.get(format!("http://{address}/status")).send().await.map_err(failed)?;
    let text = answer.error_for_status().map_err(failed)?.text().await.map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| Error::new(Kind::Io, format!("its answer is not understood: {error}")))
}

/// What the directory tells to whoever reads it.
pub(super) fn of_snapshot(snapshot: &Snapshot, data_dir: &Path) -> Vec<Note> {
    let waiting = snapshot.fresh.iter().map(|batch| batch.num_rows() as u64).sum();
    let rows = snapshot.files.iter().map(|file| file.rows).sum();
    let bytes = snapshot.files.iter().map(|file| file.size_bytes).sum();
    judge::directory(snapshot.files.len() as u64, rows, bytes, waiting, room(data_dir))
}

fn room(data_dir: &Path) -> Option<DiskRoom> {
    DiskRoom::of(data_dir).ok()
}

fn tell(note: &Note) -> Result<()> {
    say!("{:4}  {:10}  {}", note.level.word(), note.subject, note.text)?;
    match &note.advice {
        Some(advice) => say!("{:18}{advice}", ""),
        None => Ok(()),
    }
}
