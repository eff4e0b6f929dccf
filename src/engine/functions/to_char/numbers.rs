//! PostgreSQL's patterns for numbers: `FM999,990.00`, `S9999`, `00000`.

use super::not_supported;
use crate::error::{Error, Result};

/// A pattern, read once for all rows.
#[derive(Debug)]
pub(super) struct NumberPattern {
    /// Before the point: digits and what stands between them.
    whole: Vec<Place>,
    decimals: Vec<Place>,
    has_point: bool,
    fill: bool,
    sign: Sign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// `9`: a digit, or a blank before the first.
    Digit,
    /// `0`: a digit always.
    Zero,
    /// `,` or `G`: a comma among digits, a blank before the first.
    Group,
    Text(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// A minus before the number, or a blank.
    Before,
    /// `S` at the front: plus or minus.
    PlusBefore,
    /// `S` at the end.
    PlusAfter,
    /// `MI` at the end: a minus or a blank.
    MinusAfter,
}

/// What PostgreSQL has and this does not.
const UNKNOWN: &[&str] = &["EEEE", "PR", "SG", "RN", "TH", "PL", "V", "L"];

impl NumberPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// 0A000 for exponents, angle brackets, Roman numerals, ordinals, currency and shifts; 42601 for two points or two signs.
    pub(super) fn read(pattern: &str) -> Result<Self> {
        let mut out =
            Self { whole: Vec::new(), decimals: Vec::new(), has_point: false, fill: true, sign: Sign::Before };
        let mut rest = pattern;
        while let Some(next) = rest.chars().next() {
            let upper = rest.get(..rest.len().min(4)).unwrap_or(rest).to_ascii_uppercase();
            let mut taken = next.len_utf8();
            if let Some(unknown) = UNKNOWN.iter().find(|unknown| upper.starts_with(**unknown)) {
                return Err(not_supported(unknown));
            }
            if upper.starts_with("FM") {
                (out.fill, taken) = (false, 2);
            } else if upper.starts_with("MI") {
                (out.sign, taken) = (out.only_sign(Sign::MinusAfter)?, 2);
            } else {
                match next {
                    '9' => out.places().push(Place::Digit),
                    '0' => out.places().push(Place::Zero),
                    ',' | 'G' | 'g' => out.places().push(Place::Group),
                    '.' | 'D' | 'd' if out.has_point => {
                        return Err(Error::bad_input("a pattern of to_char has two decimal points"));
                    }
                    '.' | 'D' | 'd' => out.has_point = true,
                    'S' | 's' => {
                        let at_front = out.whole.is_empty() && !out.has_point;
                        out.sign = out.only_sign(if at_front { Sign::PlusBefore } else { Sign::PlusAfter })?;
                    }
                    text => out.places().push(Place::Text(text)),
                }
            }
            rest = &rest[taken..];
        }
        Ok(out)
    }

    fn only_sign(&self, sign: Sign) -> Result<Sign> {
        match self.sign {
            Sign::Before => Ok(sign),
            _ => Err(Error::bad_input("a pattern of to_char has two signs")),
        }
    }

    fn places(&mut self) -> &mut Vec<Place> {
        if self.has_point { &mut self.decimals } else { &mut self.whole }
    }

    /// Writes a number; one that has more digits than the pattern is written as `#`.
    pub(super) fn write(&self, value: f64) -> String {
        let decimals = count(&self.decimals);
        let digits = format!("{:.decimals$}", value.abs());
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let is_zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let negative = value < 0.0 && !is_zero;
        let room = count(&self.whole);
        let whole = if whole == "0" && self.fits_without_zero(room) { "" } else { whole };
        let body = if !value.is_finite() || whole.len() > room {
            self.body(&"#".repeat(room), &"#".repeat(decimals))
        } else {
            self.body(&format!("{whole:>room$}"), fraction)
        };
        self.signed(&body, negative)
    }

    /// Zero before a point is not written where the pattern does not ask for it: `.50` for `9.99`.
    fn fits_without_zero(&self, room: usize) -> bool {
        self.has_point && (room == 0 || !self.decimals.is_empty())
    }

