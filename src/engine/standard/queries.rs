//! Clauses of whole queries.

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Query, Select, SelectItem, Statement, UtilityOption, Value, ValueWithSpan,
};

use super::tables;
use crate::error::{Error, Result};

/// Puts a LIMIT for `FETCH FIRST n ROWS ONLY`.
pub(super) fn fetch(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        let error = Error::bad_input("not supported: FETCH WITH TIES or PERCENT").with_sqlstate("0A000");
        return Err(error.with_hint("use rank() over the order, or LIMIT"));
    }
    let rows = fetch.quantity.unwrap_or(Expr::Value(ValueWithSpan::from(Value::Number("1".into(), false))));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() });
        }
        Some(_) => return Err(Error::bad_input("LIMIT and FETCH cannot both be given").with_sqlstate("42601")),
    }
    Ok(())
}

/// Makes rows of series where they are selected.
pub(super) fn select(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        tables::in_select(expr);
    }
}

/// Takes the options of EXPLAIN that have a meaning here.
pub(super) fn explain(statement: &mut Statement) -> Result<()> {
    let Statement::Explain { analyze, verbose, options, .. } = statement else { return Ok(()) };
    for UtilityOption { name, arg } in options.take().into_iter().flatten() {
        let value = arg.map(|arg| arg.to_string().trim_matches('\'').to_lowercase());
        let is_on = !matches!(value.as_deref(), Some("off" | "false" | "0"));
        match name.value.to_lowercase().as_str() {
            "analyze" => *analyze = is_on,
            "verbose" => *verbose = is_on,
            "format" if value.as_deref() != Some("text") => {
                let error =
                    Error::bad_input("not supported: EXPLAIN in another format than text").with_sqlstate("0A000");
                return Err(error);
            }
            "format" | "buffers" | "costs" | "settings" | "summary" | "timing" | "wal" | "generic_plan" | "memory"
            | "serialize" => {}
            other => {
                return Err(Error::bad_input(format!("unrecognized EXPLAIN option \"{other}\"")).with_sqlstate("42601"));
            }
        }
    }
    Ok(())
}
