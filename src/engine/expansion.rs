//! How large a statement becomes once each name of a common table expression is replaced by what it stands for.
//!
//! The planner puts a CTE's whole plan wherever its name stands, so that thirty of them, each naming the one before twice, become a plan of
//! a thousand million nodes. What a statement becomes is counted here from its syntax tree, before anything is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    Statement, Visit, Visitor,
};

use crate::error::{Error, Kind, Result};

/// The most relations that a statement reads when each CTE counts as often as it is named. Planning so many takes about a second.
const MAX_RELATIONS: usize = 2_000;

/// The most columns that the steps of a plan have together: each step names all of its columns, at some hundred bytes each.
const MAX_COLUMNS: usize = 1_000_000;

/// The columns of a relation of the catalogue, where the widest have about as many.
const RELATION_COLUMNS: usize = 32;

/// The most grouping sets of a query, and the most expressions of a `CUBE`, as PostgreSQL has them.
const MAX_GROUPING_SETS: usize = 4_096;
const MAX_CUBE: usize = 12;

/// Refuses a statement that becomes too large.
pub(super) fn check(statement: &Statement) -> Result<()> {
    let mut count = Count { frames: vec![Frame::default()] };
    match statement.visit(&mut count) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What a query becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    relations: usize,
    /// Of all steps together.
    columns: usize,
    /// The columns of its result.
    width: usize,
}

/// A query or a SELECT whose end has not been seen.
#[derive(Debug, Default)]
struct Frame {
    /// What has been read inside so far. The width is that of all relations of a SELECT beside each other, or that of a query's first part.
    size: Size,
    is_select: bool,
    /// The names of CTEs whose queries follow, the next one last.
    coming: Vec<String>,
    known: HashMap<String, Size>,
}

struct Count {
    frames: Vec<Frame>,
}

impl Count {
    fn top(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    /// Puts another relation beside those that are there, or another part below those of a query.
    fn add(&mut self, added: Size) -> ControlFlow<Error> {
        let Some(Frame { size, is_select, .. }) = self.top() else { return ControlFlow::Continue(()) };
        let Size { relations, columns, width } = size;
        *relations = relations.saturating_add(added.relations);
        *columns = columns.saturating_add(added.columns);
        if *is_select {
            *width = width.saturating_add(added.width);
            *columns = columns.saturating_add(*width);
        } else if *width == 0 {
            *width = added.width;
        }
        if *relations > MAX_RELATIONS {
            return ControlFlow::Break(too_large("relations", MAX_RELATIONS));
        }
        if *columns > MAX_COLUMNS {
            return ControlFlow::Break(too_large("columns in all its steps", MAX_COLUMNS));
        }
        ControlFlow::Continue(())
    }

    /// Ends a query or a SELECT whose result has `width` columns.
    fn end(&mut self, width: usize) -> ControlFlow<Error> {
        let Some(Frame { size, .. }) = self.frames.pop() else { return ControlFlow::Continue(()) };
        let size = Size { width, columns: size.columns.saturating_add(width), ..size };
        match self.top().and_then(|frame| frame.coming.pop()) {
            Some(name) => {
                if let Some(frame) = self.top() {
                    frame.known.insert(name, size);
                }
                ControlFlow::Continue(())
            }
            None => self.add(size),
        }
    }

    fn size_of(&self, name: &ObjectName) -> Size {
        let plain = Size { relations: 1, columns: RELATION_COLUMNS, width: RELATION_COLUMNS };
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return plain };
        let name = folded(name);
        self.frames.iter().rev().find_map(|frame| frame.known.get(&name)).copied().unwrap_or(plain)
    }
}

impl Visitor for Count {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let mut frame = Frame::default();
        if let Some(with) = &query.with {
            // The queries of WITH are the first inside this one.
            frame.coming = with.cte_tables.iter().rev().map(|cte| folded(&cte.alias.name)).collect();
            if with.recursive {
                let itself = Size { relations: 1, columns: RELATION_COLUMNS, width: RELATION_COLUMNS };
                frame.known = frame.coming.iter().map(|name| (name.clone(), itself)).collect();
            }
        }
        self.frames.push(frame);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let width = match query.body.as_ref() {
            SetExpr::Values(values) => values.rows.first().map_or(0, |row| row.content.len()),
            _ => self.top().map_or(0, |frame| frame.size.width),
        };
        self.end(width)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        self.frames.push(Frame { is_select: true, ..Frame::default() });
        match grouping_sets(&select.group_by) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let all = self.top().map_or(0, |frame| frame.size.width);
        self.end(select_width(select, all))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Error> {
        self.add(self.size_of(relation))
    }
}

/// The columns of the result of a SELECT, whose relations have `all` together.
fn select_width(select: &Select, all: usize) -> usize {
    let wide = |item: &SelectItem| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => all,
        _ => 1,
    };
    select.projection.iter().map(wide).fold(0, usize::saturating_add)
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn too_large(what: &str, most: usize) -> Error {
    let message = format!(
        "the statement would read more than {most} {what} once each common table expression stands where it is named"
    );
    Error::new(Kind::TooLarge, message).with_sqlstate("54001").with_hint("name a common table expression fewer times")
}

