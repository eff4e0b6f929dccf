//! The audit log inside `serve`: what the server does to its data by itself is noted, and so are its start and its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use crate::audit::{Audit, Level, Who};
use crate::error::Result;
use crate::store::{Store, StoreStatus};

/// How often it is looked at what retention has removed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The log, and the task that watches retention.
pub(super) struct AuditAtWork {
    audit: Arc<Audit>,
    task: Option<JoinHandle<()>>,
}

impl AuditAtWork {
    /// Opens the log of a data directory that this process has.
    pub(super) fn start(settings: &Settings, store: &Arc<Store>, shutdown: &CancellationToken) -> Result<Self> {
        let audit = Audit::open(&settings.data_dir, settings.audit())?;
        let kept = settings.store().retention;
        let age = kept.age.map_or("for ever".to_owned(), |age| format!("{} h", age.as_secs() / 3600));
        let detail = format!(
            "spanhouse {}, process {}; spans are kept {age}, with {} rules",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            kept.rules.len()
        );
        audit.act(&Who::default(), "start", &detail);
        let watching = watch_retention(audit.clone(), store.clone(), shutdown.clone());
        let task = audit.notes(Level::Acts).then(|| tokio::spawn(watching));
        Ok(Self { audit, task })
    }

    pub(super) fn audit(&self) -> Arc<Audit> {
        self.audit.clone()
    }

    /// Notes the end, after the shutdown was told.
    pub(super) async fn stop(self) {
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "watching retention for the audit log failed");
        }
        self.audit.act(&Who::default(), "stop", &format!("process {}", std::process::id()));
    }
}

async fn watch_retention(audit: Arc<Audit>, store: Arc<Store>, shutdown: CancellationToken) {
    let mut before = store.status();
    loop {
        let is_over = shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none();
        let now = store.status();
        if let Some(detail) = removed(&before, &now) {
            audit.act(&Who::default(), "retention", &detail);
        }
        if is_over {
            return;
        }
        before = now;
    }
}

/// What retention has removed between two moments, if anything.
fn removed(before: &StoreStatus, now: &StoreStatus) -> Option<String> {
    let files = now.expired_files.saturating_sub(before.expired_files);
    let rows = now.expired_rows.saturating_sub(before.expired_rows);
    (files + rows > 0).then(|| format!("{files} files whose spans had all expired, and {rows} spans of others"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_retention_removes_is_told_once() {
        let status =
            |expired_files, expired_rows| StoreStatus { expired_files, expired_rows, ..StoreStatus::default() };
        assert_eq!(removed(&status(1, 2), &status(1, 2)), None);
        let told = removed(&status(1, 2), &status(3, 12)).expect("something");
        assert_eq!(told, "2 files whose spans had all expired, and 10 spans of others");
    }
}
