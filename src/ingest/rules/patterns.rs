//! What rules look for in values: ready-made patterns, and those of the file.

use regex::bytes::{Captures, Regex};

/// A pattern.
#[derive(Debug)]
pub(super) enum Pattern {
    Regex(Regex),
    /// Numbers of payment cards, by their check digit.
    Card,
}

/// Addresses of mail, also as they stand in URLs.
const EMAIL: &str = r"(?i-u)[a-z0-9._%+-]+(?:@|%40)[a-z0-9-]+(?:\.[a-z0-9-]+)+";

/// Tokens, keys and passwords in the forms in which they are handed around: JSON Web Tokens, HTTP credentials, passwords and keys in URLs, and the
/// keys of large providers, which begin with letters of their own.
const TOKEN: &str = concat!(
    r"(?i-u:\b(?:bearer|basic)\s+[a-z0-9._~+/=-]{8,})",
    r"|(?-u:\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)",
    r"|(?-u:\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)",
    r"|(?-u:\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{22,}|\bglpat-[A-Za-z0-9_-]{20,})",
    r"|(?-u:\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35})",
    r"|(?-u:\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,})",
    r"|(?i-u:[a-z0-9_-]*(?:token|secret|password|passwd|api_?key)=[^&\s]+)",
);

/// The user and the password in a URL; what is before and behind them stays.
const URL_PASSWORD: &str = r"(?-u)(?P<before>://)[^/\s:@]*:[^/\s@]+(?P<behind>@)";

impl Pattern {
    /// The names of the ready-made ones.
    pub const NAMES: [&'static str; 3] = ["card", "email", "token"];

    /// The patterns that a ready-made name stands for.
    pub fn named(name: &str) -> Result<Vec<Self>, regex::Error> {
        Ok(match name {
            "card" => vec![Self::Card],
            "email" => vec![Self::regex(EMAIL)?],
            "token" => vec![Self::regex(URL_PASSWORD)?, Self::regex(TOKEN)?],
            _ => Vec::new(),
        })
    }

    pub fn regex(text: &str) -> Result<Self, regex::Error> {
        Regex::new(text).map(Self::Regex)
    }

    pub fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::Card => !cards(text).is_empty(),
        }
    }

    /// The text with `with` in the place of each match, but for what its groups `before` and `behind` match; `None` without one.
    pub fn replace(&self, text: &[u8], with: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Regex(regex) if !regex.is_match(text) => None,
            Self::Regex(regex) => {
                let part = |captures: &Captures<'_>, name: &str| {
                    captures.name(name).map_or_else(Vec::new, |part| part.as_bytes().to_vec())
                };
                let changed = regex.replace_all(text, |captures: &Captures<'_>| {
                    [&part(captures, "before"), with, &part(captures, "behind")].concat()
                });
                Some(changed.into_owned())
            }
            Self::Card => {
                let cards = cards(text);
                let mut out = Vec::with_capacity(text.len());
                let mut from = 0;
                for card in &cards {
                    out.extend_from_slice(&text[from..card.start]);
                    out.extend_from_slice(with);
                    from = card.end;
                }
                out.extend_from_slice(&text[from..]);
                (!cards.is_empty()).then_some(out)
            }
        }
    }
}

/// How many digits the numbers of cards have.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Where the numbers of cards stand: 13 to 19 digits, alone or in groups with a space or a dash between, that begin with 2 to 6 and end with the right
/// check digit (ISO/IEC 7812).
fn cards(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let run = groups(text, at);
        let end = run.last().map_or(at + 1, |group| group.end);
        let mut first = 0;
        while first < run.len() {
            match card_from(text, &run[first..]) {
                Some(groups) if groups > 1 || !is_in_hex(text, &run[first]) => {
                    found.push(run[first].start..run[first + groups - 1].end);
                    first += groups;
                }
                _ => first += 1,
            }
        }
        at = end;
    }
    found
}

/// The groups of digits from `at` on that single spaces or dashes part.
fn groups(text: &[u8], mut at: usize) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    loop {
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        groups.push(at..at + digits);
        at += digits;
        match text.get(at..at + 2) {
            Some([b' ' | b'-', next]) if next.is_ascii_digit() => at += 1,
            _ => return groups,
        }
    }
}

