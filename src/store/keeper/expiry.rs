//! Taking out of the table what has expired.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use datafusion::object_store::path::Path;

use super::work::{AVOID_FOR, Work, caught, ended_badly};
use crate::error::{Kind, Result};
use crate::model::promoted::Promoted;
use crate::store::DataFile;
use crate::store::compact::Rewriter;
use crate::store::redact::{Files, Rewritten, SpanFilter, rewrite_all, survey};
use crate::store::retention::{Expired, newly_past, wholly_expired};
use crate::store::table::Replacement;

/// The files that one commit of expiry writes anew at most: what waits for it, such as a redaction, waits some seconds.
const MOST_EXPIRED_FILES: usize = 64;

impl Work {
    /// Takes the files out of the table all of whose spans have expired.
    pub(super) fn expire(&mut self) -> Result<()> {
        let retention = self.shared.retention.load_full();
        if retention.is_off() {
            return Ok(());
        }
        let cutoffs = retention.cutoffs(retention.reclaim_ms(self.shared.clock.unix_ms()));
        let files = wholly_expired(&self.shared.visible.load().files, &cutoffs);
        if files.is_empty() {
            return Ok(());
        }
        let before_ns = cutoffs.none_before_ns();
        let gone = self.replace(&files, &[], &Replacement::Expiry { before_ns: Some(before_ns) })?;
        tracing::info!(files = files.len(), "dropped files whose spans have expired");
        self.shared.counters.expired_files.fetch_add(files.len() as u64, Ordering::Relaxed);
        self.vacuum.add(gone);
        Ok(())
    }

    /// Looks at files whose spans may have expired by a rule since they were looked at last, and writes those anew without them that have such, in
    /// one commit. Tells whether there was one to look at.
    pub(super) fn expire_by_rule(&mut self) -> Result<bool> {
        let shared = self.shared.clone();
        let retention = shared.retention.load_full();
        if !Arc::ptr_eq(&retention, &self.looked_for) {
            // What files were looked at for was another retention.
            self.looked_at.clear();
            self.looked_for = retention.clone();
        }
        if retention.rules.is_empty() {
            return Ok(false);
        }
        let at_unix_ms = retention.reclaim_ms(shared.clock.unix_ms());
        let cutoffs = retention.cutoffs(at_unix_ms);
        let files = self.candidates();
        let known: HashSet<&Path> = files.iter().map(|file| &file.location).collect();
        self.looked_at.retain(|location, _| known.contains(location));
        let mut due = newly_past(&files, &cutoffs, |location| self.looked_at.get(location).copied().unwrap_or(0));
        due.truncate(MOST_EXPIRED_FILES);
        if due.is_empty() {
            return Ok(false);
        }
        let state = shared.visible.load();
        let of_due: Vec<&DataFile> = due.iter().map(|(file, _)| *file).collect();
        let expiry = self.rewriter.runtime.block_on(shared.expiry((&*state, Some(of_due.as_slice())), at_unix_ms))?;
        let Some(expiry) = expiry else {
            self.looked_at.extend(due.into_iter().map(|(file, passed)| (file.location.clone(), passed)));
            return Ok(true);
        };
        let filter = Expired { expiry, rules: retention.rules.clone() };
        let promoted = state.promoted.clone();
        // This work would hold the files that are to go.
        drop(state);
        self.take_out(&due, &filter, &promoted)?;
        Ok(true)
    }

    /// Writes files anew without the spans that are meant, in one commit. A file that cannot be read is left alone for a while.
    fn take_out(&mut self, due: &[(&DataFile, usize)], filter: &dyn SpanFilter, promoted: &Promoted) -> Result<()> {
        let (mut rewritten, mut spans) = (Rewritten::default(), 0);
        for (file, passed) in due {
            if rewritten.rows() >= self.shared.plan_limits.target_rows {
                break;
            }
            self.looked_at.insert(file.location.clone(), *passed);
            match caught(|| self.without(file, filter, promoted)).unwrap_or_else(ended_badly) {
                Ok((of_file, found)) => {
                    rewritten.extend(of_file);
                    spans += found;
                }
                Err(error) if error.kind == Kind::Closed => {
                    self.shared.table_dir.remove(&rewritten.added);
                    return Err(error);
                }
                Err(error) if self.has_left(&error) => {}
                Err(error) => {
                    tracing::error!(%error, retry_in = ?AVOID_FOR, "cannot take spans that have expired out of a file");
                    self.avoided.insert(file.location.clone(), Instant::now());
                }
            }
        }
        if rewritten.removed.is_empty() {
            return Ok(());
        }
        let removed: Vec<Path> = rewritten.removed.iter().map(|file| file.location.clone()).collect();
        let replaced = self.replace(&removed, &rewritten.added, &Replacement::Expiry { before_ns: None });
        let gone = replaced.inspect_err(|_| {
            self.avoided.extend(removed.iter().map(|location| (location.clone(), Instant::now())));
        })?;
        self.vacuum.add(gone);
        tracing::info!(spans, files = removed.len(), "took spans that have expired out of files");
        self.shared.counters.expired_rows.fetch_add(spans, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a file anew without the spans that are meant, if it has any; gives their number.
    fn without(&self, file: &DataFile, filter: &dyn SpanFilter, promoted: &Promoted) -> Result<(Rewritten, u64)> {
        let Rewriter { runtime, store, stop, .. } = &self.rewriter;
        let found = survey(&Files { runtime, store, stop }, std::slice::from_ref(file), filter)?;
        Ok((rewrite_all(&self.rewriter, &found, filter, promoted)?, found.spans))
    }
}
