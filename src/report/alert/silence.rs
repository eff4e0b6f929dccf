//! Silences: which alerts are not told for a while, from `silences.toml` in the reports folder.
//!
//! Alerts are judged and kept all the same; a silence only keeps them from being told. A silence says what it is about (a report, a
//! rule, labels, or several of them) and when it ends, so that none is forgotten.

use std::fmt;
use std::path::Path;

use chrono::DateTime;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::report::mistake::Mistake;

/// The name of the file in the reports folder.
pub const SILENCES_FILE: &str = "silences.toml";

/// More than this many are a slip.
const MOST_SILENCES: usize = 1000;

const KEYS: [&str; 6] = ["report", "rule", "labels", "from", "until", "reason"];

/// What is not told, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Silence {
    /// The report's name; `*` in it stands for any characters, as in all patterns here. `None` matches all.
    pub report: Option<String>,
    pub rule: Option<String>,
    /// Columns and the patterns of their values, all of which must match.
    pub labels: Vec<(String, String)>,
    /// From the beginning when `None`.
    pub from_ms: Option<i64>,
    /// It has ended by then.
    pub until_ms: i64,
    pub reason: String,
    /// Its line in the file.
    pub line: usize,
}

impl Silence {
    /// Whether it holds for an alert now.
    pub fn holds(&self, report: &str, rule: &str, labels: &[(String, String)], now_ms: i64) -> bool {
        let fits = |pattern: &Option<String>, text| pattern.as_ref().is_none_or(|pattern| matches(pattern, text));
        let has = |(name, pattern): &(String, String)| {
            labels.iter().any(|(label, value)| label == name && matches(pattern, value))
        };
        let is_time = self.from_ms.is_none_or(|from_ms| from_ms <= now_ms) && now_ms < self.until_ms;
        is_time && fits(&self.report, report) && fits(&self.rule, rule) && self.labels.iter().all(has)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{SILENCES_FILE}, line {}", self.line),
            reason => write!(f, "{reason} ({SILENCES_FILE}, line {})", self.line),
        }
    }
}

/// Reads the text of the file of silences at `path`.
///
/// # Errors
/// Every mistake. Half of the silences would be told as none: with a mistake nothing of the file holds, and who calls this keeps what
/// held before.
pub fn parse_silences(path: &Path, text: &str) -> Result<Vec<Silence>, Vec<Mistake>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { path, text, mistakes: Vec::new() };
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.wrong(at, format!("this is not TOML: {}", error.message().trim()));
    }
    let mut silences = Vec::new();
    for (name, value) in table.get_ref() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("silences", DeValue::Array(entries)) => {
                if entries.len() > MOST_SILENCES {
                    let why = format!("there are {} silences, at most {MOST_SILENCES} hold", entries.len());
                    reader.wrong(name.span().start, why);
                }
                silences = entries.iter().filter_map(|entry| reader.silence(entry)).collect();
            }
            ("silences", _) => reader.wrong(name.span().start, "silences are tables: write [[silences]]".to_owned()),
            (name_text, _) => {
                reader.wrong(name.span().start, format!("there is no key {name_text}: write [[silences]]"));
            }
        }
    }
    match reader.mistakes.is_empty() {
        true => Ok(silences),
        false => Err(reader.mistakes),
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    fn wrong(&mut self, at: usize, why: String) {
        let line = self.line(at);
        self.mistakes.push(Mistake::at(self.path, line, why));
    }

    fn silence(&mut self, entry: &Spanned<DeValue<'_>>) -> Option<Silence> {
        let at = entry.span().start;
        let Some(table) = entry.get_ref().as_table() else {
            self.wrong(at, "a silence is a table: write [[silences]]".to_owned());
            return None;
        };
        let mut silence = Silence { line: self.line(at), ..Silence::default() };
        let mut until_ms = None;
        for (name, value) in table {
            match name.get_ref().as_ref() {
                "report" => silence.report = self.text_of(name.get_ref(), value),
                "rule" => silence.rule = self.text_of(name.get_ref(), value),
                "labels" => silence.labels = self.labels(value),
                "from" => silence.from_ms = self.time(name.get_ref(), value),
                "until" => until_ms = self.time(name.get_ref(), value).or(Some(i64::MIN)),
                "reason" => silence.reason = self.text_of(name.get_ref(), value).unwrap_or_default(),
                other => {
                    let known = KEYS.join(", ");
                    self.wrong(name.span().start, format!("a silence has no key {other}: it has {known}"));
                }
            }
        }
        if silence.report.is_none() && silence.rule.is_none() && silence.labels.is_empty() {
            self.wrong(at, "a silence names a report, a rule or labels; report = \"*\" silences all".to_owned());
        }
        let Some(until_ms) = until_ms else {
            self.wrong(at, "a silence says until when it holds: until = 2026-12-31T18:00:00Z".to_owned());
            return None;
        };
        if until_ms != i64::MIN && silence.from_ms.is_some_and(|from_ms| until_ms <= from_ms) {
            self.wrong(at, "a silence ends after it begins: until is not after from".to_owned());
        }
        silence.until_ms = until_ms;
        Some(silence)
    }

    fn text_of(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(value.span().start, format!("{key} is text in quotes"));
        }
        text
    }

    fn labels(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<(String, String)> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(value.span().start, "labels are a table: labels = { service_name = \"cart\" }".to_owned());
            return Vec::new();
        };
        let pairs = table
            .iter()
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), self.text_of(name.get_ref(), value)?)));
        pairs.collect()
    }

    fn time(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<i64> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            _ => String::new(),
        };
        let time = DateTime::parse_from_rfc3339(&text).ok();
        if time.is_none() {
            let why = format!("{key} is a time with its offset from UTC, such as 2026-12-31T18:00:00+01:00");
            self.wrong(value.span().start, why);
        }
        time.map(|time| time.timestamp_millis())
    }
}

