//! How deep calls, and subqueries in expressions, may nest in each other.
//!
//! The name of a call holds those of its arguments, and rules ask each call of a nest for its name and its type, both of which are made of those
//! below. What is planned takes a time that grows with the third power of the depth, so that this is bounded well below the depth of a statement.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Statement, UnaryOperator, Visit, Visitor};

use crate::error::{Error, Kind, Result};

/// The deepest nest of calls. Planning one takes some tenths of a second.
pub(super) const MAX_NESTED_CALLS: usize = 128;

/// The deepest nest of subqueries that are values or conditions. Planning one takes some tenths of a second, and each level takes half as long again.
pub(super) const MAX_NESTED_SUBQUERIES: usize = 16;

/// Refuses a statement with a deeper nest.
pub(super) fn check(statement: &Statement) -> Result<()> {
    match statement.visit(&mut Depth::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What is open.
#[derive(Default)]
struct Depth {
    calls: usize,
    subqueries: usize,
}

impl Visitor for Depth {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.calls += usize::from(is_call(expr));
        self.subqueries += usize::from(is_subquery(expr));
        if self.calls > MAX_NESTED_CALLS {
            return ControlFlow::Break(too_deep("calls and operators", MAX_NESTED_CALLS));
        }
        if self.subqueries > MAX_NESTED_SUBQUERIES {
            return ControlFlow::Break(too_deep("subqueries in expressions", MAX_NESTED_SUBQUERIES));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.calls -= usize::from(is_call(expr));
        self.subqueries -= usize::from(is_subquery(expr));
        ControlFlow::Continue(())
    }
}

/// Whether an expression is planned as something whose name and type are made of its operands'. Conditions have a type whatever is below, a
/// cast says its own, and [long chains](super::chains) are one call.
fn is_call(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op, .. } => !matches!(
            op,
            BinaryOperator::And
                | BinaryOperator::Or
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
                | BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::StringConcat
        ),
        Expr::UnaryOp { op, .. } => !matches!(op, UnaryOperator::Not | UnaryOperator::Plus),
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Interval(_)
        | Expr::Nested(_)
        | Expr::Cast { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::Tuple(_) => false,
        _ => true,
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. })
}

fn too_deep(what: &str, levels: usize) -> Error {
    Error::new(Kind::TooLarge, format!("{what} nest deeper than {levels} levels"))
        .with_sqlstate("54001")
        .with_hint("work out the inner ones in a subquery of FROM, or in WITH")
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::engine::grammar::Grammar;

    fn state(expression: &str) -> Option<&'static str> {
        let grammar = Grammar::for_tokens(4_000);
        let parser = Parser::new(&grammar).with_recursion_limit(2_000);
        let statement = parser.try_with_sql(&format!("SELECT {expression}")).expect("tokens").parse_statement();
        check(&statement.expect("a statement")).err().map(|error| error.sqlstate())
    }

    #[test]
    fn calls_nest_up_to_a_bound_and_many_stand_beside_each_other() {
        let nested = |depth| "abs(".repeat(depth) + "1" + &")".repeat(depth);
        assert_eq!(state(&nested(MAX_NESTED_CALLS)), None);
        assert_eq!(state(&nested(MAX_NESTED_CALLS + 1)), Some("54001"));
        assert_eq!(state(&vec!["abs(1)"; 300].join(" + ")), None);
        assert_eq!(state(&vec!["abs(1)"; 300].join(", ")), None);
        assert_eq!(state(&vec!["a"; 300].join(" / ")), Some("54001"));
        assert_eq!(state(&("- ".repeat(300) + "1")), Some("54001"));
        assert_eq!(state(&("NOT ".repeat(300) + "true")), None);
        let subqueries = |depth| "(SELECT ".repeat(depth) + "1" + &")".repeat(depth);
        assert_eq!(state(&subqueries(MAX_NESTED_SUBQUERIES)), None);
        assert_eq!(state(&subqueries(MAX_NESTED_SUBQUERIES + 1)), Some("54001"));
        assert_eq!(state(&vec!["(SELECT 1)"; 40].join(" + ")), None);
    }
}
