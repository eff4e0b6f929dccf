//! What a process left that is gone: runs without an end, and deliveries that nobody makes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Runner, blocking, end_of};
use crate::error::Result;
use crate::report::definition::Report;
use crate::report::history::{Entry, Run, Status};
use crate::report::letters;
use crate::report::record::TablesFolder;
use crate::report::results;
use crate::report::turn::Turn;
use crate::report::work::Worked;

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

    /// Notes the end of all runs whose process is gone, and gives the runs with deliveries that no other process makes. `find` knows reports by
    /// name as they are now.
    pub(in crate::report) async fn left_behind(&self, find: impl Fn(&str) -> Option<Arc<Report>>) -> Result<Vec<Run>> {
        self.catch_up().await?;
        let unfinished: BTreeSet<String> = self.history().unfinished().map(|run| run.report.clone()).collect();
        for name in unfinished {
            if !Turn::is_taken(&self.0.home, &name) {
                // Who takes it in between sees to it.
                drop(self.turn(&name, find(&name).as_deref()).await);
            }
        }
        let is_free = |run: &&Run| !Turn::is_taken(&self.0.home, &run.report);
        Ok(self.history().undelivered().filter(is_free).cloned().collect())
    }

    /// Notes the end of a run whose process is gone. Whose rows are in their table had done everything before that, and ended well.
    async fn bury(&self, run: Run, report: Option<&Report>) -> Result<()> {
        let (home, dead) = (self.0.home.clone(), run.clone());
        let (recorded, parcel) = blocking(move || {
            let recorded = TablesFolder::of(&home).recorded(&dead.id)?;
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
                self.note(vec![end_of(&Run { status, rows, error, ended_ms: Some(self.now_ms()), ..run })]).await
            }
        }
    }

    /// The notices of a run that were to be told when its process ended.
    async fn noted_alerts(&self, run_id: &str) -> Result<Vec<crate::report::Notice>> {
        let (alerts, run_id) = (self.0.alerts.clone(), run_id.to_owned());
        blocking(move || letters::noted(alerts.journal(), &run_id)).await
    }

    /// Makes the deliveries of a run that an earlier process left.
    pub(in crate::report) async fn deliver_again(&self, report: Option<&Report>, run: Run) -> Result<Run> {
        let Some(report) = report else {
            return self.give_up(run, "the report is not there any more").await;
        };
        let (home, folder) = (self.0.home.clone(), results::folder_of(&run.report, &run.id));
        match blocking(move || results::read(&home, &folder)).await {
            Ok(parcel) => self.deliver(report, run, &parcel).await,
            Err(error) => self.give_up(run, &error.to_string()).await,
        }
    }

    async fn give_up(&self, run: Run, why: &str) -> Result<Run> {
        let failed = letters::given_up(&run, why, self.now_ms());
        let entries = failed.into_iter().map(|delivered| Entry::Delivered { id: run.id.clone(), delivered });
        self.note(entries.collect()).await?;
        Ok(self.history().run(&run.id).cloned().unwrap_or(run))
    }
}
