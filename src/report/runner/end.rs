//! The end of a run: what it made is put where it belongs, and the end is noted.

use super::{Runner, blocking};
use crate::error::Result;
use crate::report::alert::Notice;
use crate::report::deadline::Deadline;
use crate::report::definition::Report;
use crate::report::history::{Entry, Run};
use crate::report::letters;
use crate::report::record::{Prepared, RecordedRun};
use crate::report::results::{self, Parcel};
use crate::report::work::{Worked, status_of};
use crate::store::failpoint;

impl Runner {
    /// Puts files and rows where they belong and notes the end.
    pub(super) async fn ended(&self, report: &Report, begun: Run, worked: Worked) -> Result<(Run, Parcel)> {
        let Worked { status, rows, error, mut parcel, prepared, deadline, frame: _ } = worked;
        let ended_ms = Some(self.now_ms());
        let mut run = Run { status, rows, error, ended_ms, ..begun };
        if run.status.is_failure() {
            self.tell_again(&run, &mut parcel.notices);
        }
        // What a failure leaves is a short message.
        let deadline = if run.status.is_failure() { Deadline::never() } else { deadline };
        if let Err(error) = self.put(report, &mut run, &mut parcel, prepared, &deadline).await {
            tracing::error!(run = run.id, %error, "what a report made could not be kept");
            (run.status, run.error) = (status_of(&error), Some(error.to_string()));
            parcel.artifacts.clear();
            self.tell_again(&run, &mut parcel.notices);
            // Its messages say so now; where even they cannot be kept, they are lost if this process ends before they are sent.
            if self.put(report, &mut run, &mut parcel, None, &Deadline::never()).await.is_err() {
                run.result = None;
            }
        }
        self.note(vec![end_of(&run)]).await?;
        failpoint("report_ended");
        Ok((run, parcel))
    }

    /// Adds what alerts have firing to what a run that did not judge them tells: they have not ended.
    fn tell_again(&self, run: &Run, notices: &mut Vec<Notice>) {
        let firing = self.0.alerts.known().firing(&run.report, &self.0.silences.now(), self.now_ms());
        let is_told =
            |firing: &Notice| notices.iter().any(|told| (&told.rule, &told.labels) == (&firing.rule, &firing.labels));
        let untold: Vec<Notice> = firing.into_iter().filter(|firing| !is_told(firing)).collect();
        notices.extend(untold);
    }

    /// Puts the files into their folder, and then the rows into their table: by the rows whoever comes later knows that all was done. Before its time is
    /// over, or not at all.
    async fn put(
        &self,
        report: &Report,
        run: &mut Run,
        parcel: &mut Parcel,
        rows: Option<Prepared>,
        deadline: &Deadline,
    ) -> Result<()> {
        run.deliveries = letters::due(report, run, &parcel.notices, self.now_ms());
        parcel.summary = letters::summary(report, run, &parcel.notices);
        let has_files = !parcel.artifacts.is_empty() || !run.deliveries.is_empty();
        let folder = results::folder_of(&run.report, &run.id);
        run.result = has_files.then(|| self.0.home.dir().join(folder).display().to_string());
        let (home, run, parcel, deadline) = (self.0.home.clone(), run.clone(), parcel.clone(), deadline.clone());
        blocking(move || {
            match has_files {
                true => results::write(&home, &run.report, &run.id, &parcel, &deadline).map(|_| ())?,
                false => results::remove(&home, &run.report, &run.id)?,
            }
            failpoint("report_put");
            if let Some(prepared) = rows {
                deadline.check()?;
                let rows = prepared.rows();
                prepared.commit(Some(RecordedRun { report: run.report, run: run.id, rows }))?;
                failpoint("report_recorded");
            }
            Ok(())
        })
        .await
    }
}

/// The entry that notes the end of a run.
pub(super) fn end_of(run: &Run) -> Entry {
    Entry::Ended {
        id: run.id.clone(),
        ended_ms: run.ended_ms.unwrap_or(run.started_ms),
        status: run.status,
        rows: run.rows,
        error: run.error.clone(),
        result: run.result.clone(),
        deliveries: run.deliveries.clone(),
    }
}
