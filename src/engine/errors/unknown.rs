//! Names that there are not, and what was likely meant: a slip of a letter, another system's name, an attribute, a text in the wrong quotes.

use datafusion::common::Column;
use datafusion::common::utils::datafusion_strsim::levenshtein;

use crate::engine::catalog::VIEWS;
use crate::engine::table_functions;
use crate::error::Error;

/// What other stores of traces call these columns.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("duration", "duration_ms"),
    ("end_time", "end_timestamp"),
    ("kind", "span_kind"),
    ("name", "span_name"),
    ("operation", "span_name"),
    ("operation_name", "span_name"),
    ("parent_id", "parent_span_id"),
    ("service", "service_name"),
    ("start_time", "timestamp"),
    ("start_timestamp", "timestamp"),
    ("status", "status_code"),
    ("tags", "attributes"),
    ("time", "timestamp"),
    ("ts", "timestamp"),
];

/// What other databases call these functions.
const OTHER_FUNCTIONS: [(&str, &str); 6] = [
    ("date_bucket", "date_bin"),
    ("time_bucket", "date_bin"),
    ("tostartofinterval", "date_bin"),
    ("tostartofhour", "date_trunc"),
    ("tostartofminute", "date_trunc"),
    ("percentile", "quantile"),
];

/// What other systems write before the name of an attribute, and the map that it is in.
const SCOPES: [(&str, &str); 6] = [
    ("span.", "attributes"),
    ("attributes.", "attributes"),
    ("resource.", "resource_attributes"),
    ("resource_attributes.", "resource_attributes"),
    ("scope.", "scope_attributes"),
    ("instrumentation.", "scope_attributes"),
];

/// Quotes of word processors.
const CURLY_QUOTES: [char; 4] = ['\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'];

pub(super) fn unknown_column(field: &Column, known: &[Column]) -> Error {
    if let Some(relation) = &field.relation
        && !known.is_empty()
        && !known.iter().any(|column| column.relation.as_ref().is_some_and(|it| it.table() == relation.table()))
    {
        let message = format!("missing FROM-clause entry for table \"{}\"", relation.table());
        let error = Error::bad_input(message).with_sqlstate("42P01");
        // A column's name after one word is one of an alias that is not in FROM; any other is likely an attribute's.
        let is_bare = relation.schema().is_none();
        return match is_bare && known.iter().any(|column| column.name == field.name) {
            true => error,
            false => error.with_hint(format!("an attribute is written {}", as_attribute(&field.flat_name()))),
        };
    }
    let error = Error::bad_input(format!("column \"{}\" does not exist", field.flat_name())).with_sqlstate("42703");
    if field.name.contains(CURLY_QUOTES) {
        let text = field.name.trim_matches(CURLY_QUOTES);
        return error.with_hint(format!("text is in straight quotes: '{text}'"));
    }
    match meant_column(&field.name.to_lowercase(), known) {
        Some(name) => error.with_hint(format!("did you mean \"{name}\"?")),
        None if field.name.contains('.') => {
            error.with_hint(format!("an attribute is written {}", as_attribute(&field.name)))
        }
        None => error.with_hint(format!(
            "text is in single quotes: '{}'; WHERE does not know the names that the select list gives",
            field.name
        )),
    }
}

fn meant_column<'a>(wanted: &str, known: &'a [Column]) -> Option<&'a str> {
    let named = |name: &str| known.iter().map(|column| column.name.as_str()).find(|known| *known == name);
    let meant = OTHER_NAMES.iter().filter(|(other, _)| *other == wanted).find_map(|(_, ours)| named(ours));
    let close = || {
        known
            .iter()
            .map(|column| (levenshtein(wanted, &column.name.to_lowercase()), column.name.as_str()))
            .min()
            .filter(|(distance, _)| *distance <= 2.max(wanted.len() / 3))
            .map(|(_, name)| name)
    };
    // The other name itself may be misspelt.
    let near_other = || {
        let near = OTHER_NAMES.iter().filter(|(other, _)| levenshtein(wanted, other) * 4 <= wanted.len());
        near.filter_map(|(_, ours)| named(ours)).next()
    };
    let begun = || known.iter().map(|column| column.name.as_str()).find(|name| name.starts_with(&format!("{wanted}_")));
    meant.or_else(close).or_else(near_other).or_else(begun)
}

/// An attribute as SQL has it, by its name with dots.
fn as_attribute(name: &str) -> String {
    let scope = SCOPES.iter().find_map(|(scope, map)| name.strip_prefix(scope).map(|key| (*map, key)));
    let (map, key) = scope.unwrap_or(("attributes", name));
    format!("{map}['{key}']")
}

pub(super) fn unknown_relation(name: &str) -> Error {
    let name = name.strip_prefix("spanhouse.").unwrap_or(name);
    let name = name.strip_prefix("traces.").unwrap_or(name);
    let error = Error::bad_input(format!("relation \"{name}\" does not exist")).with_sqlstate("42P01");
    let own_name = name.rsplit('.').next().unwrap_or(name);
    match VIEWS.iter().map(|(known, _)| known).find(|known| **known == own_name || is_close(own_name, known)) {
        Some(known) => error.with_hint(format!("did you mean \"traces.{known}\"?")),
        None => error.with_hint("spans are in \"traces.spans\"; \\d lists all relations"),
    }
}

/// `suggested` is what DataFusion takes for meant.
pub(super) fn unknown_function(name: &str, suggested: Option<&str>) -> Error {
    let error = Error::bad_input(format!("function {name} does not exist")).with_sqlstate("42883");
    if table_functions::all().iter().any(|function| function.name.eq_ignore_ascii_case(name)) {
        return error.with_hint(format!("it stands in FROM: SELECT * FROM {}(…)", name.to_lowercase()));
    }
    let other = OTHER_FUNCTIONS.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, ours)| *ours);
    match other.or(suggested.filter(|close| is_close(name, close))) {
        Some(meant) => error.with_hint(format!("did you mean \"{meant}\"?")),
        None => error.with_hint("\\df lists the functions"),
    }
}

/// Whether a name is likely a slip for another: at most a third of its letters differ.
fn is_close(wanted: &str, known: &str) -> bool {
    let wanted = wanted.to_lowercase();
    wanted.len() >= 3 && levenshtein(&wanted, &known.to_lowercase()) <= wanted.len() / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_systems_names_of_attributes_are_known() {
        for (written, ours) in [
            ("http.route", "attributes['http.route']"),
            ("span.http.status_code", "attributes['http.status_code']"),
            ("resource.k8s.pod.name", "resource_attributes['k8s.pod.name']"),
        ] {
            assert_eq!(as_attribute(written), ours);
        }
    }
}
