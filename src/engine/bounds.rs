//! What the calls of one statement may make outside the memory pool: shared out among them before it runs.

use std::any::Any;

use datafusion::common::ScalarValue;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::functions::{constant_list_bytes, is_bounded};

/// The most bytes that one call may make of one batch.
pub(super) const MAX_MADE_BYTES: usize = 64 << 20;

/// The most bytes that all calls of a statement may make of one batch together, as their results are alive side by side.
pub(super) const MAX_STATEMENT_MADE_BYTES: usize = 256 << 20;

/// Constants shorter than this are written beside each row of a batch without being counted: 8,192 rows of them take 8 MiB.
const SMALL_CONSTANT_BYTES: usize = 1 << 10;

/// The bounds of one statement, where its functions find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatementBounds {
    /// What one call may make of one batch.
    pub made_bytes: i128,
    /// Whether the statement is being planned: large constants are not made then.
    pub folding: bool,
}

impl Default for StatementBounds {
    fn default() -> Self {
        Self { made_bytes: MAX_MADE_BYTES as i128, folding: false }
    }
}

impl StatementBounds {
    /// Shares what a statement may make among its calls.
    pub fn of(plan: &LogicalPlan) -> Result<Self> {
        let calls = count(plan, |expr| match expr {
            Expr::ScalarFunction(call) => usize::from(is_bounded(call.func.name())),
            _ => 0,
        })?;
        let made_bytes = MAX_MADE_BYTES.min(MAX_STATEMENT_MADE_BYTES / calls.max(1)) as i128;
        Ok(Self { made_bytes, folding: false })
    }

    /// The bounds that a call finds in its options.
    pub fn within(options: &ConfigOptions) -> Self {
        options.extensions.get::<Self>().copied().unwrap_or_default()
    }
}

/// Rows of a batch, fewer than `usual` where the constants of a plan, written beside each row, would take too much.
pub(super) fn batch_rows(plan: &LogicalPlan, usual: usize) -> Result<usize> {
    let bytes = count(plan, |expr| match expr {
        Expr::Literal(value, _) => large_constant_bytes(value),
        _ => 0,
    })?;
    let bytes = bytes.saturating_add(constant_lists_bytes(plan)?);
    Ok((MAX_MADE_BYTES / bytes.max(1)).clamp(1, usual))
}

/// The bytes of the columns that are calls of constants: each becomes a constant once it runs.
fn constant_lists_bytes(plan: &LogicalPlan) -> Result<usize> {
    let mut total = 0_usize;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let mut expr = expr;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            if let Expr::ScalarFunction(call) = expr {
                total = total.saturating_add(constant_list_bytes(call));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(total)
}

fn large_constant_bytes(value: &ScalarValue) -> usize {
    let bytes = match value.try_as_str() {
        Some(text) => text.map_or(0, str::len),
        None => value.size(),
    };
    if bytes < SMALL_CONSTANT_BYTES { 0 } else { bytes }
}

/// Sums over all expressions of a plan and of its subqueries; rows of `VALUES` are as many as were written.
pub(super) fn count(plan: &LogicalPlan, weight: impl Fn(&Expr) -> usize) -> Result<usize> {
    let mut total = 0_usize;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                total = total.saturating_add(weight(expr));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(total)
}

impl ConfigExtension for StatementBounds {
    const PREFIX: &'static str = "statement_bounds";
}

impl ExtensionOptions for StatementBounds {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(*self)
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        datafusion::common::config_err!("{key} is no setting")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
