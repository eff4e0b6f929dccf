//! A table of a header, read key by key; what is wrong is kept, so that all mistakes are found at once.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Lines;
use crate::report::definition::Secret;
use crate::report::mistake::Mistake;
use crate::typed::{nearest, parse_duration};

/// A header's text and what is wrong with it.
pub(super) struct Page<'a> {
    path: &'a Path,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
    lines: RefCell<Lines>,
}

impl<'a> Page<'a> {
    pub fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, mistakes: RefCell::default(), lines: RefCell::default() }
    }

    /// Keeps a mistake at a byte of the text.
    pub fn mistake(&self, at: usize, why: String) {
        self.mistakes.borrow_mut().push(Mistake::at(self.path, self.line(at), why));
    }

    /// Keeps a mistake of a whole file.
    pub fn mistake_of_file(&self, path: &Path, why: &str) {
        self.mistakes.borrow_mut().push(Mistake::of_file(path, why));
    }

    pub fn mistakes(&self) -> Vec<Mistake> {
        self.mistakes.borrow().clone()
    }

    pub fn lines(&self) -> Lines {
        self.lines.borrow().clone()
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

/// A table with the keys that it may have.
pub(super) struct Section<'a> {
    pub page: &'a Page<'a>,
    /// Where it lies in the header: empty at the top, else such as `charts.0.`.
    place: String,
    /// Where it begins, in bytes.
    at: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The header's top.
    pub fn root(page: &'a Page<'a>, table: &'a Spanned<DeTable<'a>>, known: &[&str]) -> Self {
        Self::new(page, String::new(), 0, table.get_ref(), known)
    }

    /// A table; keys that are not known are mistakes.
    fn new(page: &'a Page<'a>, place: String, at: usize, table: &'a DeTable<'a>, known: &[&str]) -> Self {
        for key in table.keys() {
            let name = key.get_ref();
            page.lines.borrow_mut().insert(format!("{place}{name}"), page.line(key.span().start));
            if !known.is_empty() && !known.contains(&name.as_ref()) {
                page.mistake(key.span().start, unknown(name, known));
            }
        }
        Self { page, place, at, table }
    }

    /// Keeps a mistake of a key, or of the table when it has no such key.
    pub fn mistake(&self, key: &str, why: String) {
        let at =
            self.table.iter().find(|(name, _)| name.get_ref() == key).map_or(self.at, |(name, _)| name.span().start);
        self.page.mistake(at, format!("{key}: {why}"));
    }

    /// Keeps a mistake of the table.
    pub fn mistake_here(&self, why: String) {
        self.page.mistake(self.at, why);
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The keys in the order of the text.
    pub fn keys(&self) -> Vec<&'a str> {
        let mut keys: Vec<_> = self.table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        keys.into_iter().map(|key| key.get_ref().as_ref()).collect()
    }

    pub fn value(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.table.get(key).map(Spanned::get_ref)
    }

    /// A text; anything else is a mistake.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            DeValue::String(text) if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => {
                self.mistake(key, "it holds control characters".to_owned());
                None
            }
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                self.mistake(key, "its value must be text in quotes".to_owned());
                None
            }
        }
    }

    /// A text that must be there and not be empty.
    pub fn needed_text(&self, key: &str) -> Option<String> {
        if !self.has(key) {
            self.mistake_here(format!("{key} is missing"));
            return None;
        }
        let text = self.text(key)?;
        if text.trim().is_empty() {
            self.mistake(key, "it is empty".to_owned());
            return None;
        }
        Some(text)
    }

    /// A list of texts; one text is a list of one.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        match self.value(key)? {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(texts) => {
                let all: Option<Vec<_>> = texts.iter().map(|text| text.get_ref().as_str().map(str::to_owned)).collect();
                if all.is_none() {
                    self.mistake(key, "its value must be a list of texts in quotes".to_owned());
                }
                all
            }
            _ => {
                self.mistake(key, "its value must be a list of texts in quotes".to_owned());
                None
            }
        }
    }

    pub fn truth(&self, key: &str) -> Option<bool> {
        let truth = self.value(key)?.as_bool();
        if truth.is_none() {
            self.mistake(key, "its value must be true or false".to_owned());
        }
        truth
    }

    /// A number that is finite.
    pub fn number(&self, key: &str) -> Option<f64> {
        let number = match self.value(key)? {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<f64>().ok(),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let number = number.filter(|number| number.is_finite());
        if number.is_none() {
            self.mistake(key, "its value must be a number".to_owned());
        }
        number
    }

    /// A whole number within bounds.
    pub fn count(&self, key: &str, least: u32, most: u32) -> Option<u32> {
        let number = match self.value(key)? {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<u32>().ok(),
            _ => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.mistake(key, format!("its value must be a whole number from {least} to {most}"));
        }
        number
    }

    pub fn duration(&self, key: &str) -> Option<Duration> {
        let text = self.text(key)?;
        parse_duration(&text).map_err(|why| self.mistake(key, why)).ok()
    }

    /// One of some words.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let choice = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        if choice.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let advice = match nearest(&text, names.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write {}", listed(&names)),
            };
            self.mistake(key, format!("there is no \"{text}\": {advice}"));
        }
        choice
    }

    /// A table below this one.
    pub fn section(&self, key: &str, known: &[&str]) -> Option<Section<'a>> {
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let place = format!("{}{key}.", self.place);
                Some(Section::new(self.page, place, name.span().start, table, known))
            }
            _ => {
                self.mistake(key, format!("it must be a table: write [{key}]"));
                None
            }
        }
    }

    /// The tables of a list, as `[[key]]` gives them.
    pub fn sections(&self, key: &str, known: &[&str]) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            self.mistake(key, format!("it must be a list of tables: write [[{key}]]"));
            return Vec::new();
        };
        let section = |(number, item): (usize, &'a Spanned<DeValue<'a>>)| match item.get_ref() {
            DeValue::Table(table) => {
                let place = format!("{}{key}.{number}.", self.place);
                Some(Section::new(self.page, place, item.span().start, table, known))
            }
            _ => {
                self.page.mistake(item.span().start, format!("{key}: it must be a list of tables: write [[{key}]]"));
                None
            }
        };
        items.iter().enumerate().filter_map(section).collect()
    }

    /// Where a secret is to be had: a text, `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        if matches!(self.value(key)?, DeValue::String(_)) {
            return self.needed_text(key).map(Secret::Plain);
        }
        let section = self.section(key, &["env", "file"])?;
        match (section.text("env"), section.text("file")) {
            (Some(name), None) if !name.is_empty() && !name.contains(['=', '\0']) => Some(Secret::Env(name)),
            (None, Some(path)) if !path.is_empty() => Some(Secret::File(path.into())),
            _ => {
                self.mistake(key, "write { env = \"VARIABLE\" } or { file = \"PATH\" }".to_owned());
                None
            }
        }
    }

    /// The same, but it may not stand in the file itself.
    pub fn hidden_secret(&self, key: &str) -> Option<Secret> {
        match self.secret(key)? {
            Secret::Plain(_) => {
                let why = "it may not stand in the report: write { env = \"VARIABLE\" } or { file = \"PATH\" }";
                self.mistake(key, why.to_owned());
                None
            }
            secret => Some(secret),
        }
    }
}

/// What is said of a key that does not exist.
fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(&name.replace('-', "_"), known.iter().copied()) {
        Some(near) => format!("there is no key {name}: did you mean {near}?"),
        None => format!("there is no key {name}: there are {}", known.join(", ")),
    }
}

/// Words with `or` before the last.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [many @ .., last] => format!("{} or {last}", many.join(", ")),
    }
}