/// Whether a text is what a pattern says, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Silence>, Vec<Mistake>> {
        parse_silences(Path::new(SILENCES_FILE), text)
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pattern_matches_the_whole_text() {
        for (pattern, text, expected) in [
            ("cart", "cart", true),
            ("cart", "cart2", false),
            ("cart", "my cart", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("cart*", "cart-2", true),
            ("*cart", "my cart", true),
            ("c*t", "ct", true),
            ("c*t", "c", false),
            ("a*a", "a", false),
            ("a*b*c", "a b b c", true),
            ("a*b*c", "a c b", false),
            ("é*", "éa", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn a_file_is_read_with_the_lines_of_its_silences() {
        let text = "\
# Deploys
[[silences]]
report = \"daily_*\"
labels = { service_name = \"cart\", zone = \"*\" }
from = 2026-03-29T01:00:00+01:00
until = \"2026-03-29T05:00:00+02:00\"
reason = \"deploy\"

[[silences]]
rule = \"errors\"
until = 2026-04-01T00:00:00Z
";
        let silences = parse(text).expect("no mistakes");
        assert_eq!(silences.len(), 2);
        let first = &silences[0];
        assert_eq!((first.line, first.from_ms, first.until_ms), (2, Some(1_774_742_400_000), 1_774_753_200_000));
        assert_eq!(first.labels, labels(&[("service_name", "cart"), ("zone", "*")]));
        assert_eq!(first.to_string(), "deploy (silences.toml, line 2)");
        assert_eq!(silences[1].to_string(), "silences.toml, line 9");
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn each_mistake_is_told_with_its_line() {
        for (text, line, why) in [
            ("\n[[silence]]\nrule = \"a\"", 2, "there is no key silence"),
            ("[silences]\nrule = \"a\"", 1, "write [[silences]]"),
            ("silences = [1]", 1, "a silence is a table"),
            ("[[silences]]\nuntil = 2026-01-01T00:00:00Z", 1, "names a report, a rule or labels"),
            ("[[silences]]\nrule = \"a\"", 1, "says until when"),
            ("[[silences]]\nrule = 1\nreport = \"a\"\nuntil = 2026-01-01T00:00:00Z", 2, "rule is text in quotes"),
            ("[[silences]]\nrule = \"a\"\nuntil = 2026-01-01T00:00:00", 3, "with its offset"),
            ("[[silences]]\nrule = \"a\"\nuntil = \"tomorrow\"", 3, "with its offset"),
            ("[[silences]]\nrule = \"a\"\nuntil = 5", 3, "until is a time"),
            ("[[silences]]\nrule = \"a\"\nuntl = 2026-01-01T00:00:00Z\nuntil = 2026-01-01T00:00:00Z", 3, "no key untl"),
            (
                "[[silences]]\nrule = \"a\"\nfrom = 2026-01-01T00:00:00Z\nuntil = 2026-01-01T00:00:00Z",
                1,
                "ends after it begins",
            ),
            ("[[silences]]\nrule = \"a\"\nlabels = [\"b\"]\nuntil = 2026-01-01T00:00:00Z", 3, "labels are a table"),
            ("[[silences]]\nrule = \"a\"\nlabels = { b = 1 }\nuntil = 2026-01-01T00:00:00Z", 3, "b is text"),
            ("[[silences]]\nrule = \"a\nuntil = 2026-01-01T00:00:00Z", 2, "not TOML"),
        ] {
            let mistakes = parse(text).expect_err(text);
            assert!(mistakes.iter().any(|m| m.line == Some(line) && m.why.contains(why)), "{text}: {mistakes:?}");
        }
        let text = "[[silences]]\nrule = 1\nuntil = 2\n[[silences]]\nreport = 3\nuntil = 2026-01-01T00:00:00Z";
        let lines: Vec<_> = parse(text).expect_err("mistakes").into_iter().map(|m| m.line).collect();
        assert!([2, 3, 5].iter().all(|line| lines.contains(&Some(*line))), "all are told at once: {lines:?}");
    }

    #[test]
    fn a_silence_holds_for_what_it_names_and_while_it_lasts() {
        let silence = Silence {
            report: Some("daily_*".to_owned()),
            rule: Some("errors".to_owned()),
            labels: labels(&[("service_name", "cart*")]),
            from_ms: Some(100),
            until_ms: 200,
            ..Silence::default()
        };
        let cart = labels(&[("zone", "a"), ("service_name", "cart-2")]);
        for (report, rule, labels, now_ms, expected) in [
            ("daily_health", "errors", &cart, 100, true),
            ("daily_health", "errors", &cart, 199, true),
            ("daily_health", "errors", &cart, 99, false),
            ("daily_health", "errors", &cart, 200, false),
            ("hourly", "errors", &cart, 150, false),
            ("daily_health", "slow", &cart, 150, false),
            ("daily_health", "errors", &labels(&[("service_name", "shop")]), 150, false),
            ("daily_health", "errors", &labels(&[]), 150, false),
        ] {
            assert_eq!(silence.holds(report, rule, labels, now_ms), expected, "{report} {rule} {labels:?} {now_ms}");
        }
    }
}
