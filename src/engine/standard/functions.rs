//! Functions of PostgreSQL that are others by another name, or an expression of others (`schema/functions.sql`).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Array, CreateFunction, CreateFunctionBody, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, OperateFunctionArg, Statement, Value, ValueWithSpan, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{call, check_copies, take};
use crate::engine::functions::VALUE_JSON;
use crate::error::Result;

/// Functions that are another one.
const RENAMED: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("clock_timestamp", "now"),
    ("every", "bool_and"),
    ("gen_random_uuid", "uuid"),
    ("json_array_length", "json_length"),
    ("jsonb_array_length", "json_length"),
    ("statement_timestamp", "now"),
    ("transaction_timestamp", "now"),
    ("variance", "var_samp"),
];

/// Functions that are the JSON of another one's value.
const JSON_OF: &[(&str, &str)] = &[
    ("json_agg", "array_agg"),
    ("json_build_object", "named_struct"),
    ("jsonb_agg", "array_agg"),
    ("jsonb_build_object", "named_struct"),
];

/// Units of `date_trunc` that may be written in the plural.
const UNITS: &[&str] = &["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "year"];

/// A parameter's name, with the value that it has where a call gives none.
pub(in crate::engine) type ParameterDefault = (String, Option<Expr>);

/// A function's parameters and what it returns.
struct Expression {
    parameters: Vec<ParameterDefault>,
    body: Expr,
}

/// The functions of the file by name; those of one name take different numbers of arguments.
static EXPRESSIONS: LazyLock<HashMap<String, Vec<Expression>>> = LazyLock::new(|| {
    let file = include_str!("../../../schema/functions.sql");
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, file).unwrap_or_default();
    let mut by_name: HashMap<String, Vec<Expression>> = HashMap::new();
    for (name, expression) in statements.into_iter().filter_map(expression_of) {
        by_name.entry(name).or_default().push(expression);
    }
    by_name
});

fn expression_of(statement: Statement) -> Option<(String, Expression)> {
    let Statement::CreateFunction(CreateFunction {
        name,
        args,
        function_body: Some(CreateFunctionBody::Return(body)),
        ..
    }) = statement
    else {
        return None;
    };
    let parameter = |arg: OperateFunctionArg| Some((arg.name?.value, arg.default_expr));
    let parameters = args.unwrap_or_default().into_iter().filter_map(parameter).collect();
    Some((name.to_string(), Expression { parameters, body }))
}

/// An argument of a call, with the name that it is given by, if any.
pub(in crate::engine) type Argument = (Option<String>, Expr);

impl Expression {
    /// The values of the parameters; `None` when the call is one of another function.
    fn values(&self, arguments: &[Argument]) -> Option<Vec<Expr>> {
        values_of(&self.parameters, arguments)
    }
}

/// The values of a function's parameters; `None` when the call is one of another function.
pub(in crate::engine) fn values_of(parameters: &[ParameterDefault], arguments: &[Argument]) -> Option<Vec<Expr>> {
    let by_place = arguments.iter().take_while(|(name, _)| name.is_none()).count();
    let by_name = &arguments[by_place..];
    let is_known = |name: &Option<String>| {
        let at = parameters.iter().position(|(known, _)| name.as_ref() == Some(known));
        at.is_some_and(|at| at >= by_place)
    };
    if by_place > parameters.len() || !by_name.iter().all(|(name, _)| is_known(name)) {
        return None;
    }
    let named = |wanted: &String| by_name.iter().find(|(name, _)| name.as_ref() == Some(wanted));
    let value = |(at, (name, default)): (usize, &ParameterDefault)| match arguments.get(at) {
        Some((None, value)) => Some(value.clone()),
        _ => named(name).map(|(_, value)| value.clone()).or_else(|| default.clone()),
    };
    parameters.iter().enumerate().map(value).collect()
}

/// An argument that is an expression.
pub(in crate::engine) fn argument(arg: &FunctionArg) -> Option<Argument> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some((None, expr.clone())),
        // PostgreSQL's own grammar, which reads what ours does not, takes the name for an expression.
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
        | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((Some(name.value.to_lowercase()), expr.clone()))
        }
        _ => None,
    }
}

