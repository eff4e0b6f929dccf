//! The file of rules: TOML, a table `[[rule]]` each; every mistake is told with its line.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::patterns::Pattern;
use super::rule::{Action, HashKey, Place, Rule};
use crate::error::{Error, Kind, Result};

/// More than this is no file of rules.
const MAX_BYTES: u64 = 1 << 20;
/// Each rule is asked about each attribute, and has a count of its own in the metrics.
pub(super) const MOST_RULES: usize = 100;
const MOST_NAME_BYTES: usize = 64;
/// What masks put in the place of what they take out.
const MASK: &str = "***";
/// The SQLSTATE of a wrong setting.
const INVALID_SETTING: &str = "22023";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    action: Spanned<ActionName>,
    keys: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    patterns: Vec<Spanned<String>>,
    #[serde(default)]
    regexes: Vec<Spanned<String>>,
    on: Option<Spanned<Vec<Place>>>,
    with: Option<Spanned<String>>,
    key_file: Option<Spanned<PathBuf>>,
    key_env: Option<Spanned<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    Delete,
    Hash,
    Mask,
    Allow,
}

pub(super) fn read(path: &Path) -> Result<Vec<Rule>> {
    let unreadable = |why: String| {
        let message = format!("the rules for sensitive data in {} cannot be read: {why}", path.display());
        Error::new(Kind::BadInput, message).with_sqlstate(INVALID_SETTING)
    };
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > MAX_BYTES {
        return Err(unreadable(format!("the file has {length} bytes, at most {MAX_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    parse(&text, folder).map_err(|mistakes| {
        let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let told = mistakes.iter().map(|mistake| format!("{}:{}: {}", path.display(), line(mistake.at), mistake.why));
        Error::bad_input(told.collect::<Vec<_>>().join("\n  ")).with_sqlstate(INVALID_SETTING)
    })
}

/// What is wrong, and from which byte on.
#[derive(Debug)]
struct Mistake {
    at: usize,
    why: String,
}

impl Mistake {
    fn at<T>(place: &Spanned<T>, why: impl Into<String>) -> Self {
        Self { at: place.span().start, why: why.into() }
    }
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Rule>, Vec<Mistake>> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![Mistake { at, why: error.message().trim().to_owned() }]
    })?;
    let mut mistakes = Vec::new();
    if file.rule.is_empty() {
        mistakes.push(Mistake { at: 0, why: "there is no rule: each begins with [[rule]]".to_owned() });
    }
    if let Some(first) = file.rule.get(MOST_RULES) {
        mistakes.push(Mistake::at(first, format!("there are more than {MOST_RULES} rules")));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for written in &file.rule {
        let name = &written.get_ref().name;
        if rules.iter().any(|rule| rule.name == *name.get_ref()) {
            mistakes.push(Mistake::at(name, format!("there are two rules {}", name.get_ref())));
        }
        match rule_of(written, folder) {
            Ok(rule) => rules.push(rule),
            Err(wrong) => mistakes.extend(wrong),
        }
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

fn rule_of(written: &Spanned<Written>, folder: &Path) -> Result<Rule, Vec<Mistake>> {
    let rule = written.get_ref();
    let mut mistakes = Vec::new();
    let name = rule.name.get_ref();
    let is_name = (1..=MOST_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    if !is_name {
        let why = format!("a name has 1 to {MOST_NAME_BYTES} lower-case letters, digits, - and _");
        mistakes.push(Mistake::at(&rule.name, why));
    }
    let keys = rule.keys.as_ref().map(globs).transpose().unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        None
    });
    let mut patterns = Vec::new();
    for made in rule.patterns.iter().map(ready_made).chain(rule.regexes.iter().map(own)) {
        match made {
            Ok(made) => patterns.extend(made),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    let action = action_of(written, folder).map_err(|mistake| mistakes.push(mistake)).ok();
    mistakes.extend(unfitting(written));
    let places = rule.on.as_ref().map_or(Place::ALL.to_vec(), |on| on.get_ref().clone());
    match action {
        Some(action) if mistakes.is_empty() => {
            Ok(Rule { name: name.clone(), action, places, keys, patterns, values: AtomicU64::new(0) })
        }
        _ => Err(mistakes),
    }
}

/// Keys of a rule that do not go together.
fn unfitting(written: &Spanned<Written>) -> Vec<Mistake> {
    let rule = written.get_ref();
    let (action, has_patterns) = (*rule.action.get_ref(), !rule.patterns.is_empty() || !rule.regexes.is_empty());
    let mut mistakes = Vec::new();
    if rule.keys.is_none() && !has_patterns {
        mistakes.push(Mistake::at(written, "it is about nothing: give keys, patterns or regexes"));
    }
    if let Some(keys) = rule.keys.as_ref().filter(|keys| keys.get_ref().is_empty()) {
        mistakes.push(Mistake::at(keys, "keys is empty: leave it out for all keys"));
    }
    if action == ActionName::Allow && (rule.keys.is_none() || has_patterns) {
        mistakes.push(Mistake::at(&rule.action, "what is allowed is told by keys only"));
    }
    if let Some(on) = rule.on.as_ref().filter(|on| on.get_ref().is_empty()) {
        mistakes.push(Mistake::at(on, "on is empty: leave it out for all places"));
    }
    let is_keyless =
        |on: &[Place]| !on.is_empty() && on.iter().all(|place| matches!(place, Place::Name | Place::Status));
    if let Some(on) = rule.on.as_ref().filter(|on| rule.keys.is_some() && is_keyless(on.get_ref())) {
        mistakes.push(Mistake::at(on, "names and status messages have no keys: leave keys out, or name other places"));
    }
    if let Some(with) = rule.with.as_ref().filter(|_| action != ActionName::Mask) {
        mistakes.push(Mistake::at(with, "with is for masks"));
    }
    let key = rule.key_file.as_ref().map(|file| file.span()).or(rule.key_env.as_ref().map(|name| name.span()));
    if let Some(span) = key.filter(|_| action != ActionName::Hash) {
        mistakes.push(Mistake { at: span.start, why: "key_file and key_env are for hashes".to_owned() });
    }
    mistakes
}

fn action_of(written: &Spanned<Written>, folder: &Path) -> Result<Action, Mistake> {
    let rule = written.get_ref();
    Ok(match rule.action.get_ref() {
        ActionName::Delete => Action::Delete,
        ActionName::Allow => Action::Allow,
        ActionName::Mask => Action::Mask(rule.with.as_ref().map_or(MASK, |with| with.get_ref()).to_owned()),
        ActionName::Hash => Action::Hash(hash_key(rule, folder)?),
    })
}

fn hash_key(rule: &Written, folder: &Path) -> Result<HashKey, Mistake> {
    let (at, key, from) = match (&rule.key_file, &rule.key_env) {
        (Some(file), None) => {
            let path = folder.join(file.get_ref());
            let key = std::fs::read(&path);
            let key =
                key.map_err(|error| Mistake::at(file, format!("the key {} cannot be read: {error}", path.display())))?;
            (file.span().start, key, path.display().to_string())
        }
        (None, Some(name)) => {
            let variable = name.get_ref();
            let key = std::env::var_os(variable).ok_or_else(|| Mistake::at(name, format!("{variable} is not set")))?;
            (name.span().start, key.into_encoded_bytes(), variable.clone())
        }
        _ => return Err(Mistake::at(&rule.action, "a hash needs a key: give key_file or key_env")),
    };
    let key = key.trim_ascii_end();
    if key.len() < HashKey::LEAST_BYTES {
        let least = HashKey::LEAST_BYTES;
        return Err(Mistake { at, why: format!("the key in {from} is too short: give at least {least} bytes") });
    }
    HashKey::new(key).map_err(|error| Mistake { at, why: error.to_string() })
}

fn ready_made(name: &Spanned<String>) -> Result<Vec<Pattern>, Mistake> {
    let made = Pattern::named(name.get_ref()).map_err(|error| Mistake::at(name, error.to_string()))?;
    if made.is_empty() {
        let known = Pattern::NAMES.join(", ");
        let why = format!(
            "there is no ready-made pattern {:?}: write {known}, or a pattern of your own in regexes",
            name.get_ref()
        );
        return Err(Mistake::at(name, why));
    }
    Ok(made)
}

fn own(text: &Spanned<String>) -> Result<Vec<Pattern>, Mistake> {
    let pattern = Pattern::regex(text.get_ref()).map_err(|error| Mistake::at(text, error.to_string()))?;
    match pattern.is_in(b"") {
        true => Err(Mistake::at(text, "it matches the empty text, which is everywhere")),
        false => Ok(vec![pattern]),
    }
}

/// Keys as `*` and `?` have them, whatever their case.
fn globs(keys: &Spanned<Vec<String>>) -> Result<RegexSet, Mistake> {
    let regexes = keys.get_ref().iter().map(|glob| {
        let part = |letter: char| match letter {
            '*' => "(?s-u:.)*".to_owned(),
            '?' => "(?s:.)".to_owned(),
            other => regex::escape(other.encode_utf8(&mut [0; 4])),
        };
        format!("^{}$", glob.chars().map(part).collect::<String>())
    });
    let set = RegexSetBuilder::new(regexes).case_insensitive(true).build();
    set.map_err(|error| Mistake::at(keys, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules.toml");
        std::fs::write(folder.path().join("short"), "short\n").expect("written");
        std::fs::write(&path, text).expect("written");
        let error = read(&path).expect_err(text);
        assert_eq!(error.sqlstate(), INVALID_SETTING);
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        const RULE: &str = "[[rule]]\nname = \"a\"\n";
        for (rest, expected) in [
            ("action = \"erase\"\nkeys = [\"x\"]", "rules.toml:3: unknown variant `erase`"),
            ("action = \"delete\"", "rules.toml:1: it is about nothing"),
            ("action = \"delete\"\nkeys = []", "rules.toml:4: keys is empty"),
            ("action = \"delete\"\nkey = [\"x\"]", "rules.toml:4: unknown field `key`"),
            (
                "action = \"mask\"\npatterns = [\"card\", \"iban\"]",
                "rules.toml:4: there is no ready-made pattern \"iban\": write card",
            ),
            ("action = \"mask\"\nregexes = [\"(\"]", "rules.toml:4: regex parse error"),
            ("action = \"mask\"\nregexes = [\"x*\"]", "rules.toml:4: it matches the empty text"),
            ("action = \"hash\"\nkeys = [\"x\"]", "rules.toml:3: a hash needs a key"),
            ("action = \"hash\"\nkeys = [\"x\"]\nkey_file = \"short\"", "rules.toml:5: the key in short is too short"),
            ("action = \"hash\"\nkeys = [\"x\"]\nkey_file = \"none\"", "rules.toml:5: the key none cannot be read"),
            (
                "action = \"hash\"\nkeys = [\"x\"]\nkey_env = \"SPANHOUSE_NO_SUCH\"",
                "rules.toml:5: SPANHOUSE_NO_SUCH is not set",
            ),
            ("action = \"allow\"\nkeys = [\"x\"]\npatterns = [\"card\"]", "rules.toml:3: what is allowed"),
            ("action = \"delete\"\nkeys = [\"x\"]\nwith = \"-\"", "rules.toml:5: with is for masks"),
            ("action = \"delete\"\nkeys = [\"x\"]\non = [\"spans\"]", "rules.toml:5: unknown variant `spans`"),
            (
                "action = \"delete\"\nkeys = [\"x\"]\non = [\"name\", \"status\"]",
                "rules.toml:5: names and status messages",
            ),
            (
                "action = \"delete\"\nkeys = [\"x\"]\n[[rule]]\nname = \"a\"\naction = \"delete\"\nkeys = [\"y\"]",
                "rules.toml:6: there are two rules a",
            ),
            ("action = ", "rules.toml:3: "),
        ] {
            let told = told(&format!("{RULE}{rest}"));
            assert!(told.starts_with(expected), "{rest}: {told}");
        }
        assert!(told("").starts_with("rules.toml:1: there is no rule"));
        assert!(
            told("[[rule]]\nname = \"A b\"\naction = \"delete\"\nkeys = [\"x\"]")
                .starts_with("rules.toml:2: a name has")
        );
        assert!(read(Path::new("/nowhere/rules.toml")).expect_err("missing").message.contains("cannot be read"));
    }

    #[test]
    fn keys_are_globs_whatever_their_case() {
        let matches = |glob: &str, key: &[u8]| {
            let written: File =
                toml::from_str(&format!("[[rule]]\nname = \"a\"\naction = \"delete\"\nkeys = [{glob:?}]")).unwrap();
            globs(written.rule[0].get_ref().keys.as_ref().unwrap()).unwrap().is_match(key)
        };
        for (glob, key) in
            [("a.*", "A.b.c"), ("*", ""), ("*.password", "db.Password"), ("?d", "id"), ("a+b", "a+b"), ("ä*", "Äx")]
        {
            assert!(matches(glob, key.as_bytes()), "{glob} {key}");
        }
        for (glob, key) in [("a.*", "axb"), ("id", "ids"), ("a+b", "aab"), ("?", "")] {
            assert!(!matches(glob, key.as_bytes()), "{glob} {key}");
        }
        assert!(matches("*", b"\xff") && matches("x*", b"x\n\xfe"));
    }
}
