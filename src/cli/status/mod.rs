//! `status`: how a server is, a line a subject, as a doctor's note has it.

mod judge;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use self::judge::{Level, Note};
use super::data::{self, DataDir, ServerFile};
use super::exit::Exit;
use super::output::say;
use super::settings::Settings;
use super::tenant_flag::TenantFlag;
use crate::admin::Vitals;
use crate::error::{Error, Kind, Result};
use crate::store::{DiskRoom, SnapshotSource};

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
    let is_bad = notes.iter().any(|note| note.level == Level::Bad);
    if arguments.json {
        say!("{}", json!({ "ok": !is_bad, "notes": notes.iter().map(as_json).collect::<Vec<_>>() }))?;
    } else {
        notes.iter().try_for_each(tell)?;
    }
    Ok(if is_bad { Exit::Failure } else { Exit::Success })
}

async fn notes(settings: &Settings) -> Result<Vec<Note>> {
    if settings.tenant().is_some() {
        // What a server says of itself is about all of its tenants.
        return of_directory(settings).await;
    }
    let server = ServerFile::read(&settings.data_dir);
    let note = match server.as_ref().map(|server| (server.pid, server.admin)) {
        Some((pid, Some(address))) => match ask(address).await {
            Ok(vitals) => return Ok(judge::running(&vitals, chrono::Utc::now().timestamp())),
            Err(error) => judge::silent(pid, address, &error.to_string()),
        },
        Some((pid, None)) => judge::without_admin(pid),
        None => judge::no_server(crate::store::holder(&settings.data_dir)),
    };
    let mut notes = vec![note];
    notes.extend(of_directory(settings).await?);
    Ok(notes)
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
async fn of_directory(settings: &Settings) -> Result<Vec<Note>> {
    let snapshot = data::open_reader(settings).await?.snapshot().await?;
    let waiting = snapshot.fresh.iter().map(|batch| batch.num_rows() as u64).sum();
    let rows = snapshot.files.iter().map(|file| file.rows).sum();
    let bytes = snapshot.files.iter().map(|file| file.size_bytes).sum();
    Ok(judge::directory(snapshot.files.len() as u64, rows, bytes, waiting, room(&settings.data_dir)))
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

fn as_json(note: &Note) -> serde_json::Value {
    json!({
        "subject": note.subject,
        "level": note.level.word().to_lowercase(),
        "text": note.text,
        "advice": note.advice,
    })
}
