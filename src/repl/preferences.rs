//! What a person wants of the shell on every day: `spanhouse/config.toml` in the folder of their configuration.
//!
//! A mistake in it is told by its line and passed over; it never keeps the shell from starting. Scripts do not read it.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::pager::Pager;
use super::theme::Theme;
use crate::render::Format;
use crate::typed::nearest;

/// Statements that the history keeps when nothing else is said: years of daily use, and still read in a blink.
const HISTORY_SIZE: usize = 5_000;
/// More would be felt at every start.
const MAX_HISTORY_SIZE: usize = 1_000_000;
/// A larger file is none of preferences.
const MAX_BYTES: u64 = 1 << 20;

const KEYS: [&str; 7] = ["theme", "keys", "pager", "format", "null", "timing", "history_size"];

/// How the line editor takes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    #[default]
    Emacs,
    Vi,
}

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    pub theme: Theme,
    pub keys: Keys,
    pub pager: Pager,
    pub format: Option<Format>,
    /// What stands for NULL in tables.
    pub null: Option<String>,
    pub timing: bool,
    pub history_size: usize,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            keys: Keys::default(),
            pager: Pager::default(),
            format: None,
            null: None,
            timing: false,
            history_size: HISTORY_SIZE,
        }
    }
}

impl Preferences {
    /// Reads the user's file, if there is one, and tells the mistakes in it.
    pub fn read() -> (Self, Vec<String>) {
        let Some(path) = file() else { return (Self::default(), Vec::new()) };
        let wrong = |why: String| (Self::default(), vec![format!("{}: {why}", path.display())]);
        match std::fs::metadata(&path) {
            Err(_) => return (Self::default(), Vec::new()),
            Ok(about) if about.len() > MAX_BYTES => return wrong(format!("at most {MAX_BYTES} bytes are read")),
            Ok(_) => {}
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) => wrong(error.to_string()),
        }
    }

    /// What a file's text says, and the mistakes in it.
    fn parse(path: &Path, text: &str) -> (Self, Vec<String>) {
        let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let told = |offset: usize, why: String| format!("{}:{}: {why}", path.display(), line(offset));
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut mistakes: Vec<(usize, String)> = Vec::new();
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            mistakes.push((at, told(at, format!("this is not TOML: {}", error.message().trim()))));
        }
        let mut preferences = Self::default();
        for (name, value) in table.get_ref() {
            let at = name.span().start;
            // Of a line that is no TOML nothing can be taken.
            let is_broken = mistakes.iter().any(|(other, _)| line(*other) == line(at));
            if let Err(why) = preferences.set(name.get_ref(), value.get_ref())
                && !is_broken
            {
                mistakes.push((at, told(at, why)));
            }
        }
        mistakes.sort();
        (preferences, mistakes.into_iter().map(|(_, mistake)| mistake).collect())
    }

    fn set(&mut self, name: &str, value: &DeValue) -> Result<(), String> {
        let text = || match value {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(format!("{name} must be text in quotes")),
        };
        match name {
            "theme" => {
                self.theme =
                    text()?.parse().map_err(|()| format!("theme must be one of {}", Theme::NAMES.join(", ")))?;
            }
            "keys" => {
                self.keys = match text()? {
                    "emacs" => Keys::Emacs,
                    "vi" => Keys::Vi,
                    other => return Err(format!("keys must be emacs or vi, not \"{other}\"")),
                }
            }
            "pager" => self.pager = Pager::named(text()?),
            "format" => {
                let format: Format = text()?.parse().map_err(|error: crate::error::Error| error.to_string())?;
                if format.is_binary() {
                    return Err(format!("format: {format} is bytes that no terminal shows"));
                }
                self.format = Some(format);
            }
            "null" => self.null = Some(text()?.to_owned()),
            "timing" => match value {
                DeValue::Boolean(timing) => self.timing = *timing,
                _ => return Err("timing must be true or false".to_owned()),
            },
            "history_size" => {
                let size = match value {
                    DeValue::Integer(number) => number.as_str().parse().ok().filter(|size| *size <= MAX_HISTORY_SIZE),
                    _ => None,
                };
                self.history_size =
                    size.ok_or_else(|| format!("history_size must be a whole number of at most {MAX_HISTORY_SIZE}"))?;
            }
            other => {
                let advice = match nearest(&other.replace('-', "_"), KEYS.into_iter()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", KEYS.join(", ")),
                };
                return Err(format!("there is no key {other}: {advice}"));
            }
        }
        Ok(())
    }
}

/// The user's file, whether it is there or not.
fn file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(configuration.join("spanhouse").join("config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Preferences, Vec<String>) {
        Preferences::parse(Path::new("config.toml"), text)
    }

    #[test]
    fn every_key_is_taken() {
        let text = "theme = \"light\"\nkeys = \"vi\"\npager = \"less -R\"\nformat = \"csv\"\nnull = \"∅\"\ntiming = true\nhistory_size = 10\n";
        let (preferences, mistakes) = parse(text);
        assert_eq!(mistakes, Vec::<String>::new());
        let expected = Preferences {
            theme: Theme::Light,
            keys: Keys::Vi,
            pager: Pager::Command("less -R".to_owned()),
            format: Some(Format::Csv),
            null: Some("∅".to_owned()),
            timing: true,
            history_size: 10,
        };
        assert_eq!(preferences, expected);
        assert!(KEYS.iter().all(|key| text.contains(&format!("{key} = "))));
        assert_eq!(parse(""), (Preferences::default(), Vec::new()));
        assert_eq!(parse("pager = \"off\"").0.pager, Pager::Off);
    }

    #[test]
    fn a_mistake_has_its_line_and_the_rest_holds() {
        let text = "theme = \"grey\"\nkeys = \"nano\"\n\ntimming = true\npager = 1\r\nnull = \"-\"\nformat = \"parquet\"\nhistory_size = -1\ntiming = \"on\"\n";
        let (preferences, mistakes) = parse(text);
        assert_eq!(preferences.null.as_deref(), Some("-"));
        let expected = [
            "config.toml:1: theme must be one of auto, dark, light, none",
            "config.toml:2: keys must be emacs or vi, not \"nano\"",
            "config.toml:4: there is no key timming: did you mean timing?",
            "config.toml:5: pager must be text in quotes",
            "config.toml:7: format: parquet is bytes that no terminal shows",
            "config.toml:8: history_size must be a whole number of at most 1000000",
            "config.toml:9: timing must be true or false",
        ];
        assert_eq!(mistakes, expected);
        let (preferences, mistakes) = parse("timing = true\nkeys = \n");
        assert!(
            preferences.timing && mistakes.len() == 1 && mistakes[0].starts_with("config.toml:2: this is not TOML"),
            "{mistakes:?}"
        );
    }
}
