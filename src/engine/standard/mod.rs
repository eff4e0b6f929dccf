//! Forms of PostgreSQL and of the SQL standard that the planner has no meaning for, or another one, as what it knows.
//!
//! | written | means |
//! |---|---|
//! | `x::json`, `x::jsonb`, `json '…'` | `value_json(x)` |
//! | `x::varchar(3)`, `x::char(3)` | `left(x::text, 3)`, `rtrim(left(x::text, 3))` |
//! | `t::timestamp(3)` | `date_bin(INTERVAL '0.001 seconds', t::timestamp + INTERVAL '0.0005 seconds')` |
//! | `x::character varying`, `x::float`, … | the same type by the planner's name |
//! | `x SIMILAR TO p ESCAPE e` | `x ~ similar_to_escape(p, e)` |
//! | `t TABLESAMPLE BERNOULLI (p)` | `(SELECT * FROM t WHERE random() < p / 100) AS t` |
//! | `t AT TIME ZONE z` | `timezone(z, t)` |
//! | `a ^ b` | `power(a, b)` |
//! | `a = ANY (ARRAY (SELECT …))` | `a = ANY (SELECT …)` |
//! | `'\\xff'::bytea` | `X'ff'` |
//! | `FROM l FULL JOIN r USING (k)` | `FROM l FULL JOIN r ON l.k = r.k`, and `coalesce(l.k, r.k)` for `k` |
//! | `'{a,b}'::text[]` | `ARRAY['a'::text, 'b'::text]` |
//! | `x = ANY ('{a,b}')`, `x > ALL (ARRAY[a, b])` | `x IN ('a', 'b')`, `x > a AND x > b` |
//! | `SELECT generate_series(1, 3)` | `SELECT unnest(generate_series(1, 3))` |
//! | `FROM generate_series(…) AS n`, `FROM t, unnest(t.list) AS u`, `jsonb_each_text(…)`, `WITH ORDINALITY` | `LATERAL (SELECT unnest(…) AS n)` |
//! | `(a, b) IN (SELECT …)`, `NOT IN` | `EXISTS (SELECT 1 FROM (SELECT …) AS found_row (…) WHERE … = a AND … = b)` |
//! | `ARRAY (SELECT x …)` | `(SELECT coalesce(array_agg(x), ARRAY[]) …)` |
//! | `x LIKE 'a!%' ESCAPE '!'`, `x COLLATE "C"` | `x LIKE 'a\\%'`, `x` |
//! | `mod(a, b)`, `date(t)`, … | the expression in `schema/functions.sql` |
//! | `percentile_cont(ARRAY[a, b])` | `ARRAY[percentile_cont(a), percentile_cont(b)]` |
//! | `FETCH FIRST n ROWS ONLY` | `LIMIT n` |
//! | `EXPLAIN (ANALYZE, VERBOSE)` | `EXPLAIN ANALYZE VERBOSE` |

mod arrays;
mod bytes;
mod casts;
mod functions;
mod joins;
mod queries;
mod rows;
mod sample;
mod tables;

use std::fmt::Display;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, Select, Statement, TableFactor, Value, ValueWithSpan, VisitMut, VisitorMut,
};

pub(super) use functions::{ParameterDefault, argument, values_of};
pub(super) use rows::FOUND_ROW;
pub(super) use tables::alias_of;

use crate::error::{Error, Kind, Result};

/// Rewrites a statement in place.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    queries::explain(statement)?;
    match statement.visit(&mut Forms) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Forms;

impl VisitorMut for Forms {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        arrays::of_rows(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if arrays::rewrite(expr) {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Cast { .. } | Expr::TypedString(_) => {
                casts::rewrite(expr);
                if let Err(error) = bytes::rewrite(expr) {
                    return ControlFlow::Break(error);
                }
            }
            Expr::SimilarTo { .. } => match_similar(expr),
            Expr::AtTimeZone { .. } => {
                if let Expr::AtTimeZone { timestamp, time_zone } = take(expr) {
                    *expr = call("timezone", vec![*time_zone, *timestamp]);
                }
            }
            Expr::BinaryOp { op: BinaryOperator::BitwiseXor | BinaryOperator::PGExp, .. } => {
                if let Expr::BinaryOp { left, right, .. } = take(expr) {
                    *expr = call("power", vec![*left, *right]);
                }
            }
            Expr::BinaryOp { op: BinaryOperator::PGOverlap, .. } => {
                if let Expr::BinaryOp { left, right, .. } = take(expr) {
                    *expr = call("array_has_any", vec![*left, *right]);
                }
            }
            Expr::Substring { substring_from: Some(from), substring_for: None, .. } if is_text(from) => {
                if let Expr::Substring { expr: text, substring_from: Some(pattern), .. } = take(expr) {
                    *expr = first_match(*text, *pattern);
                }
            }
            Expr::Function(_) => {
                if let Err(error) = functions::rewrite(expr) {
                    return ControlFlow::Break(error);
                }
                rows::rewrite(expr);
            }
            _ => rows::rewrite(expr),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        queries::select(select);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match queries::fetch(query).and_then(|()| joins::query(query)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        match tables::rewrite(table).and_then(|()| sample::rewrite(table)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The text that forms of a statement may be copied to, each: nested forms that name a part twice would grow without end.
const MAX_COPIED_BYTES: usize = 64 << 10;

/// Refuses to write a part of a statement so many times.
pub(super) fn check_copies(part: &dyn Display, times: usize) -> Result<()> {
    if times < 2 || part.to_string().len().saturating_mul(times) <= MAX_COPIED_BYTES {
        return Ok(());
    }
    let error =
        Error::new(Kind::TooLarge, "an argument is too long for a function or form that reads it more than once");
    Err(error.with_sqlstate("54001").with_hint("compute it in a subquery first"))
}

/// `(regexp_match(text, pattern))[1]`: the match, or its first group.
fn first_match(text: Expr, pattern: Expr) -> Expr {
    let matched = call("regexp_match", vec![text, pattern]);
    let first = Expr::Value(ValueWithSpan::from(Value::Number("1".into(), false)));
    call("array_element", vec![matched, first])
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }))
}

/// Puts the match of a regular expression for `SIMILAR TO`.
fn match_similar(expr: &mut Expr) {
    let Expr::SimilarTo { negated, expr: text, pattern, escape_char } = take(expr) else { return };
    let escape = escape_char.map(Expr::Value);
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let right = call("similar_to_escape", [*pattern].into_iter().chain(escape).collect());
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left: text, op, right: Box::new(right) }));
}

