//! What a process left that is gone: runs without an end, and deliveries that nobody makes.

use std::collections::BTreeSet;

use super::end::end_of;
use super::{Runner, blocking};
use crate::error::{OBJECT_IN_USE, Result};
use crate::report::definition::Report;
use crate::report::folder::Standing;
use crate::report::history::{Delivered, Entry, Run, Status};
use crate::report::letters;
use crate::report::record::TablesFolder;
use crate::report::results::{self, Parcel};
use crate::report::turn::{Delivering, Turn};
use crate::report::work::Worked;
use crate::store::failpoint;

impl Runner {
    /// Takes a report's turn, and notes the end of its runs that have none: no process is at work on them. `report` is what it is now, if it
    /// still is.
    ///
    /// # Errors
    /// [`crate::error::Kind::Overloaded`] with SQLSTATE 55006 while a run of the report has not ended, in whatever process.
    pub(in crate::report) async fn turn(&self, name: &str, report: Option<&Report>) -> Result<Turn> {
        let (home, of) = (self.0.home.clone(), name.to_owned());
        let turn = blocking(move || Turn::take(&home, &of)).await?;
        self.catch_up().await?;
        let dead: Vec<Run> = self.history().unfinished().filter(|run| run.report == name).cloned().collect();
        for run in dead {
            self.bury(run, report).await?;
        }
        Ok(turn)
    }

    /// Notes the end of all runs whose process is gone, and gives the runs with deliveries that no other process makes. `standing` knows reports by
    /// name as they are now; runs of one that nobody knows about wait.
    pub(in crate::report) async fn left_behind(&self, standing: impl Fn(&str) -> Standing) -> Result<Vec<Run>> {
        self.catch_up().await?;
        let unfinished: BTreeSet<String> = self.history().unfinished().map(|run| run.report.clone()).collect();
        for name in unfinished {
            let report = match standing(&name) {
                Standing::There(report) => Some(report),
                Standing::Gone => None,
                Standing::Unknown => continue,
            };
            if Turn::is_taken(&self.0.home, &name) {
                continue;
            }
            match self.turn(&name, report.as_deref()).await {
                Ok(turn) => drop(turn),
                // Who took it in between sees to it.
                Err(error) if error.sqlstate() == OBJECT_IN_USE => {}
                Err(error) => tracing::error!(report = name, %error, "the end of a run could not be noted"),
            }
        }
        let home = &self.0.home;
        let is_free = |run: &&Run| !Turn::is_taken(home, &run.report) && !Delivering::is_taken(home, &run.report);
        Ok(self.history().undelivered().filter(is_free).cloned().collect())
    }

    /// Notes the end of a run whose process is gone. Whose rows are in their table had done everything before that, and ended well.
    async fn bury(&self, run: Run, report: Option<&Report>) -> Result<()> {
        let (home, dead) = (self.0.home.clone(), run.clone());
        let table = report.and_then(|report| report.record.as_ref()).map(|record| record.table.clone());
        let (recorded, parcel) = blocking(move || {
            let recorded = TablesFolder::of(&home).recorded(&dead.id, table.as_deref())?;
            Ok((recorded, results::read(&home, &results::folder_of(&dead.report, &dead.id)).unwrap_or_default()))
        })
        .await?;
        let worked = match recorded {
            Some(recorded) => {
                tracing::warn!(run = run.id, "a run of a report had recorded its rows when its process ended");
                Worked { rows: Some(recorded.rows), parcel, ..Worked::ended(Status::Succeeded, None) }
            }
            None => {
                tracing::warn!(run = run.id, "a run of a report ended with its process");
                let mut died = Worked::ended(Status::Died, Some("its process ended before it did".to_owned()));
                died.parcel.notices = self.noted_alerts(&run.id).await?;
                died
            }
        };
        match report {
            Some(report) => self.ended(report, run, worked).await.map(|_| ()),
            None => {
                let Worked { status, rows, error, .. } = worked;
                let untold = "the report is not there any more, and nothing of the run is delivered";
                let error = Some(error.map_or(untold.to_owned(), |error| format!("{error}; {untold}")));
                self.note(vec![end_of(&Run { status, rows, error, ended_ms: Some(self.now_ms()), ..run })]).await
            }
        }
    }

    /// The notices of a run that were to be told when its process ended.
    pub(super) async fn noted_alerts(&self, run_id: &str) -> Result<Vec<crate::report::Notice>> {
        let (alerts, run_id) = (self.0.alerts.clone(), run_id.to_owned());
        blocking(move || letters::noted(alerts.journal(), &run_id)).await
    }

    /// A run and one of its deliveries, if that is still to be made, whatever other processes have done.
    pub(in crate::report) async fn still_pending(&self, run_id: &str, name: &str) -> Result<Option<(Run, Delivered)>> {
        self.catch_up().await?;
        let history = self.history();
        let Some(run) = history.run(run_id) else { return Ok(None) };
        let pending = letters::pending(run).find(|pending| pending.name == name);
        Ok(pending.map(|pending| (run.clone(), pending.clone())))
    }

    /// What a run left in its folder for its deliveries. Waits for the disk.
    pub(in crate::report) async fn parcel(&self, run: &Run) -> Result<Parcel> {
        let (home, folder) = (self.0.home.clone(), results::folder_of(&run.report, &run.id));
        blocking(move || results::read(&home, &folder)).await
    }

    pub(in crate::report) async fn note_delivered(&self, run_id: &str, delivered: Delivered) -> Result<()> {
        self.note(vec![Entry::Delivered { id: run_id.to_owned(), delivered }]).await?;
        failpoint("report_delivered");
        Ok(())
    }

    /// Notes that what is still to be delivered of a run nobody can deliver.
    pub(in crate::report) async fn give_up(&self, run_id: &str, why: &str) -> Result<()> {
        self.catch_up().await?;
        let Some(run) = self.history().run(run_id).cloned() else { return Ok(()) };
        let failed = letters::given_up(&run, why, self.now_ms());
        let entries = failed.into_iter().map(|delivered| Entry::Delivered { id: run.id.clone(), delivered });
        self.note(entries.collect()).await
    }
}
