//! Single attributes that are asked of trees' rows are read by the scan below, which has columns for them, and not taken out of maps above.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::tree::{Given, TraceTree};
use super::tree_columns::TreeColumn;
use super::whole::WholeTracesExec;
use crate::engine::functions::attribute_read;

/// What a projection asks of trees' rows.
#[derive(Default)]
struct Asked {
    /// The columns that it takes as they are, which are numbers of those given now.
    columns: Vec<usize>,
    /// The reads of single attributes out of the maps among those.
    reads: Vec<Arc<dyn PhysicalExpr>>,
    maps: HashSet<usize>,
}

impl Asked {
    fn of(projection: &[ProjectionExpr]) -> Result<Self> {
        let mut asked = Self::default();
        for ProjectionExpr { expr, .. } in projection {
            expr.apply(|node| {
                if let Some(map) = map_read(node) {
                    asked.maps.insert(map);
                    if !asked.reads.contains(node) {
                        asked.reads.push(node.clone());
                    }
                    return Ok(TreeNodeRecursion::Jump);
                }
                asked.columns.extend(node.downcast_ref::<Column>().map(Column::index));
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        asked.columns.sort_unstable();
        asked.columns.dedup();
        Ok(asked)
    }

    /// Where what an expression takes of the rows is among `columns` and, after them, `reads`.
    fn moved(&self, expr: &Arc<dyn PhysicalExpr>, fields: &[String]) -> Result<Arc<dyn PhysicalExpr>> {
        let moved = expr.clone().transform_down(|node| {
            let read = map_read(&node).and_then(|_| self.reads.iter().position(|read| read.eq(&node)));
            let column = || self.columns.binary_search(&node.downcast_ref::<Column>()?.index()).ok();
            match read.map(|read| self.columns.len() + read).or_else(column) {
                Some(at) => {
                    let column = Arc::new(Column::new(&fields[at], at));
                    Ok(Transformed::new(column as _, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(node)),
            }
        });
        moved.data()
    }
}

/// The column of the map out of which an expression reads one attribute.
fn map_read(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    attribute_read(expr.as_ref())?.0.downcast_ref::<Column>().map(Column::index)
}

impl TraceTree {
    /// The projection over trees over `input`, where the scan reads the single attributes that it asks for; `None` when it asks for none, or for a map
    /// as a whole beside them.
    pub(super) fn with_attributes(
        &self,
        input: &WholeTracesExec,
        projection: &[ProjectionExpr],
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let asked = Asked::of(projection)?;
        let reads_whole = asked.columns.iter().any(|column| asked.maps.contains(column));
        let Some(filtered_by) = self.spans.filtered_by().filter(|_| !asked.reads.is_empty() && !reads_whole) else {
            return Ok(None);
        };
        let kept = self.kept(&asked, filtered_by);
        let scanned = self.spans.scanned();
        let column = |at: &usize| ProjectionExpr {
            expr: Arc::new(Column::new(scanned.field(*at).name(), self.spans.at_hand(*at))),
            alias: scanned.field(*at).name().clone(),
        };
        let mut read: Vec<ProjectionExpr> = kept.iter().map(column).collect();
        let mut given: Vec<Given> = Vec::new();
        for column in &asked.columns {
            given.push(match self.given[*column] {
                Given::Span(at) => Given::Span(kept.partition_point(|kept| *kept < at)),
                made => made,
            });
        }
        for expr in &asked.reads {
            given.push(Given::Span(read.len()));
            // The name is nobody's but its own.
            read.push(ProjectionExpr { expr: self.below(expr)?, alias: expr.to_string() });
        }
        let Some(input) = input.projected(read)? else { return Ok(None) };
        let left = input.schema();
        let tree = Self::new(self.spans.narrowed(&kept, left.clone())?, &left, given);
        let fields: Vec<String> = tree.schema.fields().iter().map(|field| field.name().clone()).collect();
        let moved = |projected: &ProjectionExpr| -> Result<ProjectionExpr> {
            Ok(ProjectionExpr { expr: asked.moved(&projected.expr, &fields)?, alias: projected.alias.clone() })
        };
        let projection = projection.iter().map(moved).collect::<Result<Vec<_>>>()?;
        Ok(Some(Arc::new(ProjectionExec::try_new(projection, Arc::new(tree.over(input)))?)))
    }

    /// The columns of spans that are read still.
    fn kept(&self, asked: &Asked, filtered_by: HashSet<usize>) -> Vec<usize> {
        let mut needed = filtered_by;
        let mut names: HashSet<&str> = TreeColumn::Depth.made_of().into_iter().collect();
        for column in &asked.columns {
            match self.given[*column] {
                Given::Span(at) => _ = needed.insert(at),
                Given::Made(column) => names.extend(column.made_of()),
            }
        }
        let scanned = self.spans.scanned();
        let is_kept = |at: &usize| needed.contains(at) || names.contains(scanned.field(*at).name().as_str());
        (0..scanned.fields().len()).filter(is_kept).collect()
    }

    /// The expression on the columns of the scan.
    fn below(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let below = expr.clone().transform_up(|node| {
            let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
            let Some(Given::Span(at)) = self.given.get(column.index()) else {
                return Err(internal_datafusion_err!("an attribute of a map that is no span's"));
            };
            let column = Column::new(column.name(), self.spans.at_hand(*at));
            Ok(Transformed::yes(Arc::new(column) as _))
        });
        below.data()
    }
}
