//! `FULL JOIN … USING (k)` and `RIGHT JOIN … USING (k)`: their one column `k` is that of either side which has the row.
//!
//! The planner takes the left side's, which is NULL for rows of the right side only. So the condition is written out, and `k` too:
//! `coalesce(l.k, r.k)`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::call;
use crate::engine::names::folded;
use crate::error::{Error, Result};

/// A column that joins have merged, and the tables that it may come from, from left to right.
struct Merged {
    column: Ident,
    tables: Vec<ObjectName>,
}

impl Merged {
    fn is(&self, name: &Ident) -> bool {
        folded(&self.column) == folded(name)
    }

    fn value(&self) -> Expr {
        let mut parts: Vec<Expr> = self.tables.iter().map(|table| column_of(table, &self.column)).collect();
        match parts.len() {
            1 => parts.remove(0),
            _ => call("coalesce", parts),
        }
    }
}

/// Rewrites the joins of a query.
pub(super) fn query(query: &mut Query) -> Result<()> {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = body.as_mut() else { return arms(body) };
    let merged = select_joins(select)?;
    // A name in ORDER BY is that of an output column first, and each of these has one or may be written out.
    if let Some(OrderByKind::Expressions(keys)) = order_by.as_mut().map(|order_by| &mut order_by.kind) {
        let outputs: Vec<String> = select.projection.iter().filter_map(output).collect();
        for key in keys {
            let is_output = matches!(&key.expr, Expr::Identifier(name) if outputs.contains(&folded(name)));
            if !is_output {
                write_out(&mut key.expr, &merged);
            }
        }
    }
    Ok(())
}

fn arms(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) => select_joins(select).map(|_| ()),
        SetExpr::SetOperation { left, right, .. } => arms(left).and_then(|()| arms(right)),
        _ => Ok(()),
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

fn select_joins(select: &mut Select) -> Result<Vec<Merged>> {
    let mut all = Vec::new();
    for from in &mut select.from {
        if from.joins.iter().any(keeps_right) {
            all.extend(merge(from)?);
        }
    }
    if all.is_empty() {
        return Ok(all);
    }
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                let mut expr = Expr::Identifier(name.clone());
                write_out(&mut expr, &all);
                select.projection.push(SelectItem::ExprWithAlias { expr, alias: name });
            }
            SelectItem::Wildcard(options) => wildcard(select, options, &all)?,
            mut item => {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = &mut item {
                    write_out(expr, &all);
                }
                select.projection.push(item);
            }
        }
    }
    let _ = select.group_by.visit(&mut WriteOut { merged: &all, depth: 0 });
    for clause in [&mut select.selection, &mut select.having, &mut select.qualify].into_iter().flatten() {
        write_out(clause, &all);
    }
    Ok(all)
}

/// Whether a join keeps rows of its right side that the left has none for, and merges columns.
fn keeps_right(join: &Join) -> bool {
    matches!(
        &join.join_operator,
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) | JoinOperator::FullOuter(constraint)
            if matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
    )
}

/// Writes out the conditions of the joins; gives the columns that they merge.
fn merge(from: &mut TableWithJoins) -> Result<Vec<Merged>> {
    let mut merged: Vec<Merged> = Vec::new();
    let mut last = table_name(&from.relation);
    let is_first = |at: usize| at == 0;
    for (at, join) in from.joins.iter_mut().enumerate() {
        let right = table_name(&join.relation);
        let prefers_right = matches!(join.join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_));
        let Some(constraint) = constraint_of(&mut join.join_operator) else { continue };
        let columns = match constraint {
            JoinConstraint::Natural => return Err(refused("NATURAL")),
            JoinConstraint::Using(columns) => std::mem::take(columns),
            _ => continue,
        };
        let Some(right) = right else { return Err(refused("USING")) };
        let mut conditions = Vec::new();
        for column in columns {
            let Some(column) = column.0.last().and_then(|part| part.as_ident()).cloned() else { continue };
            let known = merged.iter().position(|merged| merged.is(&column));
            let known = match (known, &last) {
                (Some(known), _) => known,
                (None, Some(left)) if is_first(at) => {
                    merged.push(Merged { column: column.clone(), tables: vec![left.clone()] });
                    merged.len() - 1
                }
                // Which of the tables on the left has the column is not known here.
                _ => return Err(refused("USING")),
            };
            let merged = &mut merged[known];
            conditions.push(Expr::BinaryOp {
                left: Box::new(merged.value()),
                op: BinaryOperator::Eq,
                right: Box::new(column_of(&right, &column)),
            });
            if prefers_right {
                merged.tables = vec![right.clone()];
            } else {
                merged.tables.push(right.clone());
            }
        }
        let condition = conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        });
        *constraint = condition.map_or(JoinConstraint::None, JoinConstraint::On);
        last = Some(right);
    }
    Ok(merged)
}

fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// What columns of a table are written with; `None` for one without a name.
fn table_name(table: &TableFactor) -> Option<ObjectName> {
    let alias = match table {
        TableFactor::Table { name, alias: None, args: None, .. } => return Some(name.clone()),
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias.as_ref()?,
        _ => return None,
    };
    Some(ObjectName::from(vec![alias.name.clone()]))
}

fn column_of(table: &ObjectName, column: &Ident) -> Expr {
    let table = table.0.iter().filter_map(|part| part.as_ident()).cloned();
    Expr::CompoundIdentifier(table.chain([column.clone()]).collect())
}

/// `*` is each merged column once, and then the tables' others.
fn wildcard(select: &mut Select, options: WildcardAdditionalOptions, merged: &[Merged]) -> Result<()> {
    let is_plain = options.opt_exclude.is_none() && options.opt_except.is_none() && options.opt_rename.is_none();
    let [from] = select.from.as_slice() else { return Err(refused("USING")) };
    if !is_plain {
        return Err(refused("USING"));
    }
    for merged in merged {
        let item = SelectItem::ExprWithAlias { expr: merged.value(), alias: merged.column.clone() };
        select.projection.push(item);
    }
    let names = merged.iter().map(|merged| ObjectName::from(vec![merged.column.clone()])).collect::<Vec<_>>();
    for table in [&from.relation].into_iter().chain(from.joins.iter().map(|join| &join.relation)) {
        let table = table_name(table).ok_or_else(|| refused("USING"))?;
        let options = WildcardAdditionalOptions {
            opt_exclude: Some(ExcludeSelectItem::Multiple(names.clone())),
            ..WildcardAdditionalOptions::default()
        };
        let table = SelectItemQualifiedWildcardKind::ObjectName(table);
        select.projection.push(SelectItem::QualifiedWildcard(table, options));
    }
    Ok(())
}

fn write_out(expr: &mut Expr, merged: &[Merged]) {
    if !merged.is_empty() {
        let _ = expr.visit(&mut WriteOut { merged, depth: 0 });
    }
}

/// Puts what merged columns are made of for their names, and not in the subqueries inside.
struct WriteOut<'a> {
    merged: &'a [Merged],
    depth: usize,
}

impl VisitorMut for WriteOut<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(name) = expr
            && let Some(merged) = self.merged.iter().find(|merged| merged.is(name))
        {
            *expr = merged.value();
        }
        ControlFlow::Continue(())
    }
}

fn refused(what: &str) -> Error {
    let error = Error::bad_input(format!("not supported: {what} in this FULL or RIGHT JOIN")).with_sqlstate("0A000");
    error.with_hint("write the condition with ON, and coalesce(l.k, r.k) for the column of both sides")
}

#[cfg(test)]
mod tests {
    use crate::engine::grammar::Grammar;
    use datafusion::sql::sqlparser::parser::Parser;

    fn rewritten(sql: &str) -> crate::error::Result<String> {
        let mut statements = Parser::parse_sql(&Grammar::for_tokens(100), sql).expect("parses");
        super::super::rewrite(&mut statements[0])?;
        Ok(statements[0].to_string())
    }

    #[test]
    fn merged_columns_are_written_out() {
        for (written, meant) in [
            ("SELECT k FROM l JOIN r USING (k)", "SELECT k FROM l JOIN r USING(k)"),
            (
                "SELECT k, l.a FROM l FULL JOIN r USING (k) WHERE k > 1 ORDER BY k",
                "SELECT coalesce(l.k, r.k) AS k, l.a FROM l FULL JOIN r ON l.k = r.k WHERE coalesce(l.k, r.k) > 1 ORDER BY k",
            ),
            ("SELECT max(k) FROM l RIGHT JOIN r USING (k)", "SELECT max(r.k) FROM l RIGHT JOIN r ON l.k = r.k"),
            (
                "SELECT * FROM l FULL JOIN r USING (k)",
                "SELECT coalesce(l.k, r.k) AS k, l.* EXCLUDE (k), r.* EXCLUDE (k) FROM l FULL JOIN r ON l.k = r.k",
            ),
            (
                "SELECT max(k) FROM l FULL JOIN r USING (k) LEFT JOIN s USING (k)",
                "SELECT max(coalesce(l.k, r.k, s.k)) FROM l FULL JOIN r ON l.k = r.k \
                 LEFT JOIN s ON coalesce(l.k, r.k) = s.k",
            ),
        ] {
            assert_eq!(rewritten(written).expect("rewritten"), meant);
        }
        for written in ["SELECT 1 FROM l NATURAL FULL JOIN r", "SELECT 1 FROM l JOIN m ON true FULL JOIN r USING (k)"] {
            assert_eq!(rewritten(written).expect_err(written).sqlstate(), "0A000");
        }
    }
}