/// Takes an expression out of its place, which is filled anew.
fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Identifier(Ident::new("")))
}

/// The call `name(args, …)`.
pub(in crate::engine) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::grammar::Grammar;
    use datafusion::sql::sqlparser::parser::Parser;

    fn rewritten(sql: &str) -> Result<String> {
        let mut statements = Parser::parse_sql(&Grammar::for_tokens(100), sql).expect("parses");
        rewrite(&mut statements[0])?;
        Ok(statements[0].to_string())
    }

    #[test]
    fn standard_forms_become_what_the_planner_knows() {
        for (written, meant) in [
            ("SELECT a::jsonb", "SELECT value_json(a)"),
            ("SELECT json '{}'", "SELECT value_json('{}')"),
            ("SELECT a::varchar(3)", "SELECT left(a::TEXT, 3)"),
            ("SELECT a::character varying(3)", "SELECT left(a::TEXT, 3)"),
            ("SELECT a::char", "SELECT rtrim(left(a::TEXT, 1))"),
            ("SELECT CAST(a AS character varying)", "SELECT CAST(a AS TEXT)"),
            ("SELECT a::bpchar", "SELECT a::TEXT"),
            ("SELECT a::float, a::float(24)", "SELECT a::DOUBLE PRECISION, a::REAL"),
            (
                "SELECT t::timestamp(0), t::timestamptz(3)",
                "SELECT date_bin(INTERVAL '1 seconds', t::TIMESTAMP + INTERVAL '0.5 seconds'), \
                 date_bin(INTERVAL '0.001 seconds', t::TIMESTAMPTZ + INTERVAL '0.0005 seconds')",
            ),
            ("SELECT '\\x0102'::bytea, bytea 'a\\134\\001'", "SELECT X'0102', X'615c01'"),
            ("SELECT a = ANY (ARRAY (SELECT b FROM t))", "SELECT a = ANY(SELECT b FROM t)"),
            ("SELECT t AT TIME ZONE 'UTC'", "SELECT timezone('UTC', t)"),
            ("SELECT 2 ^ a", "SELECT power(2, a)"),
            ("SELECT '{a,\"b c\",NULL}'::text[]", "SELECT ARRAY['a'::TEXT, 'b c'::TEXT, NULL::TEXT]"),
            ("SELECT a = ANY ('{}')", "SELECT a = ANY(ARRAY[])"),
            ("SELECT a > ANY (ARRAY[1, NULL])", "SELECT (a > (1) OR a > (NULL))"),
            ("SELECT a = ANY ('{x,y}')", "SELECT a IN ('x', 'y')"),
            ("SELECT generate_series(1, 3)", "SELECT unnest(generate_series(1, 3))"),
            ("SELECT 1 OFFSET 2 ROWS FETCH NEXT ROW ONLY", "SELECT 1 LIMIT 1 OFFSET 2 ROWS"),
            ("EXPLAIN (ANALYZE, VERBOSE off, BUFFERS) SELECT 1", "EXPLAIN ANALYZE SELECT 1"),
            ("SELECT a SIMILAR TO 'b'", "SELECT (a ~ similar_to_escape('b'))"),
            ("SELECT a NOT SIMILAR TO b ESCAPE '#'", "SELECT (a !~ similar_to_escape(b, '#'))"),
            (
                "SELECT 1 FROM t AS x TABLESAMPLE BERNOULLI (10)",
                "SELECT 1 FROM (SELECT * FROM t WHERE random() < 10 / 100) AS x",
            ),
            (
                "SELECT 1 FROM traces.spans TABLESAMPLE SYSTEM (0.5) REPEATABLE (7)",
                "SELECT 1 FROM (SELECT * FROM traces.spans WHERE sample_place(7, trace_id, span_id) < 0.5 / 100) AS spans",
            ),
        ] {
            assert_eq!(rewritten(written).expect("rewritten"), meant);
        }
    }

    #[test]
    fn samples_that_cannot_be_taken_are_told() {
        for (written, sqlstate) in [
            ("SELECT 1 FETCH FIRST 2 ROWS WITH TIES", "0A000"),
            ("EXPLAIN (FORMAT json) SELECT 1", "0A000"),
            ("SELECT 1 FROM t TABLESAMPLE BERNOULLI (101)", "2202H"),
            ("SELECT 1 FROM t TABLESAMPLE (10)", "42601"),
            ("SELECT 1 FROM t SAMPLE (10)", "42601"),
            ("SELECT 1 FROM t TABLESAMPLE BERNOULLI (10 ROWS)", "42601"),
            ("SELECT 1 FROM t TABLESAMPLE BERNOULLI (10) REPEATABLE (1)", "0A000"),
            ("SELECT 1 FROM (SELECT 1) AS t TABLESAMPLE BERNOULLI (10)", "42601"),
        ] {
            assert_eq!(rewritten(written).expect_err(written).sqlstate(), sqlstate, "{written}");
        }
    }
}
