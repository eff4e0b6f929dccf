//! What a person is told of a statement that ran and yet is likely not what was meant: an attribute that no span has.

use std::time::Duration;

use tokio::time::timeout;

use super::backend::{Backend, literal};
use super::catalog::{Catalog, Key};
use super::lexer::tokens;
use super::query;
use super::scope::code;
use super::text::{Line, Style};
use crate::model::promoted::Owner;
use crate::render::sanitize;
use crate::typed::nearest;

/// To be sure that there is none, all spans are looked at: not for longer than this.
const PATIENCE: Duration = Duration::from_millis(500);
/// As many are looked up.
const MAX_KEYS: usize = 3;

/// Notes on the attributes of a statement that ran.
pub async fn on_attributes(backend: &Backend, catalog: &Catalog, text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    // Before the keys are read nothing is known of them.
    if catalog.attribute_keys.is_empty() {
        return lines;
    }
    let known = |key: &Key| catalog.attribute_keys.contains(key);
    for key in keys(text).into_iter().filter(|key| !known(key)).take(MAX_KEYS) {
        let attribute = format!("{}[{}]", key.map, literal(&key.key));
        let sql = query::filled(query::HAS_ATTRIBUTE, &[("attribute", attribute.as_str())]);
        let asked = timeout(PATIENCE, query::texts(backend, &sql, &[])).await;
        if !matches!(asked, Ok(Ok(rows)) if rows.is_empty()) {
            continue;
        }
        let mut line = Line::of(Style::Dim, "NOTE:  ");
        line.push(Style::Plain, format!("no span has {}{}", sanitize(&attribute), advice(&key, catalog)));
        lines.push(line);
    }
    lines
}

/// The key that was likely meant.
fn advice(key: &Key, catalog: &Catalog) -> String {
    let elsewhere = catalog.attribute_keys.iter().find(|known| known.key == key.key);
    if let Some(known) = elsewhere {
        return format!("; did you mean {}[{}]?", known.map, literal(&known.key));
    }
    let of_map = catalog.attribute_keys.iter().filter(|known| known.map == key.map).map(|known| known.key.as_str());
    match nearest(&key.key, of_map) {
        Some(near) => format!("; did you mean {}?", sanitize(&literal(near))),
        None => String::new(),
    }
}

/// The attributes that a statement names, each once.
fn keys(text: &str) -> Vec<Key> {
    let tokens = tokens(text);
    let words: Vec<&str> = code(&tokens, text).collect();
    let mut keys = Vec::new();
    for at in 0..words.len() {
        let key = match &words[at..] {
            [map, "[", key, "]", ..] | [map, "-", ">", ">", key, ..] | [map, "-", ">", key, ..] => key_of(map, key),
            _ => None,
        };
        keys.extend(key.filter(|key| !keys.contains(key)));
    }
    keys
}

fn key_of(map: &str, key: &str) -> Option<Key> {
    let owner = Owner::ALL.into_iter().find(|owner| map.eq_ignore_ascii_case(owner.map_column()))?;
    let key = key.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    Some(Key { map: owner.map_column().to_owned(), key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(map: &str, key: &str) -> Key {
        Key { map: map.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn attributes_of_a_statement_are_found() {
        let text = "select attributes['a'], s.Attributes->>'b''c' from spans s where attributes['a'] = 'x' and \
                    resource_attributes -> 'd' is null and others['e'] = 1 and attributes[f] = 2 and 'attributes[''g'']' = ''";
        let expected = [key("attributes", "a"), key("attributes", "b'c"), key("resource_attributes", "d")];
        assert_eq!(keys(text), expected);
    }

    #[test]
    fn what_was_meant_is_near_or_in_another_map() {
        let known = vec![key("attributes", "http.route"), key("resource_attributes", "host.name")];
        let catalog = Catalog { attribute_keys: known, ..Catalog::default() };
        assert_eq!(advice(&key("attributes", "http.rout"), &catalog), "; did you mean 'http.route'?");
        assert_eq!(
            advice(&key("attributes", "host.name"), &catalog),
            "; did you mean resource_attributes['host.name']?"
        );
        assert_eq!(advice(&key("attributes", "zzz"), &catalog), "");
    }
}