/// Rewrites a call in place.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    let Expr::Function(function) = expr else { return Ok(()) };
    let name = function.name.to_string().to_lowercase();
    if let Some((_, other)) = RENAMED.iter().find(|(known, _)| *known == name) {
        function.name = named(other);
    } else if let Some((_, other)) = JSON_OF.iter().find(|(known, _)| *known == name) {
        function.name = named(other);
        *expr = call(VALUE_JSON, vec![take(expr)]);
    } else if let Some(array) = built_array(function, &name) {
        *expr = array;
    } else if let Some(levels) = levels(function, &name)? {
        *expr = Expr::Array(Array { elem: levels, named: true });
    } else if let Some(arguments) = arguments(function) {
        let called = EXPRESSIONS.get(&name).into_iter().flatten();
        if let Some((called, values)) = called.filter_map(|it| Some((it, it.values(&arguments)?))).next() {
            *expr = Expr::Nested(Box::new(with_values(called, &values)?));
        } else if name == "date_trunc" {
            singular_unit(function);
        }
    }
    Ok(())
}

/// `json_build_array(a, b)`: the JSON of each value between brackets, since a list has values of one type.
fn built_array(function: &Function, name: &str) -> Option<Expr> {
    if !matches!(name, "json_build_array" | "jsonb_build_array") {
        return None;
    }
    let text = |text: &str| Expr::Value(ValueWithSpan::from(Value::SingleQuotedString(text.into())));
    let mut parts = vec![text("[")];
    for (at, value) in plain_arguments(function)?.into_iter().enumerate() {
        if at > 0 {
            parts.push(text(","));
        }
        let json = if is_json(&value) { value } else { call("to_json", vec![value]) };
        parts.push(call("coalesce", vec![json, text("null")]));
    }
    parts.push(text("]"));
    Some(call(VALUE_JSON, vec![call("concat", parts)]))
}

/// Whether a value is JSON already, which is text that is not to be quoted.
fn is_json(value: &Expr) -> bool {
    matches!(value, Expr::Function(function) if function.name.to_string() == VALUE_JSON)
}

fn named(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::new(name)])
}

/// The arguments of a call that has nothing but these, none of them by name.
pub(super) fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    arguments(function)?.into_iter().map(|(name, value)| name.is_none().then_some(value)).collect()
}

/// The arguments of a call that has nothing but these.
fn arguments(function: &Function) -> Option<Vec<Argument>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_plain = function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty()
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    if is_plain { list.args.iter().map(argument).collect() } else { None }
}

/// What a call returns, given the values of its parameters.
fn with_values(called: &Expression, values: &[Expr]) -> Result<Expr> {
    let mut body = called.body.clone();
    let place = |name: &Ident| called.parameters.iter().position(|(known, _)| *known == name.value);
    let mut used = vec![0; values.len()];
    let _ = visit_expressions_mut(&mut body, |expr| {
        if let Expr::Identifier(name) = expr
            && let Some(at) = place(name)
        {
            used[at] += 1;
        }
        ControlFlow::<()>::Continue(())
    });
    for (value, times) in values.iter().zip(used) {
        check_copies(value, times)?;
    }
    let _ = visit_expressions_mut(&mut body, |expr| {
        if let Expr::Identifier(name) = expr
            && let Some(at) = place(name)
        {
            *expr = Expr::Nested(Box::new(values[at].clone()));
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(body)
}

/// One call for each level of `percentile_cont(ARRAY[0.5, 0.9])` and `percentile_disc`.
fn levels(function: &Function, name: &str) -> Result<Option<Vec<Expr>>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Array(levels)))] = list.args.as_slice() else {
        return Ok(None);
    };
    if !matches!(name, "percentile_cont" | "percentile_disc") {
        return Ok(None);
    }
    check_copies(function, levels.elem.len())?;
    let of_level = |level: &Expr| {
        let mut list = list.clone();
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(level.clone()))];
        Expr::Function(Function { args: FunctionArguments::List(list), ..function.clone() })
    };
    Ok(Some(levels.elem.iter().map(of_level).collect()))
}

fn singular_unit(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(unit)))) = list.args.first_mut()
        && let ValueWithSpan { value: Value::SingleQuotedString(unit), .. } = unit
        && let Some(one) = UNITS.iter().find(|one| unit.to_lowercase().strip_suffix('s') == Some(one))
    {
        *unit = (*one).to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_file_is_taken() {
        let file = include_str!("../../../schema/functions.sql");
        assert_eq!(EXPRESSIONS.values().flatten().count(), file.matches("CREATE FUNCTION").count());
    }
}
