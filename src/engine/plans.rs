//! Plans of statements that are asked again: a dashboard or a driver sends the same text many times, and planning is most of a small
//! question's time.
//!
//! A plan is kept while it says the same to whoever asks, whenever: nothing of a snapshot is in it, and a text that reads the clock or
//! the session is not kept.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, Volatility, WindowFunctionDefinition};
use lru::LruCache;

use super::recorded::is_recorded;
use super::scan::SpansTable;
use super::span_tree::SpanTreeTable;
use super::statement::Statement;

/// The longest text that is kept; one that a program wrote out is seldom sent again.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// The most texts, which is more than the panels of some dashboards have.
const MAX_TEXTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(512 - 1);
/// The most expressions of all kept plans together; with its name one takes some 200 bytes, and each plan is there twice.
const MAX_EXPRESSIONS: usize = 100_000;

/// Words of constants and functions that are the clock's or the session's, and that planning may have put their values in the place of.
const MOMENTS: &[&str] = &["now", "today", "tomorrow", "yesterday", "current", "local"];

/// The statements of texts, planned.
#[derive(Debug)]
pub(super) struct KnownPlans {
    most_expressions: usize,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    by_text: LruCache<Asked, Arc<[Statement]>>,
    expressions: usize,
}

/// What a plan depends on: the text, and the zone in which it names times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub text: String,
    pub time_zone: String,
}

/// What is kept of a plan that gives the same rows of the same spans at any time and in any session.
#[derive(Debug)]
pub(super) struct Lasting {
    expressions: usize,
    /// Whether spans are all that it reads.
    is_of_spans: bool,
    optimized: OnceLock<LogicalPlan>,
}

impl Default for KnownPlans {
    fn default() -> Self {
        Self::with_at_most(MAX_EXPRESSIONS)
    }
}

impl KnownPlans {
    fn with_at_most(most_expressions: usize) -> Self {
        Self { most_expressions, known: Mutex::new(Known { by_text: LruCache::new(MAX_TEXTS), expressions: 0 }) }
    }

    /// The statements of a text, if they are known.
    pub fn get(&self, asked: &Asked) -> Option<Arc<[Statement]>> {
        self.lock().by_text.get(asked).cloned()
    }

    /// Keeps the statements of a text where each of them may be kept, and lets go of others for them.
    pub fn keep(&self, asked: Asked, statements: &[Statement]) {
        let Some(expressions) = expressions_of(statements).filter(|_| asked.text.len() <= MAX_TEXT_BYTES) else {
            return;
        };
        let mut known = self.lock();
        known.expressions += expressions;
        if let Some((_, gone)) = known.by_text.push(asked, statements.into()) {
            known.forget(&gone);
        }
        while known.expressions > self.most_expressions {
            let Some((_, gone)) = known.by_text.pop_lru() else { break };
            known.forget(&gone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, statements: &[Statement]) {
        self.expressions -= expressions_of(statements).unwrap_or_default();
    }
}

/// How many expressions the plans of statements have together; `None` where one of them has no plan that may be kept.
fn expressions_of(statements: &[Statement]) -> Option<usize> {
    statements.iter().map(|statement| statement.lasting().map(|lasting| lasting.expressions)).sum()
}

impl Lasting {
    /// What can be kept of a statement's plan; `None` where it has to be planned anew each time.
    pub fn of(text: &str, plan: &LogicalPlan) -> Result<Option<Self>> {
        let text = text.to_ascii_lowercase();
        let is_of_moment = MOMENTS.iter().any(|word| text.contains(word));
        if is_of_moment || matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) {
            return Ok(None);
        }
        let (mut expressions, mut lasts, mut is_of_spans) = (0, true, true);
        plan.apply_with_subqueries(|node| {
            is_of_spans &= !matches!(node, LogicalPlan::TableScan(scan) if !is_spans(scan));
            // Its `*` may be other columns the next time.
            lasts &= !matches!(node, LogicalPlan::TableScan(scan) if is_recorded(scan));
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    expressions += 1;
                    lasts &= is_lasting(part);
                    Ok(if lasts { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
                })
            })
        })?;
        Ok(lasts.then(|| Self { expressions, is_of_spans, optimized: OnceLock::new() }))
    }

    /// Whether it runs without the names of functions: they are in the plan, and nothing that it reads lists them.
    pub fn needs_no_names(&self) -> bool {
        self.is_of_spans && self.optimized.get().is_some()
    }

    /// The plan as the optimizer leaves it, by `optimize` where it has not seen it yet.
    pub fn optimized(&self, optimize: impl FnOnce() -> Result<LogicalPlan>) -> Result<LogicalPlan> {
        if let Some(optimized) = self.optimized.get() {
            return Ok(optimized.clone());
        }
        let optimized = optimize()?;
        Ok(self.optimized.get_or_init(|| optimized).clone())
    }
}

