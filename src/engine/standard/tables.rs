//! Functions in FROM that give rows: a lateral query that takes lists apart.
//!
//! A function that gives one column is named by its alias, the column too: `FROM generate_series(1, 3) AS n` has the column `n`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, Ident, Interval, Query, SelectItem, SetExpr,
    Statement, TableAlias, TableAliasColumnDef, TableFactor, TimezoneInfo, TypedString, UnaryOperator, Value,
    ValueWithSpan, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::functions::plain_arguments;
use super::{call, check_copies, take};
use crate::engine::functions::{
    JSON_ELEMENTS, JSON_ELEMENTS_TEXT, JSON_KEYS, JSON_VALUES, JSON_VALUES_TEXT, VALUE_JSON,
};
use crate::error::Result;

/// A list and the name of the column that its elements make.
type Column = (Expr, String);

/// Rewrites a function in FROM.
pub(super) fn rewrite(table: &mut TableFactor) -> Result<()> {
    match table {
        TableFactor::Table { name, args: Some(args), with_ordinality, .. } => {
            if let Some(arguments) = exprs(&args.args) {
                let (name, ordinality) = (name.to_string().to_lowercase(), *with_ordinality);
                put(table, &name, arguments, ordinality)?;
            }
        }
        TableFactor::Function { name, args, with_ordinality, .. } => {
            if let Some(arguments) = exprs(args) {
                let (name, ordinality) = (name.to_string().to_lowercase(), *with_ordinality);
                put(table, &name, arguments, ordinality)?;
            }
        }
        TableFactor::UNNEST { array_exprs, with_offset: false, with_ordinality, .. } => {
            let (lists, ordinality) = (array_exprs.clone(), *with_ordinality);
            put(table, "unnest", lists, ordinality)?;
        }
        _ => {}
    }
    Ok(())
}

/// Makes rows of a list that is selected.
pub(super) fn in_select(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if let Some(list) = selected_list(function) {
        *expr = call("unnest", vec![list]);
    }
}

fn selected_list(function: &Function) -> Option<Expr> {
    let name = function.name.to_string().to_lowercase();
    // `unnest` is one already, and the functions over JSON that give lists keep their meaning.
    if matches!(name.as_str(), "unnest" | "json_object_keys") {
        return None;
    }
    match lists(&name, plain_arguments(function)?)?.as_slice() {
        [(list, _)] => Some(list.clone()),
        _ => None,
    }
}

fn exprs(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    args.iter().map(expr).collect()
}

/// The lists whose elements side by side are the rows of a function; `None` for one that is none of these.
fn lists(name: &str, arguments: Vec<Expr>) -> Option<Vec<Column>> {
    let column = |function: &str, name: &str| (call(function, arguments.clone()), name.to_string());
    // A list, as `events` is, has its elements as JSON too.
    let elements = |function: &str| {
        let json = arguments.iter().cloned().map(|list| call(VALUE_JSON, vec![list])).collect();
        (call(function, json), "value".to_string())
    };
    Some(match (name, arguments.len()) {
        ("generate_series", 2 | 3) => vec![(call("generate_series", series(arguments)), name.to_string())],
        ("unnest", 1..) => arguments.into_iter().map(|list| (list, name.to_string())).collect(),
        ("string_to_table", 2) => vec![column("string_to_array", name)],
        ("json_object_keys" | "jsonb_object_keys", 1) => vec![column(JSON_KEYS, name)],
        ("json_each" | "jsonb_each", 1) => vec![column(JSON_KEYS, "key"), column(JSON_VALUES, "value")],
        ("json_each_text" | "jsonb_each_text", 1) => vec![column(JSON_KEYS, "key"), column(JSON_VALUES_TEXT, "value")],
        ("json_array_elements" | "jsonb_array_elements", 1) => vec![elements(JSON_ELEMENTS)],
        ("json_array_elements_text" | "jsonb_array_elements_text", 1) => vec![elements(JSON_ELEMENTS_TEXT)],
        _ => return None,
    })
}

