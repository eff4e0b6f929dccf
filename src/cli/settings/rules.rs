//! Retention rules as text: `errors keep=90d; service="my shop" slower_than=2s keep=365d`. In the settings file they may also be tables.

use std::iter::Peekable;
use std::str::Chars;

use toml::de::{DeTable, DeValue};

use super::valid::LEAST_RETENTION;
use crate::store::{MOST_RULES, RetentionRule};
use crate::typed::{nearest, parse_duration};

/// Reads rules with `;` between them.
pub(in crate::cli) fn parse_rules(text: &str) -> Result<Vec<RetentionRule>, String> {
    let mut rules = Vec::new();
    for words in split(text)?.split(|token| *token == Token::End).filter(|words| !words.is_empty()) {
        rules.push(rule_of(words).map_err(|why| format!("rule {}: {why}", rules.len() + 1))?);
    }
    match rules.len() > MOST_RULES {
        true => Err(format!("there are {} rules: give {MOST_RULES} at most", rules.len())),
        false => Ok(rules),
    }
}

/// A condition or what a rule does: `name`, or `name=value`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Word {
    name: String,
    value: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(Word),
    End,
}

fn split(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.peek().copied() {
        if char.is_whitespace() || char == ';' {
            chars.next();
            tokens.extend((char == ';').then_some(Token::End));
            continue;
        }
        let mut word = Word { name: plain(&mut chars, "=; \t\r\n"), value: None };
        if chars.next_if_eq(&'=').is_some() {
            word.value = Some(match chars.next_if_eq(&'"') {
                Some(_) => quoted(&mut chars)?,
                None => plain(&mut chars, "; \t\r\n"),
            });
        }
        tokens.push(Token::Word(word));
    }
    Ok(tokens)
}

fn plain(chars: &mut Peekable<Chars<'_>>, ends: &str) -> String {
    std::iter::from_fn(|| chars.next_if(|char| !ends.contains(*char))).collect()
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None => return Err("a \" is not closed".to_owned()),
            Some('"') => return Ok(text),
            Some('\\') => text.extend(chars.next()),
            Some(char) => text.push(char),
        }
    }
}

fn rule_of(words: &[Token]) -> Result<RetentionRule, String> {
    let (mut service, mut errors, mut slower_than, mut keep) = (None, false, None, None);
    for word in words {
        let Token::Word(word) = word else { continue };
        let value = word.value.as_deref();
        let needed = || value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{} needs a value", word.name));
        let duration = || parse_duration(needed()?).map_err(|why| format!("{}: {why}", word.name));
        let is_new = match word.name.as_str() {
            "service" => service.replace(needed()?.to_owned()).is_none(),
            "slower_than" => slower_than.replace(duration()?).is_none(),
            "keep" => keep.replace(duration()?).is_none(),
            "errors" if value.is_none_or(|value| value == "true") => !std::mem::replace(&mut errors, true),
            "errors" => return Err("errors can only be true: leave it out otherwise".to_owned()),
            other => return Err(unknown(other)),
        };
        if !is_new {
            return Err(format!("{} is there twice: write two rules", word.name));
        }
    }
    let keep = keep.ok_or("keep is missing: how long are such traces kept?")?;
    if keep < LEAST_RETENTION {
        return Err("keep is too short: give at least 1h".to_owned());
    }
    if service.is_none() && !errors && slower_than.is_none() {
        return Err("it has no condition: give service, errors or slower_than, or set retention for all".to_owned());
    }
    Ok(RetentionRule { service, errors, slower_than, keep })
}

fn unknown(name: &str) -> String {
    let known = ["service", "errors", "slower_than", "keep"];
    let advice = match nearest(name, known.into_iter()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("write {}", known.join(", ")),
    };
    format!("there is no condition \"{name}\": {advice}")
}

/// The text of rules that stand in the settings file as tables; `None` when they are something else.
pub(super) fn text_of_tables(value: &DeValue<'_>) -> Option<String> {
    let DeValue::Array(rules) = value else { return None };
    let rules = rules.iter().map(|rule| match rule.get_ref() {
        DeValue::Table(rule) => text_of_table(rule),
        _ => None,
    });
    rules.collect::<Option<Vec<_>>>().map(|rules| rules.join("; "))
}

fn text_of_table(rule: &DeTable<'_>) -> Option<String> {
    let words = rule.iter().map(|(name, value)| match value.get_ref() {
        DeValue::Boolean(truth) => Some(format!("{}={truth}", name.get_ref())),
        DeValue::Integer(number) => Some(format!("{}={}", name.get_ref(), number.as_str())),
        DeValue::String(text) => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            Some(format!("{}=\"{escaped}\"", name.get_ref()))
        }
        _ => None,
    });
    words.collect::<Option<Vec<_>>>().map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn rules_are_read_with_all_their_conditions() {
        let rules =
            parse_rules("errors keep=90d;\n service=\"my \\\"shop\\\"; a\" slower_than=2s errors=true keep=365d ;")
                .expect("rules");
        let first = RetentionRule { service: None, errors: true, slower_than: None, keep: 90 * DAY };
        let second = RetentionRule {
            service: Some("my \"shop\"; a".into()),
            slower_than: Some(Duration::from_secs(2)),
            keep: 365 * DAY,
            ..first.clone()
        };
        assert_eq!(rules, [first, second]);
        for nothing in ["", " ", ";", " ; ;"] {
            assert_eq!(parse_rules(nothing), Ok(vec![]), "{nothing:?}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_rule() {
        for (text, why) in [
            ("errors", "rule 1: keep is missing"),
            ("errors keep=1d; keep=2d", "rule 2: it has no condition"),
            ("errors keep=soon", "rule 1: keep: \"soon\" is not a duration"),
            ("errors keep=1m", "rule 1: keep is too short"),
            ("servise=a keep=1d", "rule 1: there is no condition \"servise\": did you mean service?"),
            ("service keep=1d", "rule 1: service needs a value"),
            ("service=\"a keep=1d", "a \" is not closed"),
            ("errors=false keep=1d", "rule 1: errors can only be true"),
            ("service=a service=b keep=1d", "rule 1: service is there twice"),
            ("=x", "rule 1: there is no condition \"\""),
        ] {
            let told = parse_rules(text).expect_err(text);
            assert!(told.starts_with(why), "{text}: {told}");
        }
        let many = "errors keep=1d;".repeat(MOST_RULES + 1);
        assert!(parse_rules(&many).expect_err("many").contains("at most"));
    }
}
