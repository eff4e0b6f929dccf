//! The engine: what all sessions share.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use tokio::runtime::Handle;

use super::activity::Activity;
use super::among_traces::AmongTraces;
use super::catalog::{self, Catalog};
use super::counted_rows::CountedRows;
use super::errors::from_datafusion;
use super::few_groups::FewGroups;
use super::functions;
use super::information_schema;
use super::machine::Machine;
use super::parameters::TimesAndIntervals;
use super::pg_catalog;
use super::planner::Dialect;
use super::plans::KnownPlans;
use super::recorded::{Recorded, RecordedTables};
use super::rules::{
    Abandon, AttributesBelowWindows, BestRows, BucketTimes, BuildOnWorkTable, CheckedIntegers, EachOnce, Forgiving,
    IdsAsBytes, IntervalOrder, Lateral, LenientText, LocalRecursion, Multisets, OneProjection, PlainScans,
    SessionTimes, SharedSketch, SortKeys, StoredTimes, SubqueryValues, TableFunctions, TraceLocal, TracesByStart,
    UnionTypes, UnlessSettled, UnnestedOrder,
};
use super::runtime::QueryRuntime;
use super::scan;
use super::scan::ColumnCache;
use super::script::{self, Body};
use super::session::Session;
use super::settings::EngineSettings;
use super::system::{IngestCount, ReportTeller, Sources};
use super::tally::Tally;
use super::top_rows::TopRows;
use super::traces::KnownRuns;
use crate::error::{Error, Result};
use crate::store::SnapshotSource;

/// The memory for parsed footers and page indexes: those of some hundred large files, least recently used ones go.
const METADATA_CACHE_BYTES: usize = 256 << 20;
/// The same of an engine that is one of several.
const PART_METADATA_CACHE_BYTES: usize = 16 << 20;

/// The shared part: functions, catalogue, memory pool and query runtime.
#[derive(Debug)]
pub struct Engine {
    source: Arc<dyn SnapshotSource>,
    settings: EngineSettings,
    state: SessionState,
    /// The same without functions by name.
    nameless: SessionState,
    machine: Machine,
    plans: KnownPlans,
    activity: Arc<Activity>,
    tally: Arc<Tally>,
    sources: Arc<Sources>,
    recorded: Arc<Recorded>,
}

impl Engine {
    /// Starts the query runtime over `source`.
    pub fn new(source: Arc<dyn SnapshotSource>, settings: EngineSettings) -> Result<Arc<Self>> {
        Self::on(Machine::new(&settings), source, settings)
    }

    /// Starts an engine over another source in the same process: it shares the threads and the temporary disk of this one, and its statements hold at
    /// most `settings.memory_bytes` of the memory of this one's.
    pub fn beside(&self, source: Arc<dyn SnapshotSource>, settings: EngineSettings) -> Result<Arc<Self>> {
        Self::on(self.machine.part(settings.memory_bytes), source, settings)
    }

    fn on(machine: Machine, source: Arc<dyn SnapshotSource>, settings: EngineSettings) -> Result<Arc<Self>> {
        let activity = Arc::new(Activity::default());
        let sources = Arc::new(Sources::default());
        let recorded = Arc::new(Recorded::default());
        let state = state_on(&machine, &settings, &activity, &sources, &recorded)?;
        let nameless = nameless(state.clone());
        let plans = KnownPlans::default();
        let engine = Arc::new(Self {
            source,
            settings,
            state,
            nameless,
            machine,
            plans,
            activity,
            tally: Arc::default(),
            sources,
            recorded,
        });
        engine.sources.loaded.ask(&engine);
        Ok(engine)
    }

    /// Opens a session with default settings.
    pub fn session(self: &Arc<Self>) -> Session {
        Session::new(self.clone())
    }

    /// How many statements are running now. One that was stopped counts until it has really ended.
    pub fn running_statements(&self) -> usize {
        match self.machine.is_whole {
            true => self.machine.runtime.running() + self.machine.background.running(),
            false => self.tally.running(),
        }
    }

    /// Whether it has the whole of what engines of a process share.
    pub(super) fn is_whole(&self) -> bool {
        self.machine.is_whole
    }

    /// The threads of work that nobody waits for; they take what ingest, the clients' statements and the table's upkeep leave of the processor.
    pub fn background(&self) -> Result<Handle> {
        self.machine.background.handle()
    }

    /// The sessions of clients that are open now.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Shows in `system.ingest` what `counts` gives, from now on; only the first call has an effect.
    pub fn count_ingest(&self, counts: impl Fn() -> Vec<IngestCount> + Send + Sync + 'static) {
        self.sources.counted.ask(counts);
    }

    /// Shows in `system.report_runs` and `system.alerts` what `teller` tells, from now on; only the first call has an effect.
    pub fn show_reports(&self, teller: Arc<dyn ReportTeller>) {
        self.sources.told.ask(teller);
    }