/// Refuses a GROUP BY of more sets than PostgreSQL takes.
fn grouping_sets(group_by: &GroupByExpr) -> Result<()> {
    let (exprs, modifiers) = match group_by {
        GroupByExpr::All(modifiers) => (&[][..], modifiers),
        GroupByExpr::Expressions(exprs, modifiers) => (exprs.as_slice(), modifiers),
    };
    let mut sets = 1_usize;
    for expr in exprs {
        sets = sets.saturating_mul(sets_of(expr)?);
    }
    for modifier in modifiers {
        sets = sets.saturating_mul(match modifier {
            GroupByWithModifier::Cube => cube(exprs.len())?,
            GroupByWithModifier::Rollup => exprs.len() + 1,
            GroupByWithModifier::GroupingSets(expr) => sets_of(expr)?,
            GroupByWithModifier::Totals => 2,
        });
    }
    match sets {
        0..=MAX_GROUPING_SETS => Ok(()),
        _ => {
            let message = format!("too many grouping sets present (maximum {MAX_GROUPING_SETS})");
            Err(Error::new(Kind::TooLarge, message).with_sqlstate("54001"))
        }
    }
}

fn sets_of(expr: &Expr) -> Result<usize> {
    match expr {
        Expr::Cube(parts) => cube(parts.len()),
        Expr::Rollup(parts) => Ok(parts.len() + 1),
        Expr::GroupingSets(sets) => Ok(sets.len()),
        _ => Ok(1),
    }
}

fn cube(parts: usize) -> Result<usize> {
    match parts {
        0..=MAX_CUBE => Ok(1 << parts),
        _ => Err(Error::new(Kind::TooLarge, format!("CUBE is limited to {MAX_CUBE} elements")).with_sqlstate("54011")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn outcome(sql: &str) -> Option<&'static str> {
        let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect("parses");
        check(&statements[0]).err().map(|error| error.sqlstate())
    }

    /// A chain of CTEs, each of which has `two` of the one before.
    fn chain(length: usize, first: &str, two: &str) -> String {
        let links = (1..=length).map(|n| format!("c{n} AS ({})", two.replace("{}", &format!("c{}", n - 1))));
        let ctes = [format!("c0 AS ({first})")].into_iter().chain(links).collect::<Vec<_>>().join(", ");
        format!("WITH {ctes} SELECT * FROM c{length}")
    }

    #[test]
    fn names_count_as_often_as_they_stand() {
        for (length, state) in [(9, None), (11, Some("54001")), (29, Some("54001")), (200, Some("54001"))] {
            for two in [
                "SELECT x.a FROM {} x, {} y",
                "SELECT a FROM {} UNION ALL SELECT a FROM {}",
                "SELECT a FROM {} WHERE a IN (SELECT a FROM {})",
                "WITH n AS (SELECT * FROM {}) SELECT x.a FROM n x CROSS JOIN n y",
                "(SELECT a FROM {}) EXCEPT (SELECT a FROM (SELECT a FROM {}) z)",
                "SELECT (SELECT max(a) FROM {}) AS a FROM {}",
            ] {
                assert_eq!(outcome(&chain(length, "SELECT a FROM spans", two)), state, "{length}: {two}");
            }
        }
        assert_eq!(outcome(&chain(100, "SELECT 1 AS a", "SELECT a FROM {}")), None);
        assert_eq!(outcome(&chain(8, "SELECT * FROM spans", "SELECT * FROM {} UNION ALL SELECT * FROM {}")), None);
        // A name that is hidden by another counts as that one.
        let hidden = chain(9, "SELECT a FROM spans", "SELECT x.a FROM {} x, {} y");
        let hidden =
            hidden.replace("SELECT * FROM c9", "SELECT * FROM (WITH c9 AS (SELECT 1) SELECT * FROM c9 a, c9 b) z");
        assert_eq!(outcome(&hidden), None);
        assert_eq!(outcome(&vec!["SELECT * FROM spans"; 900].join(" UNION ALL ")), None);
        assert_eq!(
            outcome("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t a, t b"),
            None
        );
    }

    #[test]
    fn wide_relations_beside_each_other_count_by_their_columns() {
        let columns = (0..1_000).map(|n| format!("1 AS a{n}")).collect::<Vec<_>>().join(", ");
        let beside = |count: usize| (0..count).map(|n| format!("w w{n}")).collect::<Vec<_>>().join(", ");
        let sql = |count| format!("WITH w AS (SELECT {columns}) SELECT * FROM {}", beside(count));
        assert_eq!(outcome(&sql(20)), None);
        assert_eq!(outcome(&sql(200)), Some("54001"));
    }

    #[test]
    fn grouping_sets_are_as_many_as_postgres_takes() {
        let names = |count: usize| (0..count).map(|n| format!("a{n}")).collect::<Vec<_>>().join(", ");
        for (group_by, state) in [
            (format!("cube({})", names(12)), None),
            (format!("cube({})", names(13)), Some("54011")),
            (format!("cube({}), rollup(b, c)", names(11)), Some("54001")),
            (format!("cube({}), b, c", names(11)), None),
            ("grouping sets ((a), (b), ())".to_string(), None),
        ] {
            assert_eq!(outcome(&format!("SELECT 1 FROM spans GROUP BY {group_by}")), state, "{group_by}");
        }
    }
}
