//! Single attributes that are read of rows with windows are read below the windows, beside the scan.
//!
//! DataFusion moves what reads an attribute towards the scan, which has columns for single ones, but not past windows: these give columns of their own
//! next to those that come, and name them after their arguments. The map of attributes would be read as a whole, and held with each trace.

use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExpressionPlacement, LogicalPlan, Projection, Window};
use datafusion::optimizer::extract_leaf_expressions::PushDownLeafProjections;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::engine::functions::is_attribute;

/// DataFusion knows by it what its own rule moves further down.
const MOVED_PREFIX: &str = "__datafusion_extracted";

/// The rule; it runs when DataFusion has moved what reads attributes as far as it does.
#[derive(Debug, Default)]
pub(in crate::engine) struct AttributesBelowWindows {
    further: PushDownLeafProjections,
}

impl OptimizerRule for AttributesBelowWindows {
    fn name(&self) -> &str {
        "attributes_below_windows"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let moved = match &plan {
            LogicalPlan::Projection(projection) => self.above_window(projection, config)?,
            LogicalPlan::Window(window) => self.in_window(window, config)?,
            _ => None,
        };
        Ok(moved.map_or_else(|| Transformed::no(plan), Transformed::yes))
    }
}

impl AttributesBelowWindows {
    /// A projection above windows, with what it reads of the rows that come to these read below them.
    fn above_window(&self, projection: &Projection, config: &dyn OptimizerConfig) -> Result<Option<LogicalPlan>> {
        let LogicalPlan::Window(window) = projection.input.as_ref() else { return Ok(None) };
        let mut reads = Reads::of(window.input.schema(), config.alias_generator());
        let mut exprs = Vec::with_capacity(projection.expr.len());
        for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
            let moved = reads.moved(expr)?;
            exprs.push(match moved.data {
                data @ Expr::Alias(_) => data,
                data if moved.transformed => data.alias_qualified(qualifier.cloned(), field.name()),
                data => data,
            });
        }
        let Some(input) = self.below(window, &reads, config)? else { return Ok(None) };
        let window = LogicalPlan::Window(Window::try_new(window.window_expr.clone(), Arc::new(input))?);
        Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(window))?)))
    }

    /// Windows with what their arguments read below them, under the names that they have now.
    fn in_window(&self, window: &Window, config: &dyn OptimizerConfig) -> Result<Option<LogicalPlan>> {
        let mut reads = Reads::of(window.input.schema(), config.alias_generator());
        let moved = window.window_expr.iter().map(|expr| reads.moved(expr).data()).collect::<Result<_>>()?;
        let Some(input) = self.below(window, &reads, config)? else { return Ok(None) };
        let given = window.input.schema().fields().len();
        let comes = input.schema().fields().len();
        let windows = LogicalPlan::Window(Window::try_new(moved, Arc::new(input))?);
        let known = window.schema.columns();
        let made = windows.schema().columns().into_iter().skip(comes);
        let renamed = made.zip(&known[given..]).map(|(made, known)| Expr::Column(made).alias(known.name.clone()));
        let exprs: Vec<Expr> = known[..given].iter().cloned().map(Expr::Column).chain(renamed).collect();
        Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(windows))?)))
    }

    /// What comes to a window with what is read of it beside; `None` when nothing is.
    fn below(&self, window: &Window, reads: &Reads, config: &dyn OptimizerConfig) -> Result<Option<LogicalPlan>> {
        if reads.found.is_empty() {
            return Ok(None);
        }
        let columns = window.input.schema().columns().into_iter().map(Expr::Column);
        let read = reads.found.iter().map(|(expr, name)| expr.clone().alias(name.clone()));
        let below = Projection::try_new(columns.chain(read).collect(), window.input.clone())?;
        self.further.rewrite(LogicalPlan::Projection(below), config).data().map(Some)
    }
}

/// What is read of single attributes of the rows that come to a window.
struct Reads<'a> {
    of: &'a DFSchema,
    names: &'a AliasGenerator,
    /// Each with the name under which it comes.
    found: Vec<(Expr, String)>,
}

impl<'a> Reads<'a> {
    fn of(of: &'a DFSchema, names: &'a AliasGenerator) -> Self {
        Self { of, names, found: Vec::new() }
    }

    /// The expression with columns in the place of what reads attributes.
    fn moved(&mut self, expr: &Expr) -> Result<Transformed<Expr>> {
        expr.clone().transform_down(|expr| {
            if !self.is_read(&expr) {
                return Ok(Transformed::no(expr));
            }
            let known = self.found.iter().find(|(found, _)| *found == expr).map(|(_, name)| name.clone());
            let name = known.unwrap_or_else(|| {
                let name = self.names.next(MOVED_PREFIX);
                self.found.push((expr, name.clone()));
                name
            });
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
        })
    }

    fn is_read(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::ScalarFunction(_))
            && is_attribute(expr)
            && expr.placement() == ExpressionPlacement::MoveTowardsLeafNodes
            && expr.column_refs().iter().all(|column| self.of.has_column(column))
    }
}
