//! Checking the table's log. Its commits are JSON without checksums, and readers leave aside what they do not know: a damaged word may take a file out of
//! the table, or bring one back, and nobody is told. So each commit is read by the letter, and what the commits say together is compared with what readers see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::object_store::{ObjectStore, ObjectStoreExt, path::Path};
use futures::TryStreamExt;
use serde_json::{Map, Value};

use super::report::{Finding, Part};
use crate::error::{Error, Kind, Result};
use crate::store::table::{FileName, LOG_DIR, Origin, TableState};
use crate::store::wal::Lsn;

/// What a line of a commit may be.
const ACTIONS: [&str; 9] =
    ["add", "remove", "txn", "metaData", "protocol", "commitInfo", "cdc", "domainMetadata", "checkpointMetadata"];

/// The files of the table as its commits tell them: each with its size and rows.
#[derive(Debug, Default)]
struct Told {
    files: BTreeMap<String, (Option<u64>, Option<u64>)>,
    /// Whether all commits from the first one on are there.
    is_whole: bool,
    /// Of the commit that is being read: up to which request its files have the log of their node, and what it says of that.
    sealed: BTreeSet<(String, Lsn)>,
    marks: BTreeMap<String, u64>,
    findings: Vec<Finding>,
}

/// Checks the commits up to the version of `table`, which `node` writes.
pub(super) async fn check_table_log(
    store: &Arc<dyn ObjectStore>,
    table: &TableState,
    node: &str,
) -> Result<Vec<Finding>> {
    let Some(newest) = table.version else { return Ok(Vec::new()) };
    let mut versions = versions(store.as_ref()).await?;
    versions.retain(|version| *version <= newest);
    let mut told = Told { is_whole: versions.first() == Some(&0), ..Told::default() };
    if let Some(missing) = versions.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        let what = format!("no commit {} is there", missing[0] + 1);
        told.findings.push(Finding::new(Part::TableLog, LOG_DIR, what));
        told.is_whole = false;
    }
    for version in versions {
        let path = Path::from(format!("{LOG_DIR}/{version:020}.json"));
        let bytes = match store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|error| failed(&path, error))?;
        told.add_commit(&path, &bytes);
    }
    let mut findings = std::mem::take(&mut told.findings);
    if told.is_whole && findings.is_empty() {
        findings.extend(told.compare(table));
    }
    findings.extend(mark_behind(table, node));
    Ok(findings)
}

impl Told {
    fn add_commit(&mut self, path: &Path, bytes: &[u8]) {
        self.sealed.clear();
        self.marks.clear();
        let mut offset = 0;
        for line in bytes.split(|byte| *byte == b'\n') {
            if !line.trim_ascii().is_empty()
                && let Err(what) = self.add_line(line)
            {
                self.findings.push(Finding::new(Part::TableLog, path, what).at(offset));
            }
            offset += line.len() as u64 + 1;
        }
        for (node, mark) in std::mem::take(&mut self.sealed) {
            if self.marks.get(&node) != Some(&mark.0) {
                let what =
                    format!("it adds files that have the requests of {node} up to {}, and says otherwise", mark.0);
                self.findings.push(Finding::new(Part::TableLog, path, what));
            }
        }
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        let action: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| format!("a line of the commit cannot be read: {error}"))?;
        let mut entries = action.iter();
        let (Some((name, content)), None) = (entries.next(), entries.next()) else {
            return Err("a line of the commit is not one action".to_owned());
        };
        if !ACTIONS.contains(&name.as_str()) {
            return Err(format!("a line of the commit is {name:?}, which is no action"));
        }
        let path = || content["path"].as_str().map(str::to_owned).ok_or(format!("{name} of a commit names no file"));
        match name.as_str() {
            "add" => {
                let stats: Value =
                    content["stats"].as_str().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
                let path = path()?;
                let name = path.rsplit('/').next().and_then(FileName::parse);
                if let Some(FileName { node, origin: Origin::Sealed(mark), .. }) = name {
                    self.sealed.insert((node, mark));
                }
                self.files.insert(path, (content["size"].as_u64(), stats["numRecords"].as_u64()));
            }
            "txn" => {
                let node = content["appId"].as_str().unwrap_or_default();
                self.marks.insert(node.to_owned(), content["version"].as_u64().unwrap_or_default());
            }
            "remove" => {
                let path = path()?;
                if self.files.remove(&path).is_none() && self.is_whole {
                    return Err(format!("the commit takes {path} out of the table, which does not have it"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What readers see and the commits do not tell, and the other way round.
    fn compare(&mut self, table: &TableState) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut wrong = |path: &str, what: &str| findings.push(Finding::new(Part::TableLog, path, what));
        for file in table.files.iter() {
            match self.files.remove(file.location.as_ref()) {
                Some(told) if told == (Some(file.size_bytes), Some(file.rows)) => {}
                Some(_) => {
                    wrong(file.location.as_ref(), "a checkpoint tells another size or row count than the commit")
                }
                None => wrong(file.location.as_ref(), "a checkpoint has the file in the table, and no commit has"),
            }
        }
        // Names that need escapes are of other programs, and written in ways of their own.
        for path in self.files.keys().filter(|path| !path.contains('%')) {
            wrong(path, "commits have the file in the table, and a checkpoint has not");
        }
        findings
    }
}

/// A mark below that of a file whose spans were sealed: they would be read from the log again.
fn mark_behind(table: &TableState, node: &str) -> Option<Finding> {
    let sealed = table.files.iter().filter_map(|file| {
        let name = file.location.filename().and_then(FileName::parse).filter(|name| name.node == node)?;
        match name.origin {
            Origin::Sealed(mark) => Some(mark),
            Origin::Rewritten => None,
        }
    });
    let newest = sealed.max().filter(|newest| *newest > table.mark)?;
    let what = format!("files have the requests up to {}, and the log says up to {}", newest.0, table.mark.0);
    Some(Finding::new(Part::TableLog, LOG_DIR, what))
}

/// The versions whose commits are there, in order.
async fn versions(store: &dyn ObjectStore) -> Result<Vec<u64>> {
    let log = Path::from(LOG_DIR);
    let listed = store.list(Some(&log)).map_ok(|object| object.location);
    let names: Vec<Path> = listed.try_collect().await.map_err(|error| failed(&log, error))?;
    let version = |name: &str| name.strip_suffix(".json").filter(|digits| digits.len() == 20)?.parse().ok();
    let mut versions: Vec<u64> = names.iter().filter_map(|path| version(path.filename()?)).collect();
    versions.sort_unstable();
    Ok(versions)
}

fn failed(path: &Path, error: datafusion::object_store::Error) -> Error {
    Error::new(Kind::Io, format!("cannot read {path}: {error}")).with_source(error)
}
