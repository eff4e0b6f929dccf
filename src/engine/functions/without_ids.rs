//! `without_ids(text)`: a text with `?` for what tells one of its kind from the others, so that messages and paths which differ in that alone are one.
//!
//! That are times of ISO 8601, UUIDs, dates and other words of at least eight hexadecimal digits and dashes with a decimal digit among them, and numbers that stand by
//! themselves. A number of three digits from 100 to 599 stays where no slash is before it: it may be a status. `v2` and `D1345` stay as they are.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, Volatility};

/// A word of hexadecimal digits that is shorter may be one of a language.
const SHORTEST_HEX: usize = 8;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    let call = |args: &[ColumnarValue]| {
        let [texts] = args else { return exec_err!("without_ids wants one text") };
        each(texts)
    };
    let signature = Signature::string(1, Volatility::Immutable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature("without_ids", signature, DataType::Utf8View, Arc::new(call)))
}

fn each(texts: &ColumnarValue) -> Result<ColumnarValue> {
    let rows = match texts {
        ColumnarValue::Array(texts) => texts.len(),
        ColumnarValue::Scalar(_) => 1,
    };
    let texts = cast(&texts.to_array(rows)?, &DataType::Utf8View)?;
    let mut out = StringViewBuilder::with_capacity(rows).with_deduplicate_strings();
    for text in texts.as_string_view() {
        out.append_option(text.map(without_ids));
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}

/// What is left may be a word to replace itself, as `a0020211-` is of `a0020211-07-x`: it is looked at until nothing goes any more.
fn without_ids(text: &str) -> String {
    let mut once = replaced(text);
    loop {
        let again = replaced(&once);
        if again == once {
            return once;
        }
        once = again;
    }
}

/// One pass over the words of a text. Each replaced word is at least as long as its `?` and has digits, which the `?` has not: passes end.
fn replaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        if let Some(length) = iso_time(from) {
            out.push('?');
            rest = &from[length..];
            continue;
        }
        let (word, after) = from.split_at(from.find(|letter: char| !is_of_word(letter)).unwrap_or(from.len()));
        add_word(word, &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '_')
}

/// The bytes of the date and time that a text begins with, as in `2026-01-30T13:05:07.25Z`: minutes, seconds, their fraction and the zone may be left
/// out.
fn iso_time(text: &str) -> Option<usize> {
    let after = |from: usize, shape: &str| {
        let found = text.as_bytes().get(from..from + shape.len())?;
        let is_like = |(byte, shape): (&u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { *byte == shape };
        found.iter().zip(shape.bytes()).all(is_like).then_some(from + shape.len())
    };
    let mut end = after(0, "0000-00-00T00")?;
    if let Some(minutes) = after(end, ":00") {
        end = minutes;
        if let Some(seconds) = after(end, ":00") {
            end = seconds;
            let fraction = after(end, ".0").or_else(|| after(end, ",0"));
            end = fraction.map_or(end, |from| from + text[from..].bytes().take_while(u8::is_ascii_digit).count());
        }
    }
    let zones = ["Z", "+00:00", "-00:00", "+0000", "-0000", "+00", "-00"];
    end = zones.iter().find_map(|zone| after(end, zone)).unwrap_or(end);
    (!text[end..].starts_with(is_of_word)).then_some(end)
}

fn add_word(word: &str, out: &mut String) {
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_hex && word.len() >= SHORTEST_HEX && word.bytes().any(|byte| byte.is_ascii_digit()) {
        out.push('?');
        return;
    }
    let after_slash = out.ends_with('/');
    for (at, part) in word.split('-').enumerate() {
        if at > 0 {
            out.push('-');
        }
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let may_be_status = !after_slash && matches!(part.parse(), Ok(100..=599)) && part.len() == 3;
        out.push_str(if is_number && !may_be_status { "?" } else { part });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_go_and_words_stay() {
        for (text, wanted) in [
            ("[Order Status Wrong][orderId: e4e9bbd8-997a-4b51-b580-8efd4c107e76]", "[Order Status Wrong][orderId: ?]"),
            ("date: 2021-07-14, tripId: D1345", "date: ?, tripId: D1345"),
            ("from 2021-07-30T13:05:07.250Z to 2021-07-30T14", "from ? to ?"),
            ("[2021-07-30T13:05+02:00] 2021-07-30T13:05:07,5-0230", "[?] ?"),
            ("2021-07-30T13:05:07.x, 2021-07-30 13:05, 2021-07-30T13x", "?.x, ? ?:?, ?-?-30T13x"),
            ("/api/v1/users/42/orders/500", "/api/v1/users/?/orders/?"),
            ("HTTP 503 after 1200 ms, retry 3", "HTTP 503 after ? ms, retry ?"),
            ("deadbeef is no number, cafe0001 is", "deadbeef is no number, ? is"),
            ("No instances available for ts-food-service", "No instances available for ts-food-service"),
            ("shop-2.local: -", "shop-?.local: -"),
            ("größe 7 ☃8", "größe ? ☃?"),
            ("", ""),
        ] {
            assert_eq!(without_ids(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_twice_is_once(text in "([a-f0-9é /_.T:Z+-]|2021-07-30T13){0,40}") {
            let once = without_ids(&text);
            prop_assert!(once.len() <= text.len());
            prop_assert_eq!(without_ids(&once), once);
        }
    }
}
