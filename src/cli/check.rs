//! `check`: whether a data directory holds what was written, and moving aside what it does not.

use std::path::Path;

use clap::Args;

use super::audit;
use super::data::{self, DataDir};
use super::exit::Exit;
use super::output::say;
use super::settings::Settings;
use super::tenant_flag::TenantFlag;
use crate::error::{Error, Kind, Result};
use crate::render::count;
use crate::store::{self, CheckReport, Finding, LogFigures, Loss, Part, Repair, TableFigures};

const EXAMPLES: &str = "\
Examples:
  spanhouse check
  spanhouse check --data-dir /var/lib/spanhouse --json
  spanhouse check --repair

Reads all of the log and the table and changes nothing, so that a server may run on the directory. It exits with 0 when everything is \
what was written, and with 1 when something is not.

--repair needs a directory that no server has. It moves damaged segments of the log and damaged data files into the directory \
quarantine, takes those files out of the table, puts the requests of the log that can be read into the table, and says what is lost. It deletes nothing \
that is damaged, and exits with 0 when nothing is wrong any more. Take a copy of the directory first, if there is room.";

/// Verify the log, the table and the trace indexes; move aside what is damaged
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    tenant: TenantFlag,
    /// Move what is damaged into quarantine, and go on with the rest
    #[arg(long)]
    repair: bool,
    /// Write one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    match arguments.repair {
        true => repair(&settings, arguments.json).await,
        false => check(&settings.data_dir, arguments.json).await,
    }
}

async fn check(dir: &Path, json: bool) -> Result<Exit> {
    let report = store::check(dir).await?;
    match json {
        true => say_json(&report)?,
        false => {
            say_figures(&report)?;
            report.findings.iter().try_for_each(|finding| say_finding("BAD", finding))?;
            if report.is_sound() {
                say!("everything is what was written")?;
            } else {
                say!("{}; `spanhouse check --repair` moves aside what is damaged", wrongs(report.findings.len()))?;
            }
        }
    }
    Ok(if report.is_sound() { Exit::Success } else { Exit::Failure })
}

async fn repair(settings: &Settings, json: bool) -> Result<Exit> {
    let repair = store::repair(&settings.data_dir).await.map_err(|error| match error.kind {
        Kind::Denied => error.with_hint("stop the server, repair, and start it again; a check works beside it"),
        _ => error,
    })?;
    if !repair.repaired.is_empty() {
        let kept = match repair.quarantined.is_empty() {
            true => String::new(),
            false => format!("; kept as {}", repair.quarantined.join(", ")),
        };
        audit::note(settings, "check --repair", &format!("{} out of the way{kept}", wrongs(repair.repaired.len())));
    }
    let exit = if repair.left.is_empty() { Exit::Success } else { Exit::Failure };
    if json {
        say_json(&repair)?;
        return Ok(exit);
    }
    let Repair { repaired, quarantined, left } = &repair;
    repaired.iter().try_for_each(|finding| say_finding("REPAIRED", finding))?;
    quarantined.iter().try_for_each(|path| say!("kept as {path}"))?;
    left.iter().try_for_each(|finding| say_finding("BAD", finding))?;
    match (repaired.is_empty(), left.is_empty()) {
        (true, true) => say!("everything is what was written")?,
        (_, true) => say!("{} out of the way", wrongs(repaired.len()))?,
        _ => say!("{} left: put the table's log back from a copy", wrongs(left.len()))?,
    }
    Ok(exit)
}

fn wrongs(number: usize) -> String {
    if number == 1 { "1 thing is wrong".to_owned() } else { format!("{number} things are wrong") }
}

fn say_json(of: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(of).map_err(|error| Error::internal(error.to_string()))?;
    say!("{text}")
}

fn say_figures(report: &CheckReport) -> Result<()> {
    let LogFigures { segments, bytes, requests, fresh_requests, fresh_spans, unfinished_bytes } = report.log;
    let (segments, requests) = (count(segments, "segment"), count(requests, "request"));
    say!(
        "log      {segments}, {bytes} bytes, {requests}; {fresh_requests} with {} not in the table yet",
        count(fresh_spans, "span")
    )?;
    if unfinished_bytes > 0 {
        say!("         {unfinished_bytes} bytes of an unfinished write at its end, which the next start cuts off")?;
    }
    let TableFigures { version, files, bytes, spans, summed_files, indexed_files } = report.table;
    let version = version.map_or("no version yet".to_owned(), |version| format!("version {version}"));
    let (files, spans) = (count(files, "file"), count(spans, "span"));
    say!("table    {version}, {files}, {bytes} bytes, {spans}; {summed_files} agree with their checksums")?;
    say!("indexes  {indexed_files} of {files} agree with the rows")
}

fn say_finding(mark: &str, finding: &Finding) -> Result<()> {
    let Finding { part, path, offset, what, lost } = finding;
    let part = match part {
        Part::Log => "log",
        Part::TableLog => "table log",
        Part::DataFile => "data file",
        Part::TraceIndex => "trace index",
    };
    let at = offset.map_or(String::new(), |offset| format!(", byte {offset}"));
    say!("{mark}  {part} {path}{at}: {what}")?;
    match lost.is_nothing() {
        true => Ok(()),
        false => say!("     lost: {}", lost_text(lost)),
    }
}

fn lost_text(lost: &Loss) -> String {
    let Loss { requests, spans, from, until, services } = lost;
    let mut text = Vec::new();
    if *requests > 0 {
        text.push(count(*requests, "request"));
    }
    text.extend(spans.map(|spans| count(spans, "span")));
    text.extend(from.iter().zip(until).map(|(from, until)| format!("{from} to {until}")));
    if !services.is_empty() {
        text.push(format!("of {}", services.join(", ")));
    }
    text.join(", ")
}