    fn body(&self, whole: &str, fraction: &str) -> String {
        let first_zero = self.whole.iter().filter(|place| is_digit(place)).position(|place| *place == Place::Zero);
        let mut out = String::new();
        let mut digits = whole.chars();
        let mut begun = false;
        let mut at = 0;
        for place in &self.whole {
            match place {
                Place::Digit | Place::Zero => {
                    let digit = digits.next().unwrap_or(' ');
                    let wanted = first_zero.is_some_and(|zero| at >= zero);
                    at += 1;
                    match digit {
                        ' ' if !wanted && !begun => self.blank(&mut out),
                        ' ' => {
                            out.push('0');
                            begun = true;
                        }
                        digit => {
                            out.push(digit);
                            begun = true;
                        }
                    }
                }
                Place::Group if begun => out.push(','),
                Place::Group => self.blank(&mut out),
                Place::Text(text) => out.push(*text),
            }
        }
        if self.has_point {
            out.push('.');
        }
        self.put_decimals(&mut out, fraction);
        out
    }

    fn put_decimals(&self, out: &mut String, fraction: &str) {
        let last_zero = self.decimals.iter().rposition(|place| *place == Place::Zero);
        let mut digits = fraction.char_indices();
        for (at, place) in self.decimals.iter().enumerate() {
            match place {
                Place::Digit | Place::Zero => {
                    let Some((index, digit)) = digits.next() else { continue };
                    let needless =
                        fraction[index..].bytes().all(|byte| byte == b'0') && last_zero.is_none_or(|zero| at > zero);
                    if self.fill || !needless {
                        out.push(digit);
                    }
                }
                Place::Group => out.push(','),
                Place::Text(text) => out.push(*text),
            }
        }
    }

    fn blank(&self, out: &mut String) {
        if self.fill {
            out.push(' ');
        }
    }

    fn signed(&self, body: &str, negative: bool) -> String {
        let blanks = body.len() - body.trim_start_matches(' ').len();
        let (before, number) = body.split_at(blanks);
        match self.sign {
            Sign::Before if negative => format!("{before}-{number}"),
            Sign::Before if self.fill => format!(" {body}"),
            Sign::Before => body.to_owned(),
            Sign::PlusBefore => format!("{before}{}{number}", if negative { '-' } else { '+' }),
            Sign::PlusAfter => format!("{body}{}", if negative { '-' } else { '+' }),
            Sign::MinusAfter if negative => format!("{body}-"),
            Sign::MinusAfter if self.fill => format!("{body} "),
            Sign::MinusAfter => body.to_owned(),
        }
    }
}

fn is_digit(place: &Place) -> bool {
    matches!(place, Place::Digit | Place::Zero)
}

fn count(places: &[Place]) -> usize {
    places.iter().filter(|place| is_digit(place)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 16 answers, from its documentation.
    #[test]
    fn patterns_write_what_postgresql_writes() {
        for (value, pattern, text) in [
            (-0.1, "99.99", "  -.10"),
            (-0.1, "FM9.99", "-.1"),
            (0.1, "0.9", " 0.1"),
            (12.0, "9990999.9", "    0012.0"),
            (12.0, "FM9990999.9", "0012."),
            (485.0, "999", " 485"),
            (-485.0, "999", "-485"),
            (485.0, "9 9 9", " 4 8 5"),
            (1485.0, "9,999", " 1,485"),
            (1485.0, "9G999", " 1,485"),
            (485.0, "9,999", "   485"),
            (148.5, "999.999", " 148.500"),
            (148.5, "FM999.999", "148.5"),
            (148.5, "FM999.990", "148.500"),
            (3148.5, "9G999D999", " 3,148.500"),
            (-485.0, "999S", "485-"),
            (-485.0, "999MI", "485-"),
            (485.0, "999MI", "485 "),
            (485.0, "FM999MI", "485"),
            (485.0, "S999", "+485"),
            (12345.0, "999", " ###"),
            (5.0, "00000", " 00005"),
            (1234567.891, "FM999,999,990.00", "1,234,567.89"),
            (0.5, "FM990.00", "0.50"),
            (0.0, "FM999", "0"),
            (0.0, "999", "   0"),
        ] {
            assert_eq!(NumberPattern::read(pattern).expect(pattern).write(value), text, "{value} as {pattern}");
        }
        for pattern in ["9.99EEEE", "999PR", "RN", "L999"] {
            assert_eq!(NumberPattern::read(pattern).expect_err(pattern).sqlstate(), "0A000", "{pattern}");
        }
    }
}
