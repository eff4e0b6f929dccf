//! Functions in FROM that are a query over spans: each call is replaced by the query of its file in `schema/table_functions`.
//!
//! In those a parameter's name stands for the argument. One of `text[]` is a list of attribute keys: an item of a SELECT that has its name in
//! it becomes an item for each key, with the key for a name, and the bare name the columns of these names.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, CreateFunction, CreateFunctionBody, DataType, Expr, FunctionArg, GroupByExpr,
    Ident, Interval, ObjectNamePart, Query, Select, SelectItem, Statement, TableAlias, TableFactor, Value,
    ValueWithSpan, VisitMut, VisitorMut, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::catalog::TRACES;
use super::standard::{ParameterDefault, argument, values_of};
use crate::error::{Error, Kind, Result};
use crate::pg::array_elements;

const FILES: &[&str] = &[
    include_str!("../../schema/table_functions/heatmap.sql"),
    include_str!("../../schema/table_functions/red.sql"),
    include_str!("../../schema/table_functions/slow_queries.sql"),
    include_str!("../../schema/table_functions/span_metrics.sql"),
];

/// The most attribute keys of a call: each is a column to group by.
const MAX_KEYS: usize = 32;

/// A function of a file.
#[derive(Debug)]
struct TableFunction {
    name: String,
    parameters: Vec<ParameterDefault>,
    types: Vec<DataType>,
    query: Query,
}

static FUNCTIONS: LazyLock<Vec<TableFunction>> = LazyLock::new(|| FILES.iter().filter_map(|file| read(file)).collect());

/// Reads a file. Its words have no places: errors are about what the user wrote.
fn read(file: &str) -> Option<TableFunction> {
    let tokens: Vec<Token> = Tokenizer::new(&PostgreSqlDialect {}, file).tokenize().ok()?;
    let statement = Parser::new(&PostgreSqlDialect {}).with_tokens(tokens).parse_statement().ok()?;
    let Statement::CreateFunction(CreateFunction {
        name,
        args,
        function_body: Some(CreateFunctionBody::Return(Expr::Subquery(query))),
        ..
    }) = statement
    else {
        return None;
    };
    let (mut parameters, mut types) = (Vec::new(), Vec::new());
    for arg in args.unwrap_or_default() {
        parameters.push((arg.name?.value, arg.default_expr));
        types.push(arg.data_type);
    }
    Some(TableFunction { name: name.to_string(), parameters, types, query: *query })
}

