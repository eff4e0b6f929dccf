//! From a map's text back to the value, where that is exact.

/// Reads an int that would be written as the same text.
#[inline]
pub fn int_of_text(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_canonical = match digits {
        [b'0'] => text.len() == 1,
        [first, ..] => (b'1'..=b'9').contains(first),
        [] => false,
    };
    // Digits only: of other texts, `parse` takes only those with a plus sign, which does not pass the check before.
    if is_canonical { text.parse().ok() } else { None }
}

/// Reads a finite double that would be written as the same text. Statistics and comparisons in files treat other doubles differently.
#[inline]
pub(super) fn exact_double(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    (zmij::Buffer::new().format_finite(value) == text).then_some(value)
}

/// Reads a bool.
#[inline]
pub(super) fn exact_bool(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{write_double, write_int};

    #[test]
    fn only_texts_that_would_be_written_the_same_are_read() {
        for value in [0, 1, -1, i64::MAX, i64::MIN, 10, 9_007_199_254_740_993] {
            let mut text = String::new();
            write_int(value, &mut text);
            assert_eq!(int_of_text(&text), Some(value));
        }
        for text in ["", "-", "-0", "+1", "01", "00", "1 ", " 1", "1.0", "9223372036854775808", "x", "0x1"] {
            assert_eq!(int_of_text(text), None, "{text}");
        }
        for value in [0.0, -0.0, 1.0, 1.5, -2.25e-300, f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1, 1e21] {
            let mut text = String::new();
            write_double(value, &mut text);
            assert_eq!(exact_double(&text).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in ["", "NaN", "Infinity", "-Infinity", "inf", "1", "1.50", "+1.5", "01.5", "1e400", "x"] {
            assert_eq!(exact_double(text), None, "{text}");
        }
    }
}
