//! Columns that nobody reads are left out of subqueries and views before a statement is optimised.
//!
//! The view of spans has thirty columns that are made of others. DataFusion drops those that are not read near the end of its first pass; until
//! then each of its rules goes through all of them, which is most of the work of planning a small question.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

/// The names of the columns that are read of a plan's result; `None` when all are.
type Read = Option<HashSet<String>>;

/// The same plan without what is not read.
pub(super) fn narrowed(plan: LogicalPlan) -> Result<LogicalPlan> {
    narrow(plan, &None).map(|plan| plan.data)
}

fn narrow(plan: LogicalPlan, read: &Read) -> Result<Transformed<LogicalPlan>> {
    let (plan, is_narrower) = match plan {
        LogicalPlan::Projection(projection) => {
            let (projection, is_narrower) = narrow_projection(projection, read)?;
            (LogicalPlan::Projection(projection), is_narrower)
        }
        other => (other, false),
    };
    let read = read_of_inputs(&plan, read)?;
    let plan = plan.map_children(|input| narrow(input, &read))?;
    let plan = match plan.transformed {
        true => Transformed::yes(plan.data.recompute_schema()?),
        false => plan,
    };
    Ok(Transformed { transformed: plan.transformed || is_narrower, ..plan })
}

fn narrow_projection(projection: Projection, read: &Read) -> Result<(Projection, bool)> {
    let Some(read) = read else { return Ok((projection, false)) };
    let is_read: Vec<bool> = projection.schema.fields().iter().map(|field| read.contains(field.name())).collect();
    if is_read.iter().all(|is_read| *is_read) {
        return Ok((projection, false));
    }
    let mut kept: Vec<Expr> =
        projection.expr.iter().zip(&is_read).filter(|(_, is_read)| **is_read).map(|(expr, _)| expr.clone()).collect();
    if kept.is_empty() {
        // Rows are still counted.
        kept.extend(projection.expr.first().cloned());
    }
    let is_narrower = kept.len() < projection.expr.len();
    Ok((Projection::try_new(kept, Arc::clone(&projection.input))?, is_narrower))
}

/// What `plan`, of whose result `read` is read, reads of its inputs.
fn read_of_inputs(plan: &LogicalPlan, read: &Read) -> Result<Read> {
    // A lateral subquery reads of the rows beside it what no expression of the join names.
    if matches!(plan, LogicalPlan::Join(_)) && plan.inputs().into_iter().any(is_lateral) {
        return Ok(None);
    }
    let mut names = match (plan, read) {
        (LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_), _) => HashSet::new(),
        (
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::SubqueryAlias(_),
            Some(read),
        ) => read.clone(),
        // Others may go by place or take whole rows.
        _ => return Ok(None),
    };
    let mut reads_all = false;
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            match expr {
                Expr::Column(column) => {
                    names.insert(column.name.clone());
                }
                // What a subquery reads of the rows around it may stand anywhere in it.
                Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                    reads_all = true
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok((!reads_all).then_some(names))
}

fn is_lateral(input: &LogicalPlan) -> bool {
    match input {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineSettings, shared};

    /// The columns of each projection over a table, one line a projection.
    async fn columns(sql: &str) -> Vec<String> {
        let state = shared::state(&EngineSettings::default(), &Arc::default(), &Arc::default(), &Arc::default());
        let state = state.expect("a state");
        let plan = state.create_logical_plan(sql).await.expect("planned");
        let schema = plan.schema().clone();
        let narrow = narrowed(plan).expect("narrowed");
        assert_eq!(narrow.schema(), &schema, "{sql}");
        let mut found = Vec::new();
        narrow
            .apply_with_subqueries(|plan| {
                if let LogicalPlan::Projection(projection) = plan
                    && matches!(projection.input.as_ref(), LogicalPlan::TableScan(_))
                {
                    let names: Vec<_> = projection.schema.fields().iter().map(|field| field.name().as_str()).collect();
                    found.push(if names.len() > 20 { "all".into() } else { names.join(" ") });
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .expect("walked");
        found
    }

    #[tokio::test]
    async fn views_keep_what_is_read() {
        for (sql, wanted) in [
            ("SELECT * FROM spans", &["all"][..]),
            ("SELECT count(*) FROM spans", &["timestamp"]),
            ("SELECT service_name AS s FROM spans WHERE duration_ns > 5 ORDER BY span_id", &["span_id service_name duration_ns"]),
            ("SELECT t.a FROM (SELECT *, span_name AS a FROM spans) t", &["span_name"]),
            ("SELECT DISTINCT span_name FROM spans", &["span_name"]),
            ("SELECT count(*) FROM (SELECT DISTINCT * FROM spans) t", &["all"]),
            (
                "SELECT a.span_name FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.parent_span_id = b.span_id",
                &["trace_id span_id parent_span_id span_name"; 2],
            ),
            ("SELECT span_name FROM spans UNION ALL SELECT service_name FROM spans", &["span_name", "service_name"]),
            ("SELECT lag(duration_ms) OVER (PARTITION BY trace_id ORDER BY timestamp) FROM spans", &["timestamp trace_id duration_ms"]),
            ("SELECT span_name FROM spans s WHERE EXISTS (SELECT 1 FROM spans e WHERE e.trace_id = s.trace_id)", &["all", "all"]),
            ("SELECT attributes['http.route'] FROM spans", &["attributes"]),
            (
                "WITH RECURSIVE t AS (SELECT span_id FROM spans UNION ALL SELECT s.span_id FROM t JOIN spans s ON s.parent_span_id = t.span_id)
                 SELECT 1 FROM t",
                &["span_id", "span_id parent_span_id"],
            ),
        ] {
            assert_eq!(columns(sql).await, wanted, "{sql}");
        }
    }
}
