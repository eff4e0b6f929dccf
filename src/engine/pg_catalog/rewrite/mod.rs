//! Clients' catalogue queries, brought into what DataFusion plans.

mod choices;
mod no_rows;
mod objects;
mod search_path;
mod sizes;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

/// Names of types and functions without the `pg_` that all others have.
const CATALOG_WORDS: &[&str] =
    &["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole", "regoper"];

static RULES: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);

/// Parses a statement that asks about the catalogue; `None` for every other, and where the usual parser must say what is wrong.
pub(in crate::engine) fn parse(text: &str, tokens: &[TokenWithSpan]) -> Option<Statement> {
    let has = |wanted: &str| tokens.iter().any(|token| is_word(&token.token, wanted));
    // The table pickers of dashboards ask for the search path with these, and name nothing of the catalogue.
    let picks_tables = has("generate_series") && has("string_to_array");
    if !picks_tables && !tokens.iter().any(|token| is_catalog_word(&token.token)) {
        return None;
    }
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?;
    match (statements.pop(), statements.is_empty()) {
        (Some(mut statement), true) => {
            let _ = statement.visit(&mut Qualify::default());
            objects::call_by_name(&mut statement);
            search_path::unnest(&mut statement);
            sizes::measure(&mut statement);
            choices::settle(&mut statement);
            no_rows::cut(&mut statement);
            let mut statement = RULES.rewrite(statement);
            empty_arrays(&mut statement);
            empty_subqueries(&mut statement);
            empty_columns(&mut statement);
            asked_as_view(&mut statement);
            backslash_escapes(&mut statement);
            Some(statement)
        }
        _ => None,
    }
}

/// Finds the catalogue's relations without their schema, as PostgreSQL does whatever the search path is.
#[derive(Default)]
struct Qualify {
    /// Names of common table expressions, which come first.
    common: HashSet<String>,
}

impl VisitorMut for Qualify {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.common.extend(tables.map(|table| table.alias.name.value.to_ascii_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = table
            && let [ObjectNamePart::Identifier(word)] = name.0.as_slice()
            && word.value.to_ascii_lowercase().starts_with("pg_")
            && !self.common.contains(&word.value.to_ascii_lowercase())
        {
            name.0.insert(0, ObjectNamePart::Identifier(Ident::new("pg_catalog")));
        }
        ControlFlow::Continue(())
    }
}

/// Puts empty arrays for `ARRAY(SELECT …)`, which DataFusion does not plan: what catalogue queries collect that way (members of
/// roles, options, policies) does not exist here.
fn empty_arrays(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && matches!(function.args, FunctionArguments::Subquery(_))
            && function.name.to_string().eq_ignore_ascii_case("array")
        {
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Array(Array { elem: Vec::new(), named: true })),
                data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
                array: false,
                format: None,
            };
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Tables that have nothing to say here: no column has a default, counts up or sorts in a way of its own.
const EMPTY_TABLES: [&str; 3] = ["pg_sequence", "pg_attrdef", "pg_collation"];

/// Whether a subquery asks how a type sorts: all text sorts by its bytes.
fn asks_for_collation(column: &Expr) -> bool {
    last_word(column).as_deref() == Some("typcollation")
}

/// Whether a subquery asks if a relation is a composite type, of which there are none.
fn asks_for_composite(select: &Select) -> bool {
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(Expr::BinaryOp { left, right, .. })] => {
            last_word(left).as_deref() == Some("relkind") && right.to_string() == "'c'"
        }
        _ => false,
    }
}

/// Puts NULL for subqueries that read empty tables, with functions that no other query needs.
fn empty_subqueries(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Subquery(query) = expr
            && let SetExpr::Select(select) = query.body.as_ref()
            && (select
                .from
                .iter()
                .any(|from| EMPTY_TABLES.iter().any(|table| from.relation.to_string().contains(table)))
                || asks_for_composite(select)
                || matches!(select.projection.as_slice(), [SelectItem::UnnamedExpr(column)] if asks_for_collation(column)))
        {
            *expr = null_of(match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(Expr::BinaryOp { .. })] => DataType::Boolean,
                [SelectItem::UnnamedExpr(column)] if asks_for_collation(column) => DataType::Int(None),
                _ => DataType::Text,
            });
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Puts NULL for what is read out of lists that are empty here: privileges, options, and the columns of keys and indexes.
fn empty_columns(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && let FunctionArguments::List(arguments) = &function.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(list))) = arguments.args.first()
            && let Some(column) = last_word(list)
        {
            let name = function.name.to_string().to_ascii_lowercase();
            let is_key = KEY_COLUMNS.contains(&column.as_str());
            match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
                "array_to_string" if column.ends_with("acl") || column.ends_with("config") => {
                    *expr = null_of(DataType::Text);
                }
                "unnest" | "generate_subscripts" if is_key => *expr = null_of(DataType::Int(None)),
                _ => {}
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Lists of the columns of keys and indexes.
const KEY_COLUMNS: [&str; 5] = ["conkey", "confkey", "indclass", "indkey", "indoption"];

/// The last word of a column's name.
fn last_word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(word) => Some(word.value.to_ascii_lowercase()),
        Expr::CompoundIdentifier(words) => words.last().map(|word| word.value.to_ascii_lowercase()),
        _ => None,
    }
}

/// Calls a relation a view where its definition is asked for: all of ours have one, though clients list them as tables.
fn asked_as_view(statement: &mut Statement) {
    let Statement::Query(query) = statement else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let asked = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(Expr::Function(function)) => {
            function.name.to_string().to_ascii_lowercase().ends_with("pg_get_viewdef")
        }
        _ => false,
    });
    for item in select.projection.iter_mut().filter(|_| asked) {
        if let SelectItem::UnnamedExpr(expr) = item
            && last_word(expr).as_deref() == Some("relkind")
        {
            let view = Expr::Value(Value::SingleQuotedString("v".into()).with_empty_span());
            *item = SelectItem::ExprWithAlias { expr: view, alias: Ident::new("relkind") };
        }
    }
}

/// `NULL::type`.
fn null_of(data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::Null.with_empty_span())),
        data_type,
        array: false,
        format: None,
    }
}

/// Turns `LIKE … ESCAPE '/'` into the backslash that DataFusion knows alone.
fn backslash_escapes(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr
            && let Some(escape) = escape_char.as_ref().map(|value| value.to_string()).filter(|text| text.len() == 3)
        {
            let replaced = format!(r"replace({pattern}, {escape}, '\')");
            let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&replaced).and_then(|mut p| p.parse_expr());
            if let Ok(parsed) = parsed {
                **pattern = parsed;
                *escape_char = None;
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(wanted))
}

fn is_catalog_word(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let name = word.value.to_ascii_lowercase();
    name.starts_with("pg_") || CATALOG_WORDS.contains(&name.as_str())
}