    /// Shows in `system.audit` the lines of the audit log in `folder`, from now on; only the first call has an effect.
    pub fn show_audit(&self, folder: PathBuf) {
        self.sources.audit.ask(folder, None);
    }

    /// The same, of which only the lines about a tenant are shown.
    pub fn show_audit_of(&self, tenant: &str, folder: PathBuf) {
        self.sources.audit.ask(folder, Some(tenant.to_owned()));
    }

    /// Who tells of reports, if anybody does.
    pub fn report_teller(&self) -> Option<Arc<dyn ReportTeller>> {
        self.sources.told.teller()
    }

    /// Shows `tables` in the schema `reports`, from now on; only the first call has an effect.
    pub fn show_recorded(&self, tables: Arc<dyn RecordedTables>) {
        self.recorded.ask(tables);
    }

    pub(super) fn source(&self) -> &Arc<dyn SnapshotSource> {
        &self.source
    }

    pub(super) fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    /// The state for statements whose plans are made already. It is copied for each of them, and names of functions are most of a copy.
    pub(super) fn nameless_state(&self) -> &SessionState {
        &self.nameless
    }

    /// Where statements of a session run.
    pub(super) fn runtime(&self, in_background: bool) -> &QueryRuntime {
        if in_background { &self.machine.background } else { &self.machine.runtime }
    }

    /// Where statements are counted.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    pub(super) fn plans(&self) -> &KnownPlans {
        &self.plans
    }
}

/// The state of an engine of its own.
#[cfg(test)]
pub(super) fn state(
    settings: &EngineSettings,
    activity: &Arc<Activity>,
    sources: &Arc<Sources>,
    recorded: &Arc<Recorded>,
) -> Result<SessionState> {
    state_on(&Machine::new(settings), settings, activity, sources, recorded)
}

fn state_on(
    machine: &Machine,
    settings: &EngineSettings,
    activity: &Arc<Activity>,
    sources: &Arc<Sources>,
    recorded: &Arc<Recorded>,
) -> Result<SessionState> {
    let (catalog, [internal, traces, system]) = Catalog::new(sources, recorded);
    let builder = SessionStateBuilder::new()
        .with_config(config(machine, settings))
        .with_runtime_env(Arc::new(runtime_env(machine)?))
        .with_default_features()
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rules(physical_optimizer_rules())
        .with_expr_planners(expr_planners());
    let context = SessionContext::new_with_state(builder.build());
    context.register_catalog(&settings.database, catalog);
    for function in functions::scalar_functions() {
        context.register_udf(function);
    }
    let known = context.state();
    for function in functions::bounded_functions(&|name| known.scalar_functions().get(name).cloned()) {
        context.register_udf(function);
    }
    for function in functions::aggregate_functions() {
        context.register_udaf(function);
    }
    for function in functions::window_functions() {
        context.register_udwf(function);
    }
    for (name, sql) in catalog::INTERNAL_VIEWS {
        internal.insert_view(name, view(&context.state(), sql)?);
    }
    for (name, sql) in catalog::VIEWS {
        traces.insert_view(name, view(&context.state(), sql)?);
    }
    for (name, sql) in catalog::SYSTEM_VIEWS {
        system.insert_view(name, view(&context.state(), sql)?);
    }
    information_schema::install(&context).map_err(from_datafusion)?;
    pg_catalog::install(&context, activity, recorded)?;
    Ok(context.state())
}

fn nameless(state: SessionState) -> SessionState {
    SessionStateBuilder::new_from_existing(state)
        .with_scalar_functions(Vec::new())
        .with_higher_order_functions(Vec::new())
        .with_aggregate_functions(Vec::new())
        .with_window_functions(Vec::new())
        .with_file_formats(Vec::new())
        .build()
}

/// Ours comes where subqueries are joins, filters are below projections, a lone DISTINCT is a GROUP BY, and what reads attributes is beside
/// the scan: moved there later, it would take the bytes of ids along under the name that their text has.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let known = Optimizer::new().rules.into_iter();
    let mut rules: Vec<_> = known.map(Forgiving::where_needed).map(UnnestedOrder::where_needed).collect();
    let after = rules.iter().position(|rule| rule.name() == "push_down_leaf_projections");
    let at = after.map_or(rules.len(), |at| at + 1);
    rules.insert(at, Arc::new(IdsAsBytes));
    rules.insert(at, Arc::new(SharedSketch));
    rules.insert(at, Forgiving::where_needed(Arc::new(AttributesBelowWindows::default())));
    let after = rules.iter().position(|rule| rule.name() == "push_down_filter");
    let at = after.map_or(rules.len(), |at| at + 1);
    rules.insert(at, Arc::new(StoredTimes));
    rules.insert(at, Arc::new(BucketTimes));
    rules.insert(at.saturating_sub(1), Arc::new(TracesByStart));
    rules.push(Arc::new(OneProjection));
    Abandon::wrap(rules).into_iter().map(|rule| rule as _).collect()
}

fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(TimesAndIntervals)];
    planners.extend(Dialect::planners());
    planners
}

/// Work on whole traces is found first, while scans tell what they read; sides of joins come where DataFusion has chosen them and nothing
/// rests on them yet; groups and limits come last.
pub(super) fn physical_optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let where_asked = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name() {
        "EnsureRequirements" => Arc::new(UnlessSettled::new(rule)) as _,
        _ => rule,
    };
    let mut rules: Vec<_> = PhysicalOptimizer::new().rules.into_iter().map(where_asked).collect();
    let after = rules.iter().position(|rule| rule.name() == "join_selection");
    let at = after.map_or(0, |at| at + 1);
    rules.insert(at, Arc::new(PlainScans));
    rules.insert(at, Arc::new(BuildOnWorkTable));
    rules.push(Arc::new(EachOnce));
    rules.push(Arc::new(FewGroups));
    rules.push(Arc::new(TopRows));
    rules.push(Arc::new(CountedRows));
    rules.insert(0, Arc::new(AmongTraces::default()));
    rules.insert(0, Arc::new(TraceLocal::default()));
    rules.insert(0, Arc::new(LocalRecursion::default()));
    Abandon::wrap(rules).into_iter().map(|rule| rule as _).collect()
}

/// Ours come first: they see types before DataFusion makes them agree. Arithmetic is checked where they do.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(TableFunctions),
        Arc::new(Lateral),
        Arc::new(SubqueryValues),
        Arc::new(BestRows),
        Arc::new(Multisets),
        Arc::new(UnionTypes),
        Arc::new(SessionTimes),
        Arc::new(IntervalOrder),
        Arc::new(LenientText),
    ];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(CheckedIntegers));
    rules.push(Arc::new(SortKeys));
    Abandon::wrap(rules).into_iter().map(|rule| rule as _).collect()
}

fn config(machine: &Machine, settings: &EngineSettings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(&settings.database, catalog::TRACES)
        .with_create_default_catalog_and_schema(false)
        // Ours is registered in its place.
        .with_information_schema(false)
        .with_extension(Arc::new(ColumnCache::new(settings.column_cache_bytes)))
        .with_extension(Arc::new(KnownRuns::default()))
        .with_extension(machine.spill.clone());
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".into());
    // Statistics come from the table's log; listing files would read each footer for them.
    options.execution.collect_statistics = false;
    // Errors tell where a name stands.
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = true;
    // PostgreSQL sorts NULL as the largest value.
    options.sql_parser.default_null_ordering = "nulls_max".into();
    // So many values of a join's small side reach the scan of the other as a list, from which traces are looked up.
    options.optimizer.hash_join_inlist_pushdown_max_distinct_values = scan::MAX_TRACES;
    // The rows of a trace are too few to share out.
    options.execution.use_row_number_estimates_to_optimize_partitioning = true;
    options.explain.show_statistics = false;
    config
}

fn runtime_env(machine: &Machine) -> Result<RuntimeEnv> {
    // What runs on disk does so as a statement.
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new()
        .with_memory_pool(machine.memory.clone())
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(if machine.is_whole { METADATA_CACHE_BYTES } else { PART_METADATA_CACHE_BYTES })
        .build()
        .map_err(from_datafusion)
}

fn view(state: &SessionState, sql: &str) -> Result<ViewTable> {
    let mut statements = script::parse(sql)?;
    let Some(Body::Query { ast, .. }) = statements.pop().map(|statement| statement.body) else {
        return Err(Error::internal("a view that is not a query"));
    };
    let statement = datafusion::sql::parser::Statement::Statement(ast);
    // Names resolve in memory, so this never waits.
    let plan = futures::executor::block_on(state.statement_to_plan(statement)).map_err(from_datafusion)?;
    Ok(ViewTable::new(plan, Some(sql.trim().to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session's state is a copy that registers every function anew, in no order, under its name and its aliases: one of DataFusion's that
    /// is left under an alias would take the name of ours back now and then.
    #[test]
    fn what_ours_replace_is_gone_under_its_aliases_too() {
        let state =
            state(&EngineSettings::default(), &Arc::default(), &Arc::default(), &Arc::default()).expect("a state");
        for (key, function) in state.aggregate_functions() {
            let owner = &state.aggregate_functions()[function.name()];
            assert!(Arc::ptr_eq(owner, function), "{key} is another {}", function.name());
        }
        for (key, function) in state.scalar_functions() {
            let owner = &state.scalar_functions()[function.name()];
            assert!(Arc::ptr_eq(owner, function), "{key} is another {}", function.name());
        }
    }
}
