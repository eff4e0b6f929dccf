//! Planning that can be given up: rules look at the statement's [`Stop`] before they begin.
//!
//! Whoever waits for a plan goes when the statement is cancelled or its time is over; the planning itself has no place to wait at, so that
//! it would hold a query thread until it is done.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::engine::stop::Stop;

/// A rule of any kind that can be given up.
#[derive(Debug)]
pub(in crate::engine) struct Abandon<R: ?Sized>(Arc<R>);

impl<R: ?Sized> Abandon<R> {
    /// All rules with a look at the stop before each.
    pub(in crate::engine) fn wrap(rules: Vec<Arc<R>>) -> Vec<Arc<Self>> {
        rules.into_iter().map(|rule| Arc::new(Self(rule))).collect()
    }
}

impl AnalyzerRule for Abandon<dyn AnalyzerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        Stop::check_in(options)?;
        self.0.analyze(plan, options)
    }
}

impl OptimizerRule for Abandon<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        Stop::check_in(&config.options())?;
        self.0.rewrite(plan, config)
    }
}

impl PhysicalOptimizerRule for Abandon<dyn PhysicalOptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Stop::check_in(options)?;
        self.0.optimize(plan, options)
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}
