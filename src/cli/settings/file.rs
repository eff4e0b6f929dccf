//! The settings file: TOML with one key a setting and no sections, but for retention rules, of which each may be a table.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::effective::{Mistake, Place};
use super::keys::KEYS;
use super::rules::text_of_tables;
use crate::error::{Error, Kind, Result};
use crate::typed::nearest;

/// The setting that may be tables.
const RULES: &str = "retention_rules";
/// Settings that are texts: a number or a truth in their place is a slip.
const TEXTS: [&str; 9] = [
    "ingest_rules",
    "data_dir",
    "table_url",
    "reports_dir",
    "log",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "plaintext",
];
/// More than this is no settings file.
const MAX_BYTES: u64 = 1 << 20;

/// A settings file as it was read.
#[derive(Debug, Clone)]
pub(in crate::cli) struct FileText {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) text: String,
}

impl FileText {
    pub(in crate::cli) fn read(path: &Path) -> Result<Self> {
        let describe = |why: String| {
            let message = format!("the settings file {} cannot be read: {why}", path.display());
            Error::new(Kind::BadInput, message).with_sqlstate(super::INVALID_SETTING)
        };
        let length = std::fs::metadata(path).map_err(|error| describe(error.to_string()))?.len();
        if length > MAX_BYTES {
            return Err(describe(format!("it has {length} bytes, at most {MAX_BYTES} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| describe(error.to_string()))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The known keys with their values as text and their lines, and every mistake.
    pub(super) fn values(&self) -> (Vec<(&'static str, String, Place)>, Vec<Mistake>) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let mut mistakes: Vec<Mistake> = errors
            .iter()
            .map(|error| {
                let place = self.place(error.span().map_or(0, |span| span.start));
                Mistake { place, key: None, why: format!("this is not TOML: {}", error.message().trim()) }
            })
            .collect();
        let mut values = Vec::new();
        for (name, value) in table.get_ref() {
            let place = self.place(name.span().start);
            let Some(key) = KEYS.iter().find(|key| key.name == name.get_ref()) else {
                mistakes.push(Mistake { place, key: None, why: unknown(name.get_ref()) });
                continue;
            };
            let (text, wanted) = match (key.name, value.get_ref()) {
                (name, DeValue::String(text)) if TEXTS.contains(&name) => (Some(text.to_string()), ""),
                (name, _) if TEXTS.contains(&name) => (None, "text in quotes"),
                (RULES, value) => (text_of(value).or_else(|| text_of_tables(value)), "text, or one table a rule"),
                (_, value) => (text_of(value), "text, a whole number, true or false"),
            };
            match text {
                Some(text) => values.push((key.name, text, place)),
                None => {
                    let why = format!("its value must be {wanted}");
                    mistakes.push(Mistake { place, key: Some(key.name), why });
                }
            }
        }
        (values, mistakes)
    }

    fn place(&self, offset: usize) -> Place {
        let line = 1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        Place::File { path: self.path.clone(), line }
    }
}

fn unknown(name: &str) -> String {
    let known = KEYS.iter().map(|key| key.name);
    let advice = match nearest(&name.replace('-', "_"), known) {
        Some(near) => format!("did you mean {near}?"),
        None => "config show lists all keys".to_owned(),
    };
    format!("there is no setting {name}: {advice}")
}

fn text_of(value: &DeValue) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}
