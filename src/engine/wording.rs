//! DataFusion's sentences in PostgreSQL's words: names of types, SQLSTATEs, and what a person needs of a message.

use datafusion::arrow::datatypes::DataType;

use crate::error::Error;
use crate::pg::PgType;

/// Types that are numbers.
const NUMBERS: [&str; 6] = ["smallint", "integer", "bigint", "real", "double precision", "numeric"];
const TIME_HINT: &str = "write a time as '2026-01-31T12:00:00Z' or as now() - INTERVAL '1 hour'";
const NUMBER_HINT: &str = "write a number alone, without a unit";
const ATTRIBUTE_HINT: &str = "an attribute is written attributes['http.route']";

/// The error for a sentence that PostgreSQL has another one for; `None` for all others.
pub(super) fn known(text: &str) -> Option<Error> {
    by_operator(text).or_else(|| by_value(text)).or_else(|| by_clause(text))
}

/// Operators and functions that do not take what they are given.
fn by_operator(text: &str) -> Option<Error> {
    let given = between(text, "Cannot coerce arithmetic expression ", " to valid types")
        .or_else(|| after(text, "Cannot infer common argument type for comparison operation "))
        .or_else(|| after(text, "Cannot infer common argument type for operation "));
    let message = if let Some(given) = given {
        format!("operator does not exist: {}", in_postgres_words(given))
    } else if let Some(pair) = after(text, "Cannot automatically convert ") {
        format!("operator does not exist: nothing takes {} together", in_postgres_words(&pair.replace(" to ", " and ")))
    } else if let Some(pair) = between(text, "There isn't a common type to coerce ", " in LIKE expression") {
        format!("operator does not exist: LIKE of {}", in_postgres_words(pair))
    } else if let Some(given) = after(text, "Min/Max accumulator not implemented for type ") {
        format!("function min or max does not take {}", in_postgres_words(given))
    } else if text.contains("Substring without for/from") {
        "function substr wants a text and a position".to_string()
    } else if text.contains("user-defined coercion failed") {
        // The function says better what it wants.
        return None;
    } else {
        let call = between(text, "No function matches the given name and argument types '", "'")?;
        format!("function {} does not exist", in_postgres_words(call))
    };
    let hint = match message.contains("timestamp") && NUMBERS.iter().any(|number| message.contains(number)) {
        true => "to_timestamp(seconds) makes a time of a number; a time is written '2026-01-31T12:00:00Z'",
        false => "cast what does not fit",
    };
    Some(Error::bad_input(message).with_sqlstate("42883").with_hint(hint))
}

/// Values that are none of their type.
fn by_value(text: &str) -> Option<Error> {
    if let Some(written) = between(text, "Error parsing timestamp from '", "'") {
        let message = format!("invalid input syntax for type timestamp with time zone: \"{written}\"");
        return Some(Error::bad_input(message).with_sqlstate("22007").with_hint(TIME_HINT));
    }
    let rest = after(text, "Cannot cast string '").or_else(|| after(text, "Cannot cast value '"));
    if let Some((written, type_name)) = rest.and_then(|rest| rest.rsplit_once("' to value of ")) {
        let type_name = in_postgres_words(type_name.trim_end_matches(" type"));
        let is_time = type_name.starts_with("date") || type_name.starts_with("time");
        let message = format!("invalid input syntax for type {type_name}: \"{written}\"");
        let error = Error::bad_input(message).with_sqlstate(if is_time { "22007" } else { "22P02" });
        return Some(match is_time {
            true => error.with_hint(TIME_HINT),
            false if NUMBERS.contains(&type_name.as_str()) => error.with_hint(NUMBER_HINT),
            false => error,
        });
    }
    if let Some((value, type_name)) = after(text, "Can't cast value ").and_then(|rest| rest.split_once(" to type ")) {
        let message = format!("value {value} is out of range for type {}", in_postgres_words(type_name));
        return Some(Error::bad_input(message).with_sqlstate("22003"));
    }
    if let Some(pair) = after(text, "Unsupported CAST from ") {
        let message = format!("cannot cast type {}", in_postgres_words(pair));
        return Some(Error::bad_input(message).with_sqlstate("42846"));
    }
    if text.to_lowercase().contains("cannot access field at argument") {
        let error = Error::bad_input("a text has no fields, and a map has none after a dot");
        return Some(error.with_sqlstate("42809").with_hint(ATTRIBUTE_HINT));
    }
    let unit = between(text, "Unsupported date_trunc granularity: '", "'")
        .or_else(|| between(text, "Date part '", "' not supported"))?;
    Some(Error::bad_input(format!("unit \"{unit}\" not recognized for a time")).with_sqlstate("22023"))
}

/// Clauses that name what is not there, or want something else.
fn by_clause(text: &str) -> Option<Error> {
    if let Some(rest) = after(text, "While expanding wildcard, column \"") {
        let column = rest.split('"').next()?;
        let message =
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
        let hint = format!("write GROUP BY {column}, or take one of its values, as min({column}) does");
        return Some(Error::bad_input(message).with_sqlstate("42803").with_hint(hint));
    }
    if text.to_lowercase().contains("aggregate functions are not allowed in the where clause") {
        let error = Error::bad_input("aggregate functions are not allowed in WHERE").with_sqlstate("42803");
        return Some(error.with_hint("a condition on an aggregate stands in HAVING, after GROUP BY"));
    }
    let (message, sqlstate) = if text.contains("LIMIT must be >= 0") {
        ("LIMIT must not be negative".to_string(), "2201W")
    } else if text.contains("OFFSET must be >=0") {
        ("OFFSET must not be negative".to_string(), "2201X")
    } else if let Some(position) = between(text, "Order by column out of bounds, specified: ", ",") {
        (format!("ORDER BY position {position} is not in select list"), "42P10")
    } else if let Some(position) = between(text, "Cannot find column with position ", " in SELECT clause") {
        (format!("GROUP BY position {position} is not in select list"), "42P10")
    } else if text.contains("DISTINCT ON expressions must match") {
        (text.to_string(), "42P10")
    } else if text.contains("does not support logical expression WindowFunction") {
        ("window functions are allowed in the select list, ORDER BY and QUALIFY only".to_string(), "42P20")
    } else if let Some(given) = after(text, "Cannot create filter with non-boolean predicate ") {
        let given = given.rsplit_once(" returning ").map_or(given, |(_, given)| given);
        (format!("argument of WHERE must be type boolean, not type {}", in_postgres_words(given)), "42804")
    } else {
        let (what, _) =
            after(text, "Unsupported ast node in sqltorel: ")?.split_once(|c: char| !c.is_alphanumeric())?;
        (format!("not supported: {}", what.to_uppercase()), "0A000")
    };
    Some(Error::bad_input(message).with_sqlstate(sqlstate))
}

