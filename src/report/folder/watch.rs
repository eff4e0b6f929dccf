//! The folder looked at again and again while a server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Folder;
use super::kept::{self, Change, Kept};
use super::scan::{self, Haste, Scanned};
use crate::engine::Engine;
use crate::report::check::check;
use crate::report::header::Definition;
use crate::report::mistake::Mistake;

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// After so many looks statements that could not be planned are planned again: a table that they read may be there now.
const LOOKS_TO_PLAN_AGAIN: u64 = 30;

/// So many statements are planned at once: one that a disk keeps waiting holds up few others.
const MOST_PLANNED_AT_ONCE: usize = 4;

/// What is new in the folder.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// There is a version of a report that was not there before.
    Taken(String),
    Gone(String),
    /// A report's newest version is wrong; the one before it, if there is one, goes on.
    Wrong {
        name: String,
        goes_on: bool,
        mistakes: Vec<Mistake>,
    },
    /// A file is no report's.
    Stray(Mistake),
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(name) => write!(f, "report {name} was read"),
            Self::Gone(name) => write!(f, "report {name} is gone"),
            Self::Wrong { name, goes_on, mistakes } => {
                let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                let end = if *goes_on { "the version before it goes on" } else { "it does not run" };
                write!(f, "report {name} is wrong, {end}: {}", lines.join("; "))
            }
            Self::Stray(mistake) => write!(f, "{mistake}"),
        }
    }
}

/// A version whose statement is to be planned before it is taken.
struct ToPlan {
    name: String,
    candidate: Definition,
    /// The good version before it.
    before: Option<Definition>,
}

impl ToPlan {
    fn of(name: &str, candidate: Option<Definition>, before: Option<Definition>) -> Option<Self> {
        candidate.map(|candidate| Self { name: name.to_owned(), candidate, before })
    }
}

impl Folder {
    /// Plans what was read when the folder was opened, and then looks at it again and again until told to stop. Says in the log what is new, and what
    /// is wrong; statements are planned before a version is taken.
    pub async fn watch(self: Arc<Self>, engine: Arc<Engine>, stop: CancellationToken) {
        let watching = async {
            tell(self.plan(&engine).await);
            loop {
                tokio::time::sleep(EVERY).await;
                tell(self.refresh(Some(&engine)).await);
            }
        };
        tokio::select! {
            () = watching => {}
            () = stop.cancelled() => {}
        }
    }

    /// Looks at the folder once; a file that changed is read when it is the same at the next look.
    pub async fn refresh(self: &Arc<Self>, engine: Option<&Arc<Engine>>) -> Vec<News> {
        self.look(engine, Haste::OnceStill).await
    }

    /// Plans the statements of what was read, so that those that are wrong are so before anything is run.
    pub async fn plan(self: &Arc<Self>, engine: &Arc<Engine>) -> Vec<News> {
        self.look(Some(engine), Haste::Now).await
    }

