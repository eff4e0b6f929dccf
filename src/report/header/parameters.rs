//! The parameters that a header declares.

use toml::de::DeValue;

use super::section::Section;
use crate::engine::ParameterKind;
use crate::report::definition::{FROM, Parameter, TO};

/// In the order of the text.
pub(super) fn parameters(header: &Section<'_>, has_window: bool) -> Vec<Parameter> {
    let Some(section) = header.section("parameters", &[]) else { return Vec::new() };
    section.keys().into_iter().filter_map(|name| parameter(&section, name, has_window)).collect()
}

fn parameter(all: &Section<'_>, name: &str, has_window: bool) -> Option<Parameter> {
    let is_word = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_word {
        all.mistake(name, "a parameter's name begins with a letter and has a-z, 0-9 and _".to_owned());
        return None;
    }
    if has_window && [FROM, TO].contains(&name) {
        all.mistake(name, "it comes with the window: leave it out".to_owned());
        return None;
    }
    let section = all.section(name, &["type", "default", "description"])?;
    if !section.has("type") {
        section.mistake_here(format!("{name}: type is missing: write text, integer, double or timestamp"));
    }
    let kinds = ParameterKind::ALL.map(|kind| (kind.name(), kind));
    let kind = section.choice("type", &kinds)?;
    let default = match section.value("default") {
        None => None,
        Some(value) => Some(default(&section, name, kind, value)?),
    };
    let description = section.text("description").unwrap_or_default();
    Some(Parameter { name: name.to_owned(), kind, default, description })
}

/// The default as text; a number need not stand in quotes.
fn default(section: &Section<'_>, name: &str, kind: ParameterKind, value: &DeValue<'_>) -> Option<String> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Datetime(time) => time.to_string(),
        _ => {
            section.mistake("default", "its value must be text in quotes or a number".to_owned());
            return None;
        }
    };
    kind.literal(name, &text).map_err(|error| section.mistake("default", error.to_string())).ok()?;
    Some(text)
}