fn is_spans(scan: &TableScan) -> bool {
    source_as_provider(&scan.source).is_ok_and(|table| table.is::<SpansTable>() || table.is::<SpanTreeTable>())
}

fn is_lasting(expr: &Expr) -> bool {
    let volatility = match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility,
        Expr::AggregateFunction(call) => call.func.signature().volatility,
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.signature().volatility,
            WindowFunctionDefinition::WindowUDF(function) => function.signature().volatility,
        },
        Expr::Placeholder(_) | Expr::ScalarVariable(..) | Expr::HigherOrderFunction(_) => return false,
        _ => return true,
    };
    volatility == Volatility::Immutable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineSettings, Session};
    use crate::store::{Store, StoreSettings};

    async fn engine() -> (tempfile::TempDir, Arc<Engine>) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path(), StoreSettings::default()).await.expect("a store");
        (dir, Engine::new(store, EngineSettings::default()).expect("an engine"))
    }

    async fn is_planned_once(session: &Session, text: &str) -> bool {
        let first = session.prepare(text).await.expect(text);
        let again = session.prepare(text).await.expect(text);
        first[0].is_same_work(&again[0])
    }

    #[tokio::test]
    async fn a_text_is_planned_once_unless_it_reads_the_clock_or_the_session() {
        let (_dir, engine) = engine().await;
        let session = engine.session();
        for text in [
            "SELECT count(*) FROM spans WHERE timestamp >= '2026-01-01' AND attributes['k'] = 'v'",
            "SELECT service_name, quantile(0.95)(duration_ms) FROM spans GROUP BY 1",
            "SELECT (SELECT max(duration_ms) FROM spans), row_number() OVER (ORDER BY span_id) FROM spans",
            "SELECT * FROM traces.traces",
        ] {
            assert!(is_planned_once(&session, text).await, "{text}");
        }
        for text in [
            "SELECT now()",
            "SELECT count(*) FROM spans WHERE timestamp >= 'today'",
            "SELECT count(*) FROM spans WHERE timestamp > NOW() - INTERVAL '1 hour'",
            "SELECT * FROM generate_series(CURRENT_DATE, CURRENT_DATE + 1, INTERVAL '1 day')",
            "SELECT count(*) FROM spans WHERE random() < 0.5",
            "SELECT (SELECT max(random()) FROM spans)",
            "SELECT session_user",
            "SELECT to_char(timestamp, 'HH24') FROM spans",
            "SELECT * FROM spans WHERE span_id = $1",
            "EXPLAIN SELECT 1",
            "SHOW timezone",
        ] {
            assert!(!is_planned_once(&session, text).await, "{text}");
        }
    }

    #[tokio::test]
    async fn each_zone_has_a_plan_of_its_own_which_sessions_share() {
        let (_dir, engine) = engine().await;
        let text = "SELECT count(*) FROM spans WHERE timestamp >= '2026-01-01'";
        let (here, there) = (engine.session(), engine.session());
        let before = here.prepare(text).await.expect("planned");
        assert!(before[0].is_same_work(&there.prepare(text).await.expect("planned")[0]));
        there.set("timezone", "Europe/Berlin").expect("a zone");
        assert!(!before[0].is_same_work(&there.prepare(text).await.expect("planned")[0]));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_the_newest_stays() {
        let (_dir, engine) = engine().await;
        let session = engine.session();
        let known = KnownPlans::with_at_most(30);
        let asked = |n: usize| Asked { text: format!("SELECT 1 + {n}"), time_zone: "UTC".into() };
        for n in 0..20 {
            let statements = session.prepare(&asked(n).text).await.expect("planned");
            known.keep(asked(n), &statements);
            assert!(known.get(&asked(n)).is_some());
        }
        assert!(known.get(&asked(0)).is_none());
        let known = known.lock();
        let kept: usize = known.by_text.iter().filter_map(|(_, statements)| expressions_of(statements)).sum();
        assert_eq!(known.expressions, kept);
        assert!((20..=30).contains(&kept), "{kept}");
    }

    #[tokio::test]
    async fn long_texts_are_not_kept() {
        let (_dir, engine) = engine().await;
        let text = format!("SELECT '{}'", "x".repeat(MAX_TEXT_BYTES));
        assert!(!is_planned_once(&engine.session(), &text).await);
    }
}
