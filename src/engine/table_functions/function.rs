//! A function of a file: what it is declared to take, and its query for the values of a call.

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, CreateFunction, CreateFunctionBody, DataType, Expr, FunctionArg,
    Interval, Query, SelectItem, Spanned, Statement, UnaryOperator, Value, ValueWithSpan, VisitMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::has;
use super::meanings::{Meaning, Meanings};
use crate::engine::functions::{GIVEN_TIME, GIVEN_TRUTH, RANGE_FROM};
use crate::engine::standard::{ParameterDefault, argument, call, check_copies, values_of};
use crate::error::{Error, Result};
use crate::pg::array_elements;

/// The most attribute keys of a call: each is a column to group by.
const MAX_KEYS: usize = 32;

/// A function of a file.
#[derive(Debug)]
pub(in crate::engine) struct TableFunction {
    pub name: String,
    /// What it gives, as its file says above it.
    pub purpose: String,
    /// What its file says below that.
    pub source: String,
    pub(super) query: Query,
    parameters: Vec<ParameterDefault>,
    types: Vec<DataType>,
}

impl TableFunction {
    /// Reads a file. Its words have no places: errors are about what the user wrote.
    pub(super) fn read(file: &str) -> Option<Self> {
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
        let purpose: Vec<&str> = file.lines().map_while(|line| line.strip_prefix("-- ")).collect();
        let (mut parameters, mut types) = (Vec::new(), Vec::new());
        for arg in args.unwrap_or_default() {
            parameters.push((arg.name?.value, arg.default_expr));
            types.push(arg.data_type);
        }
        let source: Vec<&str> = file.lines().skip(purpose.len()).collect();
        let (purpose, source) = (purpose.join(" "), source.join("\n").trim().trim_end_matches(';').to_owned());
        Some(Self { name: name.to_string(), purpose, source, query: *query, parameters, types })
    }

    /// Names, types and defaults of the parameters, as PostgreSQL writes types.
    pub(in crate::engine) fn parameters(&self) -> impl Iterator<Item = (&str, String, Option<String>)> {
        self.parameters.iter().zip(&self.types).map(|((name, default), of_type)| {
            let of_type = match of_type.to_string().to_lowercase().as_str() {
                "int" => "integer".to_owned(),
                "timestamptz" => "timestamp with time zone".to_owned(),
                other => other.to_owned(),
            };
            (name.as_str(), of_type, default.as_ref().map(Expr::to_string))
        })
    }