/// A text with PostgreSQL's names of types for Arrow's, except inside double quotes.
pub(super) fn in_postgres_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let word = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
        let named =
            if word.is_empty() || before == '"' || before.is_alphanumeric() { None } else { type_at(rest, word) };
        let (written, taken) = match named {
            Some((name, bytes)) => (name, bytes),
            None if word.is_empty() => (first.to_string(), first.len_utf8()),
            None => (word.to_string(), word.len()),
        };
        before = rest[..taken].chars().next_back().unwrap_or(' ');
        out.push_str(&written);
        rest = &rest[taken..];
    }
    out
}

/// The name of the type that stands at the start of a text, and the bytes that Arrow's name takes.
fn type_at(text: &str, word: &str) -> Option<(String, usize)> {
    let arguments = arguments_of(&text[word.len()..]);
    let bytes = word.len() + arguments.len();
    let name = match word {
        "Timestamp" if arguments.contains("Some(") || arguments.contains('"') => "timestamp with time zone".to_string(),
        "Timestamp" if !arguments.is_empty() => "timestamp".to_string(),
        "Interval" | "Duration" | "Decimal128" | "Decimal256" | "Map" | "Struct" | "Time64" if arguments.is_empty() => {
            return None;
        }
        "Interval" | "Duration" => "interval".to_string(),
        "Decimal128" | "Decimal256" => "numeric".to_string(),
        "Map" => "a map of attributes".to_string(),
        "Struct" => "a row".to_string(),
        "Time64" => "time".to_string(),
        "List" | "LargeList" | "FixedSizeList" if !arguments.is_empty() => {
            let element = arguments.trim_start_matches('(').trim_end_matches(')');
            format!("{}[]", in_postgres_words(element.trim_start_matches("non-null ")))
        }
        _ => return plain_type(word).map(|data_type| (PgType::of(&data_type).name().to_string(), word.len())),
    };
    Some((name, bytes))
}

fn plain_type(word: &str) -> Option<DataType> {
    Some(match word {
        "Int8" | "Int16" | "UInt8" => DataType::Int16,
        "Int32" | "UInt16" => DataType::Int32,
        "Int64" | "UInt64" => DataType::Int64,
        "UInt32" => DataType::UInt32,
        "Float32" | "Float16" => DataType::Float32,
        "Float64" => DataType::Float64,
        "Utf8" | "LargeUtf8" | "Utf8View" => DataType::Utf8,
        "Boolean" => DataType::Boolean,
        "Date32" | "Date64" => DataType::Date32,
        "Binary" | "BinaryView" | "LargeBinary" => DataType::Binary,
        _ => return None,
    })
}

/// What stands in the parentheses at the start, with them; empty when there are none.
fn arguments_of(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return if at == 0 { "" } else { &text[..=at] };
        }
    }
    ""
}

/// What stands between two texts.
pub(super) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(&text[start..end])
}

fn after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.find(before).map(|at| &text[at + before.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_postgresql() {
        for (ours, theirs) in [
            ("Int64 + Utf8View", "bigint + text"),
            ("Timestamp(ns, \"UTC\") - Interval(MonthDayNano)", "timestamp with time zone - interval"),
            ("Timestamp(Nanosecond, None)", "timestamp"),
            ("List(Int64)", "bigint[]"),
            (
                "Map(\"key_value\": non-null Struct(\"key\": non-null Utf8), unsorted) > Float64",
                "a map of attributes > double precision",
            ),
            ("column \"Int64\" of a Mapping", "column \"Int64\" of a Mapping"),
        ] {
            assert_eq!(in_postgres_words(ours), theirs);
        }
    }

    #[test]
    fn sentences_become_those_of_postgresql() {
        for (text, sqlstate, message) in [
            (
                "Cannot coerce arithmetic expression Boolean + Int64 to valid types",
                "42883",
                "operator does not exist: boolean + bigint",
            ),
            ("Cannot cast string 'x' to value of Int32 type", "22P02", "invalid input syntax for type integer: \"x\""),
            (
                "Cannot cast string '2026-13-01' to value of Date32 type",
                "22007",
                "invalid input syntax for type date: \"2026-13-01\"",
            ),
            ("Can't cast value 100000 to type Int16", "22003", "value 100000 is out of range for type smallint"),
            (
                "Order by column out of bounds, specified: 2, max: 1",
                "42P10",
                "ORDER BY position 2 is not in select list",
            ),
            ("Unsupported ast node in sqltorel: Collate { expr: 1 }", "0A000", "not supported: COLLATE"),
        ] {
            let error = known(text).expect(text);
            assert_eq!((error.sqlstate(), &*error.message), (sqlstate, message));
        }
        assert!(known("anything else").is_none());
    }
}
