//! Taking chosen spans out of the table for good.

use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::object_store::path::Path;

use super::Redaction;
use super::work::Work;
use crate::error::{Kind, Result};
use crate::store::compact::Rewriter;
use crate::store::redact::{Files, RedactReport, rewrite_all, survey};
use crate::store::table::Replacement;

/// How often a redaction begins; another process that compacts the same files takes far longer for it than a redaction.
const REDACTION_TRIES: usize = 5;

impl Work {
    /// Redacts, and begins anew when another process took a file that is to be written anew out of the table meanwhile.
    pub(super) fn redact(&mut self, redaction: &Redaction) -> Result<RedactReport> {
        let mut tries = 1;
        loop {
            match self.try_redact(redaction) {
                Err(error) if tries < REDACTION_TRIES && (error.kind == Kind::NotFound || self.has_left(&error)) => {
                    tries += 1
                }
                done => return done,
            }
        }
    }

    /// Writes the files that hold such spans anew without them, in one commit.
    fn try_redact(&mut self, redaction: &Redaction) -> Result<RedactReport> {
        // Spans that others have sealed are meant too.
        self.rewriter.runtime.block_on(self.shared.follow())?;
        let state = self.shared.visible.load();
        let (promoted, version_before) = (state.promoted.clone(), state.table_version);
        let Rewriter { runtime, store, stop, .. } = &self.rewriter;
        let filter = redaction.filter.as_ref();
        let found = survey(&Files { runtime, store, stop }, &state.files, filter)?;
        // The snapshot of this work would hold the files that are to go.
        drop(state);
        let rewritten = rewrite_all(&self.rewriter, &found, filter, &promoted)?;
        if !rewritten.removed.is_empty() {
            let removed: Vec<Path> = rewritten.removed.iter().map(|file| file.location.clone()).collect();
            let why = Replacement::Redaction { receipt: redaction.receipt.clone() };
            let gone = self.replace(&removed, &rewritten.added, &why)?;
            self.vacuum.add(gone);
            tracing::info!(spans = found.spans, files = removed.len(), "redacted spans");
        }
        let grace = if redaction.delete_now { Duration::ZERO } else { self.shared.settings.keep_removed };
        Ok(RedactReport {
            spans: found.spans,
            traces: found.traces(),
            traces_are_all: found.traces_are_all(),
            files: rewritten.files,
            version_before,
            version_after: self.shared.visible.load().table_version,
            deleted_files: self.tidy(grace),
            waiting_files: self.vacuum.waiting() as u64,
            quarantined_files: self.shared.counters.quarantined_files.load(Ordering::Relaxed),
        })
    }
}
