//! What the Tab key offers within a text that is compared with an attribute or a column: the values that there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::backend::Backend;
use super::completer::Completion;
use super::lexer::{Open, Scanner};
use super::query;
use super::scope::code;
use crate::model::promoted::Owner;
use crate::model::schema;

/// How long the Tab key waits: longer would be felt as a hang.
const PATIENCE: Duration = Duration::from_millis(500);
/// A longer value would not be read.
const MAX_VALUE_BYTES: usize = 200;

/// Columns of text that have few values.
const COLUMNS: [&str; 4] = [schema::SERVICE_NAME, schema::SPAN_NAME, schema::SPAN_KIND, schema::STATUS_CODE];

/// A text that is being typed, and what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePlace {
    /// The attribute or column, as SQL.
    value: String,
    /// What of the text is there.
    prefix: String,
    /// Where in the line it begins, in bytes.
    start: usize,
}

/// The text around byte `at` of `line`, if it is compared with an attribute or a column; `pending` are the statement's earlier lines.
pub fn value_place(pending: &str, line: &str, at: usize) -> Option<ValuePlace> {
    let before = format!("{pending}{}", &line[..at]);
    let mut scanner = Scanner::default();
    let tokens = scanner.scan(&before);
    if scanner.open() != Open::SingleQuote {
        return None;
    }
    let words: Vec<&str> = code(&tokens, &before).collect();
    let [earlier @ .., text] = words.as_slice() else { return None };
    let typed = text.strip_prefix('\'')?;
    let value = match compared(earlier)? {
        [.., map, "[", key, "]"] | [.., map, "-", ">", ">", key] if is_map(map) && key.starts_with('\'') => {
            format!("{}[{key}]", map.to_ascii_lowercase())
        }
        [.., column] if COLUMNS.contains(&column.to_ascii_lowercase().as_str()) => column.to_ascii_lowercase(),
        _ => return None,
    };
    Some(ValuePlace { value, prefix: typed.replace("''", "'"), start: at.checked_sub(typed.len())? })
}

/// What stands before a comparison, or before the list of `IN`.
fn compared<'a, 'b>(words: &'b [&'a str]) -> Option<&'b [&'a str]> {
    let is = |word: &str, keyword: &str| word.eq_ignore_ascii_case(keyword);
    let value = match words {
        [value @ .., "<", ">"] | [value @ .., "!", "="] => value,
        [.., "<" | ">", "="] => return None,
        [value @ .., "="] => value,
        [value @ .., like] if is(like, "like") || is(like, "ilike") => value,
        [value @ .., list, "("] if is(list, "in") => value,
        [list @ .., text, ","] if text.starts_with('\'') => return in_list(list),
        _ => return None,
    };
    Some(value.split_last().filter(|(last, _)| is(last, "not")).map_or(value, |(_, value)| value))
}

/// What stands before a list of `IN` that has texts so far.
fn in_list<'a, 'b>(mut list: &'b [&'a str]) -> Option<&'b [&'a str]> {
    while let [rest @ .., text, ","] = list
        && text.starts_with('\'')
    {
        list = rest;
    }
    if list.last() == Some(&"(") { compared(list) } else { None }
}

fn is_map(name: &str) -> bool {
    Owner::ALL.into_iter().any(|owner| name.eq_ignore_ascii_case(owner.map_column()))
}

/// Asks for values.
pub struct Values {
    backend: Arc<Backend>,
    runtime: Handle,
}

impl Values {
    /// Values are asked for in `backend`, on the runtime that calls this.
    pub fn of(backend: Arc<Backend>) -> Self {
        Self { backend, runtime: Handle::current() }
    }

    /// The values that the text at `place` may become; none when they do not come soon. May not be called on a thread of the runtime.
    pub fn complete(&self, place: &ValuePlace) -> Completion {
        let sql = query::filled(query::VALUES, &[("value", place.value.as_str())]);
        let pattern = starting_with(&place.prefix);
        let parameters = [pattern.as_str()];
        let asked = async { timeout(PATIENCE, query::texts(&self.backend, &sql, &parameters)).await };
        let rows = self.runtime.block_on(asked).ok().and_then(Result::ok).unwrap_or_default();
        let mut candidates: Vec<String> = rows.into_iter().flatten().filter_map(|value| candidate(&value)).collect();
        candidates.sort();
        Completion { start: place.start, candidates }
    }
}

/// A pattern of LIKE.
fn starting_with(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for letter in prefix.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// A value as the rest of a text in quotes; `None` when nobody would want it in a line.
fn candidate(value: &str) -> Option<String> {
    let is_plain = value.len() <= MAX_VALUE_BYTES && !value.chars().any(char::is_control);
    is_plain.then(|| format!("{}'", value.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value and the beginning of the text at the end of `line`.
    fn place(line: &str) -> Option<(String, String)> {
        value_place("", line, line.len()).map(|place| (place.value, place.prefix))
    }

    #[test]
    fn a_text_is_compared_with_an_attribute_or_a_column() {
        let cases = [
            ("select * from spans where attributes['http.route'] = '", "attributes['http.route']", ""),
            ("select * from spans s where s.Attributes [ 'k' ]='/a", "attributes['k']", "/a"),
            ("where resource_attributes['it''s'] <> 'a''b", "resource_attributes['it''s']", "a'b"),
            ("where scope_attributes['k'] != 'x", "scope_attributes['k']", "x"),
            ("where attributes->>'k' = 'x", "attributes['k']", "x"),
            ("where attributes['k'] in ('", "attributes['k']", ""),
            ("where attributes['k'] NOT IN ('a', 'b', 'c", "attributes['k']", "c"),
            ("where attributes['k'] not like 'c", "attributes['k']", "c"),
            ("where x = 1 and SERVICE_NAME = 'fr", "service_name", "fr"),
        ];
        for (line, value, prefix) in cases {
            assert_eq!(place(line), Some((value.to_owned(), prefix.to_owned())), "{line}");
        }
        let others = [
            "select '",
            "where attributes['k",
            "where attributes['k'] = 'x'",
            "where attributes['k'] >= 'x",
            "where attributes[k] = 'x",
            "where others['k'] = 'x",
            "where trace_id = 'x",
            "where coalesce(attributes['k'], 'x",
            "select 1 -- attributes['k'] = 'x",
        ];
        for line in others {
            assert_eq!(place(line), None, "{line}");
        }
        let placed = value_place("select *\n", "from spans where span_name = 'é", 32);
        assert_eq!(placed.map(|place| place.start), Some(30));
        assert_eq!(value_place("where span_name = 'a", "b", 1), None, "the text begins in an earlier line");
    }

    #[test]
    fn what_is_typed_is_no_pattern_and_what_is_offered_ends_the_text() {
        assert_eq!(starting_with("50%_\\"), "50\\%\\_\\\\%");
        assert_eq!(candidate("it's").as_deref(), Some("it''s'"));
        assert_eq!(candidate("a\nb"), None);
    }
}
