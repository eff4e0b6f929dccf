//! Objects by name: `'spans'::regclass`, `oid::regtype::text` and their kin as the functions that PostgreSQL has for them.
//!
//! | written | means |
//! |---|---|
//! | `x::regclass` | `regclassin(x)`: the OID, of a name or an OID |
//! | `typinput` and other columns of functions, as text or as columns of the result | `regprocout(typinput)` |
//! | `x::regtype[]` | `regtypenames(x)`: the names, of a list of OIDs |
//! | `x.tableoid` | NULL: rows do not tell of what relation they are |
//! | `x::regclass::text`, and `x::regclass` as a column of the result | `regclassout(regclassin(x))`: the name |

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, SelectItem,
    SetExpr, Statement, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{last_word, null_of};
use crate::engine::names::name_of;
use crate::engine::pg_catalog::oids::word;
use crate::engine::pg_catalog::reg::{KINDS, TYPE_NAMES};

/// Puts calls for casts to types that name objects.
pub(super) fn call_by_name(statement: &mut Statement) {
    if let Statement::Query(query) = statement {
        name_results(&mut query.body);
    }
    // Inner expressions come first.
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Cast { expr: inner, data_type, .. } = expr {
            if let (true, Some(kind)) = (is_text(data_type), called_kind(inner)) {
                *expr = call(&format!("{kind}out"), inner);
            } else if is_text(data_type) && names_function(inner) {
                *expr = call("regprocout", inner);
            } else if let Some(kind) = kind(data_type) {
                *expr = call(&format!("{kind}in"), inner);
            } else if is_list_of_types(data_type) {
                *expr = call(TYPE_NAMES, inner);
            }
        } else if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            && last_word(expr).as_deref() == Some("tableoid")
        {
            *expr = null_of(DataType::Custom(ObjectName::from(vec![Ident::new("oid")]), Vec::new()));
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Columns whose values are functions, which PostgreSQL shows by name.
const FUNCTION_COLUMNS: [&str; 18] = [
    "aggfinalfn",
    "aggfnoid",
    "aggtransfn",
    "amhandler",
    "amproc",
    "conproc",
    "oprcode",
    "oprjoin",
    "oprrest",
    "prosupport",
    "typanalyze",
    "typinput",
    "typmodin",
    "typmodout",
    "typoutput",
    "typreceive",
    "typsend",
    "typsubscript",
];

fn names_function(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        && last_word(expr).is_some_and(|name| FUNCTION_COLUMNS.contains(&name.as_str()))
}

/// `regtype[]`: lists of types are only ever shown.
fn is_list_of_types(data_type: &DataType) -> bool {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => word(element).as_deref() == Some("regtype"),
        _ => false,
    }
}

/// The kind of object whose OID a call gives.
fn called_kind(expr: &Expr) -> Option<&'static str> {
    let Expr::Function(function) = expr else { return None };
    let name = function.name.to_string();
    KINDS.iter().find(|kind| name.strip_suffix("in") == Some(kind)).copied()
}

/// Shows names where an object is a column of the result.
fn name_results(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let (expr, alias) = match item {
                    SelectItem::UnnamedExpr(expr) => {
                        let alias = Ident::with_quote('"', name_of(expr));
                        (expr, alias)
                    }
                    SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
                    _ => continue,
                };
                if let Expr::Cast { data_type, .. } = expr
                    && let Some(kind) = kind(data_type)
                {
                    *item = SelectItem::ExprWithAlias { expr: call(&format!("{kind}out"), expr), alias };
                } else if names_function(expr) {
                    *item = SelectItem::ExprWithAlias { expr: call("regprocout", expr), alias };
                }
            }
        }
        SetExpr::Query(query) => name_results(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            name_results(left);
            name_results(right);
        }
        _ => {}
    }
}

fn kind(data_type: &DataType) -> Option<&'static str> {
    let word = word(data_type)?;
    KINDS.iter().find(|kind| **kind == word).copied()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
        || matches!(word(data_type).as_deref(), Some("text" | "name" | "varchar"))
}

/// A call of a function of one argument.
fn call(name: &str, argument: &Expr) -> Expr {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&format!("{name}(NULL)"))
        .and_then(|mut parser| parser.parse_expr());
    match parsed {
        Ok(Expr::Function(mut function)) => {
            if let FunctionArguments::List(list) = &mut function.args {
                list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument.clone()))];
            }
            Expr::Function(function)
        }
        _ => argument.clone(),
    }
}
