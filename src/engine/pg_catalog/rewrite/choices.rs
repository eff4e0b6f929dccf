//! Subqueries in the branches of a CASE, for types and relations that do not exist here: domains, composites, ranges.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, SelectItem,
    SetExpr, Statement, TableFactor, Visit, Visitor, visit_expressions_mut,
};

use super::{last_word, null_of};

/// Puts NULL for each subquery in a CASE that looks the case's own row up in the catalogue: it does not plan, and the branch is
/// for kinds of objects of which there are none.
pub(super) fn settle(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Case { conditions, else_result, .. } = expr {
            let results = conditions.iter_mut().map(|when| &mut when.result);
            for result in results.chain(else_result.as_deref_mut()) {
                if let Expr::Subquery(query) = result
                    && looks_up(query)
                {
                    *result = null_of(type_of(query));
                }
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Whether a subquery reads the catalogue alone, and columns of a query around it.
fn looks_up(query: &Query) -> bool {
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    let common = query.with.iter().flat_map(|with| &with.cte_tables).map(|table| table.alias.name.value.clone());
    let common: BTreeSet<String> = common.collect();
    let catalogue = |name: &String| name.starts_with("pg_") || common.contains(name);
    names.relations.iter().all(catalogue)
        && names.used.iter().any(|used| !names.aliases.contains(used) && !names.relations.contains(used))
}

#[derive(Default)]
struct Names {
    relations: BTreeSet<String>,
    aliases: BTreeSet<String>,
    /// What stands before the dot of columns.
    used: BTreeSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident());
        self.relations.extend(name.map(|name| name.value.to_ascii_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } = table {
            self.aliases.insert(alias.name.value.to_ascii_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(words) = expr {
            self.used.extend(words.first().map(|word| word.value.to_ascii_lowercase()));
        }
        ControlFlow::Continue(())
    }
}

/// The type of the one column of a subquery, as far as its words tell.
fn type_of(query: &Query) -> DataType {
    let SetExpr::Select(select) = query.body.as_ref() else { return DataType::Text };
    let [SelectItem::UnnamedExpr(column)] = select.projection.as_slice() else { return DataType::Text };
    if let Expr::Function(function) = column
        && function.name.to_string().eq_ignore_ascii_case("array_agg")
        && let FunctionArguments::List(arguments) = &function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(element))) = arguments.args.first()
    {
        return DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(plain_type(element)), None));
    }
    plain_type(column)
}

fn plain_type(column: &Expr) -> DataType {
    match last_word(column) {
        Some(name) if name.ends_with("oid") || name.ends_with("typid") => {
            DataType::Custom(ObjectName::from(vec!["oid".into()]), Vec::new())
        }
        _ => DataType::Text,
    }
}