/// Replaces each call in a statement.
///
/// # Errors
/// [`Kind::BadInput`] for arguments that the function does not take.
pub(super) fn expand(statement: &mut Statement) -> Result<()> {
    match statement.visit(&mut Calls) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Calls;

impl VisitorMut for Calls {
    type Break = Error;

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } = table else {
            return ControlFlow::Continue(());
        };
        let Some(called) = function_of(&name.0) else { return ControlFlow::Continue(()) };
        match called.with_arguments(&args.args) {
            Ok(query) => {
                let own =
                    || TableAlias { explicit: true, name: Ident::new(&called.name), columns: Vec::new(), at: None };
                let alias = Some(alias.take().unwrap_or_else(own));
                *table = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn function_of(name: &[ObjectNamePart]) -> Option<&'static TableFunction> {
    let idents: Vec<&Ident> = name.iter().filter_map(ObjectNamePart::as_ident).collect();
    let name = match idents.as_slice() {
        [name] => name,
        [schema, name] if schema.value.eq_ignore_ascii_case(TRACES) => name,
        _ => return None,
    };
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(&name.value))
}

/// What stands for a parameter.
enum Meaning {
    Value(Box<Expr>),
    Keys(Vec<String>),
}

impl TableFunction {
    fn with_arguments(&self, arguments: &[FunctionArg]) -> Result<Query> {
        let arguments: Option<Vec<_>> = arguments.iter().map(argument).collect();
        let values = arguments.and_then(|arguments| values_of(&self.parameters, &arguments));
        let Some(values) = values else { return Err(self.wrong_arguments()) };
        let mut meanings = Meanings(Vec::new());
        for (((name, _), of_type), value) in self.parameters.iter().zip(&self.types).zip(values) {
            if names_columns(&value) {
                let message = format!("the arguments of {} must not name columns", self.name);
                return Err(Error::bad_input(message).with_sqlstate("0A000"));
            }
            let meaning = match is_texts(of_type) {
                true => Meaning::Keys(self.keys(name, &value)?),
                false => Meaning::Value(Box::new(typed(value, of_type))),
            };
            meanings.0.push((name, meaning));
        }
        let mut query = self.query.clone();
        let _ = query.visit(&mut meanings);
        Ok(query)
    }

    fn wrong_arguments(&self) -> Error {
        let declared = self.parameters.iter().zip(&self.types);
        let declared = declared.map(|((name, _), of_type)| format!("{name} {}", of_type.to_string().to_lowercase()));
        Error::new(Kind::BadInput, format!("function {} does not take these arguments", self.name))
            .with_sqlstate("42883")
            .with_hint(format!("it is {}({})", self.name, declared.collect::<Vec<_>>().join(", ")))
    }

    /// The attribute keys that a constant lists, each of which names a column.
    fn keys(&self, parameter: &str, value: &Expr) -> Result<Vec<String>> {
        let refused = |why: String| {
            let message = format!("{parameter} of {} {why}", self.name);
            Err(Error::bad_input(message).with_sqlstate("22023").with_hint("write ARRAY['http.route', 'http.method']"))
        };
        let Some(keys) = texts_of(value) else { return refused("must be a constant list of attribute keys".into()) };
        if keys.len() > MAX_KEYS {
            return refused(format!("are {}, and may be {MAX_KEYS} at most", keys.len()));
        }
        let columns = self.columns();
        for (at, key) in keys.iter().enumerate() {
            if key.is_empty() || keys[..at].contains(key) {
                return refused(format!("has the key \"{key}\" twice, or an empty one"));
            }
            if columns.contains(key) {
                return refused(format!("has \"{key}\", which is a column already"));
            }
        }
        Ok(keys)
    }

    /// The names of the columns of its own.
    fn columns(&self) -> Vec<String> {
        let Some(select) = self.query.body.as_select() else { return Vec::new() };
        let name = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
            _ => None,
        };
        select.projection.iter().filter_map(name).collect()
    }
}

fn is_texts(of_type: &DataType) -> bool {
    matches!(of_type, DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) if matches!(**element, DataType::Text))
}

/// An argument as a value of its parameter's type. A text that becomes an interval is read as one.
fn typed(value: Expr, of_type: &DataType) -> Expr {
    match (value, of_type) {
        (text @ Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }), DataType::Interval { .. }) => {
            Expr::Interval(Interval {
                value: Box::new(text),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            })
        }
        (value, of_type) => Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(value),
            data_type: of_type.clone(),
            array: false,
            format: None,
        },
    }
}

/// The texts of a constant list, `ARRAY['a', 'b']` or `'{a,b}'`, whether or not it is cast.
fn texts_of(list: &Expr) -> Option<Vec<String>> {
    let text = |expr: &Expr| match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        _ => None,
    };
    match list {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => texts_of(expr),
        Expr::Array(Array { elem, .. }) => elem.iter().map(text).collect(),
        other => array_elements(&text(other)?)?.into_iter().collect(),
    }
}

fn names_columns(expr: &Expr) -> bool {
    visit_expressions(expr, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// What stands for each parameter in a query.
struct Meanings<'a>(Vec<(&'a str, Meaning)>);