/// How many of the first groups are the number of a card: the most that are.
fn card_from(text: &[u8], groups: &[std::ops::Range<usize>]) -> Option<usize> {
    let mut digits: Vec<u8> = Vec::with_capacity(*CARD_DIGITS.end());
    let mut card = None;
    for (at, group) in groups.iter().enumerate() {
        if digits.len() + group.len() > *CARD_DIGITS.end() {
            break;
        }
        digits.extend(text[group.clone()].iter().map(|byte| byte - b'0'));
        if CARD_DIGITS.contains(&digits.len()) && matches!(digits[0], 2..=6) && has_check_digit(&digits) {
            card = Some(at + 1);
        }
    }
    card
}

/// So many letters and digits before and behind a number tell whether it is part of an id: a long text would be gone through for each number in it.
const AROUND_BYTES: usize = 64;

/// Whether digits are part of a longer hexadecimal number with letters, such as an id.
fn is_in_hex(text: &[u8], digits: &std::ops::Range<usize>) -> bool {
    let before = text[..digits.start].iter().rev().take(AROUND_BYTES).take_while(|byte| byte.is_ascii_alphanumeric());
    let behind = text[digits.end..].iter().take(AROUND_BYTES).take_while(|byte| byte.is_ascii_alphanumeric());
    let mut around = before.chain(behind).peekable();
    around.peek().is_some() && around.all(u8::is_ascii_hexdigit)
}

/// Luhn's formula.
fn has_check_digit(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, *digit) {
            (0, digit) => u32::from(digit),
            (_, digit @ 0..=4) => u32::from(digit) * 2,
            (_, digit) => u32::from(digit) * 2 - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(name: &str, text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        for pattern in Pattern::named(name).unwrap() {
            text = pattern.replace(&text, b"*").unwrap_or(text);
        }
        String::from_utf8(text).unwrap()
    }

    /// Numbers that the card schemes publish for tests.
    #[test]
    fn cards_are_known_by_their_check_digit() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "378282246310005",
            "3782 822463 10005",
            "5555555555554444",
            "2223003122003222",
            "6011111111111117",
            "30569309025904",
            "4222222222222",
        ] {
            assert_eq!(masked("card", card), "*", "{card}");
            assert_eq!(masked("card", &format!("pay {card} 12/29")), "pay * 12/29", "{card}");
            assert_eq!(masked("card", &format!("a={card},b={card}")), "a=*,b=*", "{card}");
            assert_eq!(masked("card", &format!("Card{card}")), "Card*", "{card}");
        }
        for other in [
            "4111111111111112",
            "1700000000000000000",
            "411111111111111",
            "41111111111111111111111",
            "2026-01-31 10:00:00",
            "0000000000000000",
            "5a4111111111111111bc",
            "",
        ] {
            assert_eq!(masked("card", other), other);
        }
    }

    /// Were the whole text gone through for each of the numbers in it, this would be sixty billion steps.
    #[test]
    fn many_numbers_in_a_long_text_are_told_apart() {
        let times = (1 << 20) / 17;
        let ids = "4111111111111111f".repeat(times);
        assert!(cards(ids.as_bytes()).is_empty());
        let found = cards("4111111111111111x".repeat(times).as_bytes());
        assert_eq!(found.len(), times);
        assert!(found.iter().enumerate().all(|(at, card)| *card == (17 * at..17 * at + 16)));
    }

    #[test]
    fn addresses_and_tokens_are_found() {
        for (name, text, left) in [
            ("email", "to ann.b+x@mail.example.org, now", "to *, now"),
            ("email", "/u/ann%40example.org/x", "/u/*/x"),
            ("email", "a@b", "a@b"),
            ("token", "Authorization: Bearer abc.def-123456", "Authorization: *"),
            ("token", "basic dXNlcjpwYXNz", "*"),
            ("token", "x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig y", "x * y"),
            ("token", "AKIAIOSFODNN7EXAMPLE", "*"),
            ("token", "postgres://app:hunter2@db:5432/x", "postgres://*@db:5432/x"),
            ("token", "/cb?state=1&access_token=abc&x=2", "/cb?state=1&*&x=2"),
            ("token", "a basic idea", "a basic idea"),
            ("token", "tokens: 5", "tokens: 5"),
        ] {
            assert_eq!(masked(name, text), left, "{name}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_looked_at_too() {
        let text = [b"\xff ".as_slice(), b"ann@example.org", b" \xfe"].concat();
        let pattern = Pattern::regex(EMAIL).unwrap();
        assert_eq!(pattern.replace(&text, b"*").unwrap(), b"\xff * \xfe");
        assert!(!pattern.is_in(b"\xff@\xfe"));
    }
}
