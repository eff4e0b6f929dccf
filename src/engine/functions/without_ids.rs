//! `without_ids(text)`: a text with `?` for what tells one of its kind from the others, so that messages and paths which differ in that alone are one.
//!
//! That are UUIDs, dates and other words of at least eight hexadecimal digits and dashes with a decimal digit among them, and numbers that stand by
//! themselves. A number of three digits from 100 to 599 stays where no slash is before it, and it is no fraction: it may be a status. `v2` and `D1345`
//! stay as they are; of `2026-01-31T10:05:07.250Z` nothing does.

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

fn without_ids(text: &str) -> String {
    let is_of_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let (word, after) = from.split_at(from.find(|letter| !is_of_word(letter)).unwrap_or(from.len()));
        add_word(word, &text[..text.len() - from.len()], &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Adds a word that stands after `before`.
fn add_word(word: &str, before: &str, out: &mut String) {
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_id = is_hex && word.len() >= SHORTEST_HEX && word.bytes().any(|byte| byte.is_ascii_digit());
    if is_id || is_date_with_hour(word) {
        out.push('?');
        return;
    }
    let after_slash = before.ends_with('/');
    let is_fraction =
        before.strip_suffix('.').is_some_and(|whole| whole.ends_with(|digit: char| digit.is_ascii_digit()));
    let is_of_time = is_fraction || before.ends_with(':');
    for (at, part) in word.split('-').enumerate() {
        if at > 0 {
            out.push('-');
        }
        // The letter is the zone of a time that ends here.
        let digits = part.strip_suffix('Z').filter(|_| is_of_time).unwrap_or(part);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let may_be_status = !after_slash && !is_fraction && matches!(part.parse(), Ok(100..=599)) && part.len() == 3;
        out.push_str(if is_number && !may_be_status { "?" } else { part });
    }
}

/// Whether a word is a date and what follows it in ISO 8601, up to the first colon: `2026-01-31T10`.
fn is_date_with_hour(word: &str) -> bool {
    let Some((date, time)) = word.split_once('T') else { return false };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = date.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2]
        && parts.into_iter().all(are_digits)
        && time.len() >= 2
        && time.get(..2).is_some_and(are_digits)
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
            ("/api/v1/users/42/orders/500", "/api/v1/users/?/orders/?"),
            ("HTTP 503 after 1200 ms, retry 3", "HTTP 503 after ? ms, retry ?"),
            ("deadbeef is no number, cafe0001 is", "deadbeef is no number, ? is"),
            ("No instances available for ts-food-service", "No instances available for ts-food-service"),
            ("shop-2.local: -", "shop-?.local: -"),
            ("at 2023-01-30T13:17:28.505+00:00: 500", "at ?:?:?.?+?:?: 500"),
            (
                "2023-01-30T13:17:28Z, 2023-01-30T131728.250Z, 13:17:28.250 and 10.0.0.200",
                "?:?:?, ?.?, ?:?:?.? and ?.?.?.?",
            ),
            ("status: 404Z of 2023-1-30T13", "status: 404Z of ?-?-30T13"),
            ("größe 7 ☃8", "größe ? ☃?"),
            ("", ""),
        ] {
            assert_eq!(without_ids(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_twice_is_once(text in "[a-f0-9é /_.-]{0,40}") {
            let once = without_ids(&text);
            prop_assert!(once.len() <= text.len());
            prop_assert_eq!(without_ids(&once), once);
        }
    }
}