impl Meanings<'_> {
    fn of(&self, expr: &Expr) -> Option<&Meaning> {
        let Expr::Identifier(name) = expr else { return None };
        self.0.iter().find(|(known, _)| *known == name.value).map(|(_, meaning)| meaning)
    }

    /// The keys that an expression has in it, if any.
    fn keys_in(&self, expr: &Expr) -> Option<&[String]> {
        let found = visit_expressions(expr, |expr| match self.of(expr) {
            Some(Meaning::Keys(keys)) => ControlFlow::Break(keys.as_slice()),
            _ => ControlFlow::Continue(()),
        });
        found.break_value()
    }

    fn items(&self, item: SelectItem) -> Vec<SelectItem> {
        let SelectItem::UnnamedExpr(expr) = &item else { return vec![item] };
        let Some(keys) = self.keys_in(expr) else { return vec![item] };
        if matches!(expr, Expr::Identifier(_)) {
            return keys.iter().map(|key| SelectItem::UnnamedExpr(column(key))).collect();
        }
        let of_key = |key: &String| SelectItem::ExprWithAlias { expr: self.for_key(expr, key), alias: quoted(key) };
        keys.iter().map(of_key).collect()
    }

    /// The expression with a key in the place of the list.
    fn for_key(&self, expr: &Expr, key: &str) -> Expr {
        let mut expr = expr.clone();
        let _ = visit_expressions_mut(&mut expr, |expr| {
            if let Some(Meaning::Keys(_)) = self.of(expr) {
                *expr = Expr::Value(ValueWithSpan::from(Value::SingleQuotedString(key.to_owned())));
            }
            ControlFlow::<()>::Continue(())
        });
        expr
    }
}

impl VisitorMut for Meanings<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let items = std::mem::take(&mut select.projection);
        select.projection = items.into_iter().flat_map(|item| self.items(item)).collect();
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            let grouped = std::mem::take(exprs).into_iter().flat_map(|expr| match self.keys_in(&expr) {
                Some(keys) => keys.iter().map(|key| column(key)).collect(),
                None => vec![expr],
            });
            *exprs = grouped.collect();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(Meaning::Value(value)) = self.of(expr) {
            *expr = Expr::Nested(value.clone());
        }
        ControlFlow::Continue(())
    }
}

fn column(name: &str) -> Expr {
    Expr::Identifier(quoted(name))
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::grammar::Grammar;

    fn expanded(sql: &str) -> Result<String> {
        let mut statements = Parser::parse_sql(&Grammar::for_tokens(100), sql).expect("parses");
        expand(&mut statements[0])?;
        Ok(statements[0].to_string())
    }

    #[test]
    fn every_file_is_a_function() {
        assert_eq!(FUNCTIONS.len(), FILES.len());
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["heatmap", "red", "slow_queries", "span_metrics"]);
    }

    #[test]
    fn keys_become_columns() {
        let sql = expanded("SELECT * FROM traces.red('1 hour', ARRAY['a.b', 'c''d']) AS r").expect("expanded");
        for part in [
            "span_kind, \"a.b\", \"c'd\", count(*)",
            "coalesce(attributes ->> 'a.b', resource_attributes ->> 'a.b') AS \"a.b\"",
            "coalesce(attributes ->> 'c''d', resource_attributes ->> 'c''d') AS \"c'd\"",
            "bucket_width((INTERVAL '1 hour'))",
            "GROUP BY time, service_name, span_name, span_kind, \"a.b\", \"c'd\"",
            ") AS r",
        ] {
            assert!(sql.contains(part), "{part} in {sql}");
        }
        let plain = expanded("SELECT * FROM red()").expect("expanded");
        assert!(!plain.contains("dimensions") && plain.ends_with(") AS red"), "{plain}");
        for same in ["red(dimensions => '{}')", "RED('5 minutes')", "traces.red(width => '5 minutes')"] {
            assert_eq!(expanded(&format!("SELECT * FROM {same}")).expect("expanded"), plain);
        }
        for other in ["SELECT * FROM red", "SELECT * FROM other.red()", "SELECT red(1)"] {
            assert_eq!(expanded(other).expect("expanded"), other);
        }
    }

    #[test]
    fn arguments_that_are_not_taken_are_told() {
        for (call, sqlstate) in [
            ("red('1 hour', '{}', 3)", "42883"),
            ("red(interval => '1 hour')", "42883"),
            ("red(*)", "42883"),
            ("red(width)", "0A000"),
            ("red('1 hour', ARRAY[1])", "22023"),
            ("red('1 hour', $1)", "22023"),
            ("red('1 hour', '{a,a}')", "22023"),
            ("red('1 hour', '{time}')", "22023"),
            ("red('1 hour', '{\"\"}')", "22023"),
        ] {
            let error = expanded(&format!("SELECT * FROM {call}")).expect_err(call);
            assert_eq!(error.sqlstate(), sqlstate, "{call}: {error}");
        }
    }
}
