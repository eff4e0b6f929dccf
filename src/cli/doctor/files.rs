//! The table's files: whether the object store answers, and whether all is there that the table names.

use std::collections::HashMap;
use std::time::Duration;

use futures::TryStreamExt;

use super::seen::Seen;
use crate::cli::note::Note;
use crate::render::count;
use crate::store::{DataFile, Snapshot};

/// An object store answers within a second; a list of many objects takes some more.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// More files are for `check` to list.
const MOST_SHOWN: usize = 3;

pub(super) async fn check(seen: &Seen) -> Vec<Note> {
    let Some(stored) = &seen.stored else { return Vec::new() };
    let snapshot = &stored.snapshot;
    let place = seen.settings.store().table_url.map_or_else(|| "the table".to_owned(), |url| url.to_string());
    let mut notes = vec![match tokio::time::timeout(LIST_TIMEOUT, listed(snapshot)).await {
        Ok(Ok(sizes)) => {
            let wrong: Vec<(&DataFile, Option<u64>)> = unlike(&snapshot.files, &sizes);
            judge(&place, snapshot.files.len(), &wrong)
        }
        Ok(Err(error)) => away(&place, &error.to_string()),
        Err(_) => away(&place, &format!("it has not answered within {} s", LIST_TIMEOUT.as_secs())),
    }];
    notes.extend(quarantined(snapshot.quarantined_files));
    notes
}

/// The sizes of all objects of the table, by path.
async fn listed(snapshot: &Snapshot) -> datafusion::object_store::Result<HashMap<String, u64>> {
    let objects = snapshot.object_store.list(None).map_ok(|object| (object.location.to_string(), object.size));
    objects.try_collect().await
}

/// The files that are not there as the table has them, with the size that they have.
fn unlike<'a>(files: &'a [DataFile], sizes: &HashMap<String, u64>) -> Vec<(&'a DataFile, Option<u64>)> {
    let found = files.iter().map(|file| (file, sizes.get(file.location.as_ref()).copied()));
    found.filter(|(file, size)| *size != Some(file.size_bytes)).collect()
}

fn judge(place: &str, files: usize, wrong: &[(&DataFile, Option<u64>)]) -> Note {
    if wrong.is_empty() {
        return Note::ok(
            "files",
            format!("{place} answers, and each of its {} is there in full length", count(files as u64, "file")),
        );
    }
    let mut lines: Vec<String> = wrong.iter().take(MOST_SHOWN).map(|(file, size)| told(file, *size)).collect();
    if wrong.len() > MOST_SHOWN {
        lines.push(format!("and {} more: `spanhouse check` lists them", wrong.len() - MOST_SHOWN));
    }
    lines.push("put them back from a copy, or go on without: stop the server, spanhouse check --repair".to_owned());
    let text = format!(
        "{} of {} missing or cut short: statements that need them fail with XX001 or 58030",
        wrong.len(),
        count(files as u64, "file")
    );
    Note::bad("files", text, lines.join("\n"))
}

fn told(file: &DataFile, size: Option<u64>) -> String {
    let DataFile { location, rows, date, .. } = file;
    let rows = count(*rows, "span");
    match size {
        None => format!("{location} is not there: {rows} of {date}"),
        Some(size) => format!("{location} has {size} of {} bytes: {rows} of {date}", file.size_bytes),
    }
}

fn away(place: &str, why: &str) -> Note {
    let advice = "is the way to it open, and are the credentials right (AWS_*, AZURE_*, GOOGLE_*)? Spans stay in the log until it is back, up to log_size";
    Note::bad("files", format!("{place} cannot be listed: {why}"), advice)
}

fn quarantined(files: u64) -> Option<Note> {
    let text = format!("{} of the directory quarantine: what could not be stored or was damaged", count(files, "file"));
    let advice = "no statement sees what they hold. The log of events said why at the time; delete them when they are not needed any more";
    (files > 0).then(|| Note::warn("quarantine", text, advice))
}
