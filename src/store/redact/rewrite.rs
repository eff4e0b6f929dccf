//! Writing files anew without some of their spans.

use super::{FoundSpans, RedactedFile, SpanFilter};
use crate::error::{Error, Kind, Result};
use crate::model::promoted::Promoted;
use crate::store::DataFile;
use crate::store::compact::{Rewriter, is_ours};
use crate::store::table::WrittenFile;

/// Files that are to leave the table, and what takes their place, which is synced and not yet in the table.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub removed: Vec<DataFile>,
    pub added: Vec<WrittenFile>,
    pub files: Vec<RedactedFile>,
}

/// Writes every file anew in which spans were found. What an error leaves is removed. Blocks.
pub(crate) fn rewrite_all(
    rewriter: &Rewriter,
    found: &FoundSpans,
    filter: &dyn SpanFilter,
    promoted: &Promoted,
) -> Result<Rewritten> {
    let mut rewritten = Rewritten::default();
    if let Some((foreign, spans)) = found.files.iter().find(|(file, _)| !is_ours(file)) {
        let text = format!("{} holds {spans} of the spans and was written by another program", foreign.location);
        return Err(Error::new(Kind::Denied, text).with_hint("take the file out of the table with that program"));
    }
    for (file, spans) in &found.files {
        match rewriter.without(file, filter, *spans, promoted) {
            Ok(added) => rewritten.push(file, *spans, added),
            Err(error) => {
                rewriter.table.remove(&rewritten.added);
                return Err(error);
            }
        }
    }
    Ok(rewritten)
}

impl Rewritten {
    /// The rows of the files that are to leave.
    pub(crate) fn rows(&self) -> u64 {
        self.removed.iter().map(|file| file.rows).sum()
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.removed.extend(more.removed);
        self.added.extend(more.added);
        self.files.extend(more.files);
    }

    fn push(&mut self, file: &DataFile, redacted_rows: u64, added: Vec<WrittenFile>) {
        self.files.push(RedactedFile {
            path: file.location.to_string(),
            rows: file.rows,
            redacted_rows,
            replaced_by: added.first().map(|added| added.location.clone()),
        });
        self.removed.push(file.clone());
        self.added.extend(added);
    }
}
