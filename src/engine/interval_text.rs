//! Intervals as PostgreSQL writes them, `1 day 02:03:04`, and ISO 8601, `P1DT2H`, in words of units, which alone are read further on.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Interval, Statement, Value, ValueWithSpan, VisitMut, VisitorMut};

/// Puts words of units into the constants of a statement.
pub(super) fn rewrite(statement: &mut Statement) {
    let _ = statement.visit(&mut Constants);
}

struct Constants;

impl VisitorMut for Constants {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Interval(Interval { value, leading_field: None, .. }) = expr
            && let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = value.as_mut()
            && let Some(words) = in_words(text)
        {
            *text = words;
        }
        ControlFlow::Continue(())
    }
}

/// The same interval in words; `None` for a text that is in words already, and for one that is no interval.
pub(super) fn in_words(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(parts) = text.strip_prefix('P') {
        return iso(parts);
    }
    let is_ago = text.len() > 4 && text.to_ascii_lowercase().ends_with(" ago");
    let parts = if is_ago { &text[..text.len() - 4] } else { text };
    let parts = parts.strip_prefix('@').unwrap_or(parts);
    let parts: Vec<&str> = parts.split_ascii_whitespace().collect();
    let mut words = Vec::new();
    let mut has_clock = false;
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        if part.contains(':') {
            words.extend(clock(part).filter(|_| is_last)?);
            has_clock = true;
        } else if let Some(both) = years_and_months(part) {
            words.extend(both);
            has_clock = true;
        } else {
            words.push(part.to_string());
            // A number before a time of day counts days.
            if number(part) && parts.get(at + 1).is_some_and(|next| next.contains(':')) {
                words.push("days".into());
            }
        }
    }
    if !is_ago && !has_clock && !text.starts_with('@') {
        return None;
    }
    if is_ago {
        words
            .iter_mut()
            .filter(|word| word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)))
            .for_each(negate);
    }
    Some(words.join(" "))
}

fn negate(word: &mut String) {
    *word = match word.strip_prefix('-') {
        Some(rest) => rest.to_string(),
        None => format!("-{}", word.trim_start_matches('+')),
    };
}

fn number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn decimal(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    number(whole) && !decimals.starts_with(['+', '-']) && number(decimals)
}

/// `[-]hours:minutes[:seconds[.decimals]]`.
fn clock(text: &str) -> Option<Vec<String>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let is_clock = digits.starts_with(|c: char| c.is_ascii_digit())
        && number(hours)
        && in_sixty(minutes)
        && decimal(seconds)
        && in_sixty(seconds.split('.').next()?)
        && parts.next().is_none();
    let units = [(hours, "hours"), (minutes, "minutes"), (seconds, "seconds")];
    is_clock.then(|| units.map(|(count, unit)| format!("{sign}{count} {unit}")).to_vec())
}

fn in_sixty(text: &str) -> bool {
    text.len() <= 2 && number(text) && text.parse::<u8>().is_ok_and(|count| count < 60)
}

/// `years-months`.
fn years_and_months(text: &str) -> Option<Vec<String>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (years, months) = digits.split_once('-')?;
    let are_numbers = [years, months].into_iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let fits = are_numbers && number(years) && months.parse::<u8>().is_ok_and(|months| months < 12);
    fits.then(|| vec![format!("{sign}{years} years"), format!("{sign}{months} months")])
}

/// What stands behind `P`: `1Y2M3DT4H5M6.5S`, `2W`.
fn iso(text: &str) -> Option<String> {
    let (days, clock) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((days, clock)) => (days, clock),
        None => (text, ""),
    };
    let mut words = counted(days, &[('Y', "years"), ('M', "months"), ('W', "weeks"), ('D', "days")])?;
    words.extend(counted(clock, &[('H', "hours"), ('M', "minutes"), ('S', "seconds")])?);
    (!words.is_empty()).then(|| words.join(" "))
}

/// Numbers with units behind them, in the units' order.
fn counted(mut text: &str, units: &[(char, &str)]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (count, rest) = text.split_at(end);
        let (_, unit) = units.find(|(letter, _)| rest.starts_with(*letter))?;
        if !decimal(count) {
            return None;
        }
        words.push(format!("{count} {unit}"));
        text = &rest[1..];
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_postgresql_become_words() {
        for (text, words) in [
            ("01:30:00", "01 hours 30 minutes 00 seconds"),
            ("-1:30", "-1 hours -30 minutes -0 seconds"),
            ("1 day 02:03:04.5", "1 day 02 hours 03 minutes 04.5 seconds"),
            ("1 02:00", "1 days 02 hours 00 minutes 0 seconds"),
            ("1 year 2 mons -3 days 00:00:01", "1 year 2 mons -3 days 00 hours 00 minutes 01 seconds"),
            ("P1DT2H", "1 days 2 hours"),
            ("P1Y2M3W4DT5H6M7.5S", "1 years 2 months 3 weeks 4 days 5 hours 6 minutes 7.5 seconds"),
            ("PT-5M", "-5 minutes"),
            ("1 day ago", "-1 day"),
            ("@ 1 day 2 hours ago", "-1 day -2 hours"),
            ("1-2", "1 years 2 months"),
        ] {
            assert_eq!(in_words(text).as_deref(), Some(words), "{text}");
        }
        for text in
            ["1 day", "5", "1:2:3:4", "1:60", "P", "PT", "P1H", "P1D2Y", "01:30 1 day", "a:b", "", "-:1", "--1:00"]
        {
            assert_eq!(in_words(text), None, "{text}");
        }
    }
}