/// The arguments of a series: text is a time, of the type that the other end names, and an interval.
fn series(mut arguments: Vec<Expr>) -> Vec<Expr> {
    let named = arguments.iter().find_map(|argument| match argument {
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => Some(data_type.clone()),
        _ => None,
    });
    let data_type = named.unwrap_or(DataType::Timestamp(None, TimezoneInfo::Tz));
    for (at, argument) in arguments.iter_mut().enumerate() {
        if !matches!(argument, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. })) {
            continue;
        }
        let text = Box::new(take(argument));
        *argument = if at < 2 {
            let data_type = data_type.clone();
            Expr::Cast { kind: CastKind::DoubleColon, expr: text, data_type, array: false, format: None }
        } else {
            Expr::Interval(Interval {
                value: text,
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            })
        };
    }
    arguments
}

/// Whether an argument is a whole number as it stands, for which a series needs no list.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_number(expr),
        _ => false,
    }
}

fn put(table: &mut TableFactor, name: &str, arguments: Vec<Expr>, ordinality: bool) -> Result<()> {
    let (TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. }) =
        table
    else {
        return Ok(());
    };
    // Lists of keys and values, and of elements and their numbers, each name what they are made of.
    let times = 1 + usize::from(ordinality) + usize::from(name.contains("_each"));
    for argument in &arguments {
        check_copies(argument, times)?;
    }
    if name == "generate_series" && !ordinality && arguments.iter().all(is_number) {
        // Without an alias its column stays `value`.
        if let Some(alias) = alias {
            name_column(alias);
        }
        return Ok(());
    }
    let mut alias = alias.take().unwrap_or_else(|| alias_of(Ident::new(name)));
    let lateral = arguments.iter().any(names_columns);
    let rows = lists(name, arguments).and_then(|columns| query_of(columns, &mut alias, ordinality));
    let (TableFactor::Table { alias: place, .. }
    | TableFactor::Function { alias: place, .. }
    | TableFactor::UNNEST { alias: place, .. }) = table
    else {
        return Ok(());
    };
    match rows {
        Some(query) => {
            *table = TableFactor::Derived { lateral, subquery: Box::new(query), alias: Some(alias), sample: None };
        }
        None => *place = Some(alias),
    }
    Ok(())
}

/// The alias of a relation that is given none.
pub(in crate::engine) fn alias_of(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

/// Names the one column as the alias, where it names none.
fn name_column(alias: &mut TableAlias) {
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn names_columns(expr: &Expr) -> bool {
    visit_expressions(expr, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// `SELECT unnest(list) AS name, …`. Names that the alias gives to columns become theirs.
fn query_of(columns: Vec<Column>, alias: &mut TableAlias, ordinality: bool) -> Option<Query> {
    let given: Vec<Ident> = std::mem::take(&mut alias.columns).into_iter().map(|column| column.name).collect();
    let is_single = columns.len() == 1;
    let number = ordinality.then(|| (numbers_of(&columns[0].0), "ordinality".to_string()));
    let items = columns.into_iter().chain(number).enumerate().map(|(at, (list, name))| {
        let own = if at == 0 && is_single && name != "value" { alias.name.clone() } else { Ident::new(name) };
        let alias = given.get(at).cloned().unwrap_or(own);
        SelectItem::ExprWithAlias { expr: call("unnest", vec![list]), alias }
    });
    let items = items.collect();
    let Some(Statement::Query(mut query)) = Parser::parse_sql(&GenericDialect {}, "SELECT 1").ok()?.pop() else {
        return None;
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = items;
    Some(*query)
}

/// `1, 2, …` for each element of a list.
fn numbers_of(list: &Expr) -> Expr {
    let number = |text: &str| Expr::Value(ValueWithSpan::from(Value::Number(text.into(), false)));
    let count = Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(call("cardinality", vec![list.clone()])),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    };
    call("generate_series", vec![number("1"), count])
}
