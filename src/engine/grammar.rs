//! The dialect as the parser sees it: generic, so that `quantile(0.95)(x)` parses, with PostgreSQL's precedence of operators and
//! without the forms of other databases that would hide mistakes.

use std::any::TypeId;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Statement, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::standard::check_copies;

/// The dialect of spanhouse, for one parse.
///
/// The parser goes back and reads again where a form turns out to be another, in nested forms twice a level: time could grow exponentially.
/// It asks here after each expression, and is told to give up when it asks far more often than a statement of this length needs. Names of
/// arguments (`f(name => 1)`) are words and not expressions, which saves reading each argument of a call twice.
#[derive(Debug)]
pub(super) struct Grammar {
    steps_left: AtomicUsize,
}

/// Steps for each token, and for a short statement besides: an honest statement takes a handful for each.
const STEPS_PER_TOKEN: usize = 64;
const STEPS_AT_LEAST: usize = 10_000;

impl Grammar {
    /// The dialect for a statement of so many tokens.
    pub(super) fn for_tokens(tokens: usize) -> Self {
        Self { steps_left: AtomicUsize::new(STEPS_AT_LEAST + tokens * STEPS_PER_TOKEN) }
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(written) if written.quote_style.is_none() && written.value.eq_ignore_ascii_case(word))
}

/// Takes these words if they are the next tokens.
fn take(parser: &mut Parser, words: &[&str]) -> bool {
    let stand_there = words.iter().enumerate().all(|(at, word)| is_word(&parser.peek_nth_token_ref(at).token, word));
    if stand_there {
        words.iter().for_each(|_| parser.advance_token());
    }
    stand_there
}

/// The bounds in either order.
fn symmetric(between: Expr) -> Result<Expr, ParserError> {
    Ok(match between {
        Expr::Between { expr, negated, low, high } => {
            for part in [&expr, &low, &high] {
                check_copies(part, 2).map_err(|_| ParserError::RecursionLimitExceeded)?;
            }
            let within = |low: &Expr, high: &Expr| {
                let (low, high) = (Box::new(low.clone()), Box::new(high.clone()));
                Box::new(Expr::Between { expr: expr.clone(), negated: false, low, high })
            };
            let (left, right) = (within(&low, &high), within(&high, &low));
            let either = Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Or, right }));
            if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) } } else { either }
        }
        other => other,
    })
}

macro_rules! yes {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool {
            true
        })*
    };
}

impl Dialect for Grammar {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        PostgreSqlDialect {}.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        let left = self.steps_left.load(Ordering::Relaxed);
        if left == 0 {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        self.steps_left.store(left - 1, Ordering::Relaxed);
        if ["isnull", "notnull"].iter().any(|word| is_word(&parser.peek_token_ref().token, word)) {
            return Some(Ok(self.prec_value(Precedence::Is)));
        }
        PostgreSqlDialect {}.get_next_precedence(parser)
    }

    /// `TABLE t` is `SELECT * FROM t`.
    fn parse_statement(&self, parser: &mut Parser) -> Option<Result<Statement, ParserError>> {
        if !is_word(&parser.peek_token_ref().token, "table") {
            return None;
        }
        parser.advance_token();
        Some(parser.parse_object_name(false).and_then(|name| {
            let written = format!("SELECT * FROM {name}");
            Parser::new(&GenericDialect {}).try_with_sql(&written)?.parse_statement()
        }))
    }

    /// PostgreSQL's operators that the parser does not know: `x ISNULL`, `x NOTNULL`, `x BETWEEN SYMMETRIC a AND b`; and `x IS DISTINCT FROM y`, whose right side
    /// would take the `AND` after it along.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        if is_word(&parser.peek_token_ref().token, "isnull") {
            parser.advance_token();
            return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
        }
        if is_word(&parser.peek_token_ref().token, "notnull") {
            parser.advance_token();
            return Some(Ok(Expr::IsNotNull(Box::new(left.clone()))));
        }
        let negated = parser.peek_keyword(Keyword::NOT);
        let left = left.clone();
        let words: &[&str] = if negated { &["not", "between", "symmetric"] } else { &["between", "symmetric"] };
        if take(parser, words) {
            return Some(parser.parse_between(left, negated).and_then(symmetric));
        }
        let is = self.prec_value(Precedence::Is);
        if take(parser, &["is", "distinct", "from"]) {
            let right = parser.parse_subexpr(is);
            return Some(right.map(|right| Expr::IsDistinctFrom(Box::new(left), Box::new(right))));
        }
        if take(parser, &["is", "not", "distinct", "from"]) {
            let right = parser.parse_subexpr(is);
            return Some(right.map(|right| Expr::IsNotDistinctFrom(Box::new(left), Box::new(right))));
        }
        None
    }

    /// A word that may be a name is read a second time, as one, when it did not begin a known form. Out of steps, no word may.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.steps_left.load(Ordering::Relaxed) == 0 || GenericDialect {}.is_reserved_for_identifier(keyword)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        PostgreSqlDialect {}.prec_value(precedence)
    }

    yes! {
        supports_unicode_string_literal
        supports_group_by_expr
        supports_left_associative_joins_without_parens
        supports_window_function_null_treatment_arg
        supports_window_clause_named_window_reference
        supports_select_wildcard_except
        supports_select_wildcard_exclude
        allow_extract_custom
        allow_extract_single_quotes
        supports_extract_comma_syntax
        supports_parens_around_table_factor
        supports_values_as_table_factor
        supports_explain_with_utility_options
        supports_limit_comma
        supports_bitwise_shift_operators
        supports_nested_comments
        supports_string_escape_constant
        supports_array_typedef_with_brackets
        supports_filter_during_aggregation
        supports_numeric_literal_underscores
        supports_comma_separated_trim
    }
}
