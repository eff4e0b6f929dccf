//! `TABLESAMPLE`: each row is taken or not by itself, under BERNOULLI as under SYSTEM; with REPEATABLE by a hash of what identifies it.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectNamePart, SetExpr, Statement, TableAlias, TableFactor, TableSample,
    TableSampleKind, TableSampleMethod, TableSampleModifier, TableSampleSeedModifier, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::call;
use crate::error::{Error, Result};

/// What identifies a row of each relation.
const KEYS: &[(&str, &[&str])] = &[
    ("spans", &["trace_id", "span_id"]),
    ("events", &["trace_id", "span_id", "timestamp", "event_name"]),
    ("links", &["trace_id", "span_id", "linked_trace_id", "linked_span_id"]),
    ("traces", &["trace_id"]),
    ("service_edges", &["caller", "callee"]),
];

/// Puts the rows that a sample takes for a relation with `TABLESAMPLE`.
pub(super) fn rewrite(table: &mut TableFactor) -> Result<()> {
    let sample = match table {
        TableFactor::Table { sample, .. } | TableFactor::Derived { sample, .. } => sample.take(),
        _ => None,
    };
    let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample else {
        return Ok(());
    };
    let TableFactor::Table { name, alias, args: None, .. } = table else {
        return Err(Error::bad_input("only a relation can be sampled, and this is a subquery or a function"));
    };
    let Some(ObjectNamePart::Identifier(last)) = name.0.last().cloned() else { return Ok(()) };
    let percent = percent(&sample)?;
    let place = place(&sample, &last.value)?;
    let alias = alias.take().unwrap_or(TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
    let number = |text: &str| Expr::Value(ValueWithSpan::from(Value::Number(text.to_string(), false)));
    let divided =
        |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Divide, right: Box::new(right) };
    let condition = Expr::BinaryOp {
        left: Box::new(place),
        op: BinaryOperator::Lt,
        right: Box::new(divided(number(&percent), number("100"))),
    };
    let all =
        Parser::parse_sql(&GenericDialect {}, &format!("SELECT * FROM {name}")).ok().and_then(|mut all| all.pop());
    let Some(Statement::Query(mut subquery)) = all else {
        return Err(Error::internal("a relation's name that does not parse again"));
    };
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        select.selection = Some(condition);
    }
    *table = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    Ok(())
}

/// The percentage as it was written.
fn percent(sample: &TableSample) -> Result<String> {
    let is_named = matches!(sample.name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System));
    let of_postgresql = matches!(sample.modifier, TableSampleModifier::TableSample)
        && is_named
        && sample.bucket.is_none()
        && sample.offset.is_none();
    let written = match &sample.quantity {
        Some(quantity) if of_postgresql && quantity.parenthesized && quantity.unit.is_none() => &quantity.value,
        _ => {
            let error = Error::bad_input("syntax error in a sample").with_sqlstate("42601");
            return Err(error.with_hint("write TABLESAMPLE BERNOULLI (percent) [REPEATABLE (seed)]"));
        }
    };
    let text = written.to_string();
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(text),
        _ => Err(Error::bad_input("sample percentage must be a number between 0 and 100").with_sqlstate("2202H")),
    }
}

/// Where a row lies between 0 and 1: anywhere, or always at the same place for a seed.
fn place(sample: &TableSample, relation: &str) -> Result<Expr> {
    let Some(seed) = &sample.seed else { return Ok(call("random", Vec::new())) };
    if !matches!(seed.modifier, TableSampleSeedModifier::Repeatable) {
        return Err(Error::bad_input("a sample's seed is written REPEATABLE (seed)").with_sqlstate("42601"));
    }
    let Some((_, keys)) = KEYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(relation)) else {
        let error = Error::bad_input(format!("not supported: a repeatable sample of \"{relation}\""));
        return Err(error
            .with_sqlstate("0A000")
            .with_hint("leave REPEATABLE out, or sample spans, events, links or traces"));
    };
    let keys = keys.iter().map(|key| Expr::Identifier(Ident::new(*key)));
    Ok(call("sample_place", [Expr::Value(seed.value.clone())].into_iter().chain(keys).collect()))
}