    async fn look(self: &Arc<Self>, engine: Option<&Arc<Engine>>, haste: Haste) -> Vec<News> {
        let _turn = self.turn.lock().await;
        let folder = self.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let (known, watched) = {
                let state = folder.state();
                (state.kept.clone(), state.watched)
            };
            let scanned = scan::scan(&folder.dir, &known, watched, haste);
            folder.remember(&scanned.watched, &watched);
            scanned
        });
        let Ok(scanned) = scanned.await else { return Vec::new() };
        let is_listed = scanned.is_listed;
        let (mut news, to_plan) = self.take_in(scanned);
        match engine {
            Some(engine) => news.extend(self.planned(engine, to_plan).await),
            None => news.extend(to_plan.into_iter().map(|to_plan| News::Taken(to_plan.name))),
        }
        self.show();
        if engine.is_some() && is_listed && !news.is_empty() {
            self.write_down(&news).await;
        }
        news
    }

    /// Writes down for the next process what was taken, and forgets what is gone.
    async fn write_down(self: &Arc<Self>, news: &[News]) {
        let is_taken = |name: &String| news.iter().any(|new| matches!(new, News::Taken(taken) if taken == name));
        let (taken, known): (Vec<Definition>, BTreeSet<String>) = {
            let state = self.state();
            let taken = state.kept.iter().filter(|(name, _)| is_taken(name));
            (taken.filter_map(|(_, kept)| kept.good.clone()).collect(), state.kept.keys().cloned().collect())
        };
        let folder = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let Some(last_good) = &folder.last_good else { return };
            taken.iter().for_each(|definition| last_good.write(definition));
            last_good.keep_only(&known);
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, "the last good versions of reports were not written down");
        }
    }

    /// Plans what is to be planned, and shows each version as soon as it is.
    async fn planned(&self, engine: &Arc<Engine>, to_plan: Vec<ToPlan>) -> Vec<News> {
        let before = |to_plan: &ToPlan| (to_plan.name.clone(), to_plan.before.clone());
        self.state().planning.extend(to_plan.iter().map(before));
        self.show();
        let checked = to_plan.into_iter().enumerate().map(|(at, to_plan)| async move {
            let checked = check(engine, &to_plan.candidate).await;
            let mistakes = checked.unwrap_or_else(|error| {
                tracing::warn!(report = to_plan.name, %error, "the statement of a report could not be checked");
                Vec::new()
            });
            (at, to_plan, mistakes)
        });
        let mut checked = futures::stream::iter(checked).buffer_unordered(MOST_PLANNED_AT_ONCE);
        let mut news = BTreeMap::new();
        while let Some((at, to_plan, mistakes)) = checked.next().await {
            news.extend(self.take_planned(to_plan, mistakes).map(|new| (at, new)));
            self.show();
        }
        news.into_values().collect()
    }

    /// Takes in what was seen; gives what is new, and what is to be planned.
    fn take_in(&self, scanned: Scanned) -> (Vec<News>, Vec<ToPlan>) {
        let mut state = self.state();
        let (mut news, mut to_plan) = (Vec::new(), Vec::new());
        let is_first = state.reads == 0;
        state.reads += 1;
        let plans_again = state.reads.is_multiple_of(LOOKS_TO_PLAN_AGAIN);
        news.extend(
            scanned.stray.iter().filter(|mistake| is_first || !state.stray.contains(mistake)).cloned().map(News::Stray),
        );
        (state.stray, state.is_listed, state.watched) = (scanned.stray, scanned.is_listed, scanned.watched);
        for (name, seen) in scanned.reports {
            let known = state.kept.remove(&name);
            let before = known.as_ref().and_then(|kept| kept.good.clone());
            let last = state.before.remove(&name);
            let next = kept::next(known, seen);
            let good = next.kept.as_ref().and_then(|kept| kept.good.clone());
            match next.change {
                Some(Change::Taken) => to_plan.extend(ToPlan::of(&name, good, last.or(before))),
                Some(Change::Wrong) => news.push(wrong(&name, next.kept.as_ref())),
                Some(Change::Gone) => news.push(News::Gone(name.clone())),
                // What was read when the folder was opened was neither planned nor told.
                None if is_first => match next.kept.as_ref() {
                    Some(kept) if !kept.mistakes.is_empty() => news.push(wrong(&name, Some(kept))),
                    _ => to_plan.extend(ToPlan::of(&name, good, last)),
                },
                None => {
                    let unplanned = next.kept.as_ref().and_then(|kept| kept.unplanned.clone()).filter(|_| plans_again);
                    to_plan.extend(ToPlan::of(&name, unplanned, good));
                }
            }
            state.kept.extend(next.kept.map(|kept| (name, kept)));
        }
        (news, to_plan)
    }

    fn take_planned(&self, to_plan: ToPlan, mistakes: Vec<Mistake>) -> Option<News> {
        let ToPlan { name, candidate, before } = to_plan;
        let mut state = self.state();
        state.planning.remove(&name);
        let kept = state.kept.remove(&name)?;
        let next = kept::planned(kept, candidate, before, mistakes);
        let news = match next.change {
            Some(Change::Taken) => Some(News::Taken(name.clone())),
            Some(Change::Wrong) => Some(wrong(&name, next.kept.as_ref())),
            Some(Change::Gone) | None => None,
        };
        state.kept.extend(next.kept.map(|kept| (name, kept)));
        news
    }
}

/// Says in the log what is new.
fn tell(news: Vec<News>) {
    for news in news {
        match news {
            News::Taken(_) | News::Gone(_) => tracing::info!("{news}"),
            News::Wrong { .. } | News::Stray(_) => tracing::error!("{news}"),
        }
    }
}

fn wrong(name: &str, kept: Option<&Kept>) -> News {
    let mistakes = kept.map(|kept| kept.mistakes.clone()).unwrap_or_default();
    News::Wrong { name: name.to_owned(), goes_on: kept.is_some_and(|kept| kept.good.is_some()), mistakes }
}
