//! `JOIN … USING (k)`: its one column `k` is that of the left side, of a RIGHT JOIN that of the right one, and of a FULL JOIN that of either side which
//! has the row; `*` begins with it.
//!
//! The planner takes the left side's in any join, does not know it everywhere, and leaves it where it is in `*`. So the condition is written out, and `k`
//! too: `coalesce(l.k, r.k)`. An inner or left join whose sides are not known here stays as it is.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins,
    VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::call;
use crate::engine::names::folded;
use crate::error::{Error, Result};

/// A column that joins have merged, and the tables that it may come from, from left to right.
#[derive(Clone)]
struct Merged {
    column: Ident,
    tables: Vec<ObjectName>,
    /// The tables whose column it stands for.
    instead_of: Vec<ObjectName>,
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

    /// The column of a result; that of one table keeps the table's name.
    fn item(&self) -> SelectItem {
        match self.value() {
            value @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(value),
            expr => SelectItem::ExprWithAlias { expr, alias: self.column.clone() },
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
    let needed = select.from.iter().any(|from| from.joins.iter().any(keeps_right));
    let stands = |item: &SelectItem| matches!(item, SelectItem::Wildcard(options) if !is_plain(options));
    let is_known = select.from.len() == 1 && !select.projection.iter().any(stands);
    let mut written = select.from.clone();
    for from in &mut written {
        match merge(from) {
            Ok(merged) => all.extend(merged),
            Err(error) if needed => return Err(error),
            Err(_) => return Ok(Vec::new()),
        }
    }
    if all.is_empty() || !(needed || is_known) {
        return Ok(Vec::new());
    }
    select.from = written;
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                let merged = all.iter().find(|merged| merged.is(&name)).map(Merged::item);
                select.projection.push(merged.unwrap_or(SelectItem::UnnamedExpr(Expr::Identifier(name))));
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
    let mut names = WriteOut { merged: &all, depth: 0 };
    let _ = select.group_by.visit(&mut names);
    let _ = select.named_window.visit(&mut names);
    if let Some(Distinct::On(keys)) = &mut select.distinct {
        let _ = keys.visit(&mut names);
    }
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

/// Writes out the conditions of the joins; gives the columns that they merge, as `*` begins with them.
fn merge(from: &mut TableWithJoins) -> Result<Vec<Merged>> {
    let mut merged: Vec<Merged> = Vec::new();
    let mut left = table_name(&from.relation);
    for join in &mut from.joins {
        let right = table_name(&join.relation);
        let operator = &mut join.join_operator;
        let prefers_right = matches!(operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_));
        let is_full = matches!(operator, JoinOperator::FullOuter(_));
        let columns = match constraint_of(operator) {
            Some(JoinConstraint::Natural) => return Err(refused("NATURAL")),
            Some(JoinConstraint::Using(columns)) => std::mem::take(columns),
            // Which of the tables on the left has a column is not known from here on.
            _ => {
                left = None;
                continue;
            }
        };
        let Some(right) = right else { return Err(refused("USING")) };
        let mut conditions = Vec::new();
        let mut first = Vec::new();
        for column in columns {
            let Some(column) = column.0.last().and_then(|part| part.as_ident()).map(plain_name) else { continue };
            let mut of_both = match (merged.iter().position(|merged| merged.is(&column)), &left) {
                (Some(known), _) => merged.remove(known),
                (None, Some(left)) => Merged { column, tables: vec![left.clone()], instead_of: vec![left.clone()] },
                _ => return Err(refused("USING")),
            };
            conditions.push(Expr::BinaryOp {
                left: Box::new(of_both.value()),
                op: BinaryOperator::Eq,
                right: Box::new(column_of(&right, &of_both.column)),
            });
            if prefers_right {
                of_both.tables = vec![right.clone()];
            } else if is_full {
                of_both.tables.push(right.clone());
            }
            of_both.instead_of.push(right.clone());
            first.push(of_both);
        }
        merged.splice(0..0, first);
        let condition = conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        });
        if let Some(constraint) = constraint_of(operator) {
            *constraint = condition.map_or(JoinConstraint::None, JoinConstraint::On);
        }
        left = None;
    }
    Ok(merged)
}

/// A name that was not quoted, in lower case.
fn plain_name(name: &Ident) -> Ident {
    if name.quote_style.is_some() { name.clone() } else { Ident::new(name.value.to_lowercase()) }
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
    let [from] = select.from.as_slice() else { return Err(refused("USING")) };
    if !is_plain(&options) {
        return Err(refused("USING"));
    }
    select.projection.extend(merged.iter().map(Merged::item));
    for table in [&from.relation].into_iter().chain(from.joins.iter().map(|join| &join.relation)) {
        let table = table_name(table).ok_or_else(|| refused("USING"))?;
        let shown = merged.iter().filter(|merged| merged.instead_of.contains(&table));
        let names: Vec<_> = shown.map(|merged| ObjectName::from(vec![merged.column.clone()])).collect();
        let options = WildcardAdditionalOptions {
            opt_exclude: Some(names).filter(|names| !names.is_empty()).map(ExcludeSelectItem::Multiple),
            ..WildcardAdditionalOptions::default()
        };
        let table = SelectItemQualifiedWildcardKind::ObjectName(table);
        select.projection.push(SelectItem::QualifiedWildcard(table, options));
    }
    Ok(())
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none() && options.opt_except.is_none() && options.opt_rename.is_none()
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
            ("SELECT k FROM l JOIN r USING (k) WHERE K > 1", "SELECT l.k FROM l JOIN r ON l.k = r.k WHERE l.k > 1"),
            ("SELECT k FROM l JOIN r ON true JOIN s USING (k)", "SELECT k FROM l JOIN r ON true JOIN s USING(k)"),
            (
                "SELECT * FROM l JOIN r USING (j, k) CROSS JOIN s",
                "SELECT l.j, l.k, l.* EXCLUDE (j, k), r.* EXCLUDE (j, k), s.* \
                 FROM l JOIN r ON l.j = r.j AND l.k = r.k CROSS JOIN s",
            ),
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
                "SELECT max(coalesce(l.k, r.k)) FROM l FULL JOIN r ON l.k = r.k \
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