    /// The function as a call shows it, with its parameters' types.
    pub(super) fn declared(&self) -> String {
        let parameters: Vec<String> = self.parameters().map(|(name, of_type, _)| format!("{name} {of_type}")).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// The values of the parameters; `None` when the call is one of another function. Beside others of its name their types decide too: a
    /// condition is no text, and a constant text no condition.
    pub(super) fn values(&self, arguments: &[FunctionArg], has_namesakes: bool) -> Option<Vec<Expr>> {
        let arguments: Vec<_> = arguments.iter().map(argument).collect::<Option<_>>()?;
        let values = values_of(&self.parameters, &arguments)?;
        let is_taken = |(value, of_type): (&Expr, &DataType)| match of_type {
            DataType::Text => is_text(value),
            DataType::Boolean => !is_text(value),
            _ => true,
        };
        (!has_namesakes || values.iter().zip(&self.types).all(is_taken)).then_some(values)
    }

    /// The query for the values of its parameters.
    pub(super) fn with_values(&self, values: Vec<Expr>) -> Result<Query> {
        let mut meanings = Meanings::default();
        let values = self.checked(values);
        for (((name, _), of_type), value) in self.parameters.iter().zip(&self.types).zip(values) {
            if !matches!(of_type, DataType::Boolean) && names_columns(&value) {
                let message = format!("the arguments of {} must not name columns", self.name);
                return Err(Error::bad_input(message).with_sqlstate("0A000"));
            }
            let meaning = match is_texts(of_type) {
                true => Meaning::Keys(self.keys(name, &value)?),
                false => Meaning::Value(Box::new(value)),
            };
            meanings.add(name, meaning);
        }
        for (value, times) in meanings.uses(&self.query) {
            check_copies(value, times)?;
        }
        let mut query = self.query.clone();
        let _ = query.visit(&mut meanings);
        Ok(query)
    }

    /// The values as their parameters' types, in calls that tell what is wrong with them: of a condition and a time that may be none, and of a range
    /// of time that ends before it begins. What is NULL counts as left out, but for a condition.
    fn checked(&self, values: Vec<Expr>) -> Vec<Expr> {
        let declared = |(((name, default), of_type), value): ((&ParameterDefault, &DataType), Expr)| {
            let default = default.as_ref().filter(|default| !is_null(default));
            let typed = |value: Expr| match of_type {
                DataType::Timestamp(..) if !is_text(&value) && !is_null(&value) => {
                    typed(self.given(GIVEN_TIME, name, value), of_type)
                }
                of_type => typed(value, of_type),
            };
            match (of_type, default) {
                (DataType::Boolean, _) if is_condition(&value) => value,
                (DataType::Boolean, _) => self.given(GIVEN_TRUTH, name, value),
                (of_type, Some(default)) if is_null(&value) && is_texts(of_type) => default.clone(),
                (of_type, _) if is_texts(of_type) => value,
                (_, Some(default)) if is_null(&value) => typed(default.clone()),
                (_, Some(default)) if may_be_null(&value) => {
                    call("coalesce", vec![typed(value), typed(default.clone())])
                }
                _ => typed(value),
            }
        };
        let parameters = self.parameters.iter().zip(&self.types).zip(values);
        let mut values: Vec<Expr> = parameters.map(declared).collect();
        let place = |wanted: &str| self.parameters.iter().position(|(name, _)| name == wanted);
        if let (Some(since), Some(until)) = (place("since"), place("until"))
            && !is_null(&values[since])
            && !is_null(&values[until])
        {
            values[since] = call(RANGE_FROM, vec![values[since].clone(), values[until].clone()]);
        }
        values
    }

    /// The value in a call of a function that ends the statement where it is none of those that the parameter takes.
    fn given(&self, check: &str, parameter: &str, value: Expr) -> Expr {
        let place = value.span().start;
        let number = |number: u64| Expr::Value(Value::Number(number.to_string(), false).into());
        let name = Expr::Value(text(format!("{parameter} of {}", self.name)));
        call(check, vec![value, name, number(place.line), number(place.column)])
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

/// Whether an argument is true or false whatever is in it, as far as its form tells.
fn is_condition(value: &Expr) -> bool {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    match value {
        Expr::Nested(inner) => is_condition(inner),
        Expr::Value(value) => matches!(value.value, Value::Boolean(_)),
        Expr::BinaryOp { op, .. } => matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq),
        Expr::UnaryOp { op, .. } => matches!(op, UnaryOperator::Not),
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::InList { .. } | Expr::Between { .. } | Expr::Like { .. } => true,
        _ => false,
    }
}

fn is_null(value: &Expr) -> bool {
    match value {
        Expr::Nested(inner) => is_null(inner),
        Expr::Cast { expr, .. } => is_null(expr),
        Expr::Value(value) => value.value == Value::Null,
        _ => false,
    }
}

/// Whether only the statement's parameters, or its run, tell whether a value is NULL.
fn may_be_null(value: &Expr) -> bool {
    has(value, |expr| match expr {
        Expr::Value(value) => matches!(value.value, Value::Placeholder(_)),
        expr => matches!(expr, Expr::Function(_) | Expr::Case { .. } | Expr::Subquery(_)),
    })
}

fn text(text: String) -> ValueWithSpan {
    ValueWithSpan::from(Value::SingleQuotedString(text))
}

/// Whether an argument is a text as it stands, or a parameter of the statement.
fn is_text(value: &Expr) -> bool {
    match value {
        Expr::Value(value) => matches!(value.value, Value::SingleQuotedString(_) | Value::Placeholder(_)),
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Text | DataType::Varchar(_)),
        Expr::Nested(inner) => is_text(inner),
        _ => false,
    }
}

fn is_texts(of_type: &DataType) -> bool {
    matches!(of_type, DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) if matches!(**element, DataType::Text))
}

/// An argument as a value of its parameter's type. A text that becomes an interval is read as one, and a condition stays as it is.
fn typed(value: Expr, of_type: &DataType) -> Expr {
    match (value, of_type) {
        (condition, DataType::Boolean) => condition,
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
    has(expr, |expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
}
